// @generated from proto/onnx-ml.proto by tests/schema.rs
&[
    ("AttributeProto", &[1, 21, 13, 20, 2, 3, 4, 7, 8, 9], &[(5, 15), (6, 13), (22, 16), (14, 25), (10, 15), (11, 13), (23, 16), (15, 25)]), // .onnx.AttributeProto
    ("ValueInfoProto", &[1, 3], &[(2, 25), (4, 11)]), // .onnx.ValueInfoProto
    ("NodeProto", &[1, 2, 3, 4, 7, 8, 6], &[(5, 0), (9, 11), (10, 4)]), // .onnx.NodeProto
    ("IntIntListEntryProto", &[1, 2], &[]), // .onnx.IntIntListEntryProto
    ("NodeDeviceConfigurationProto", &[1, 3], &[(2, 5)]), // .onnx.NodeDeviceConfigurationProto
    ("ShardingSpecProto", &[1, 2], &[(3, 3), (4, 6)]), // .onnx.ShardingSpecProto
    ("ShardedDimProto", &[1], &[(2, 7)]), // .onnx.ShardedDimProto
    ("SimpleShardedDimProto", &[1, 2, 3], &[]), // .onnx.SimpleShardedDimProto
    ("TrainingInfoProto", &[], &[(1, 13), (2, 13), (3, 11), (4, 11)]), // .onnx.TrainingInfoProto
    ("ModelProto", &[1, 2, 3, 4, 5, 6], &[(8, 26), (7, 13), (14, 11), (20, 8), (25, 27), (26, 10)]), // .onnx.ModelProto
    ("DeviceConfigurationProto", &[1, 2, 3], &[]), // .onnx.DeviceConfigurationProto
    ("StringStringEntryProto", &[1, 2], &[]), // .onnx.StringStringEntryProto
    ("TensorAnnotation", &[1], &[(2, 11)]), // .onnx.TensorAnnotation
    ("GraphProto", &[2, 10], &[(1, 2), (5, 15), (15, 16), (11, 1), (12, 1), (13, 1), (14, 12), (16, 11)]), // .onnx.GraphProto
    ("Segment", &[1, 2], &[]), // .onnx.TensorProto.Segment
    ("TensorProto", &[1, 2, 4, 5, 6, 7, 8, 12, 9, 14, 10, 11], &[(3, 14), (13, 11), (16, 11)]), // .onnx.TensorProto
    ("SparseTensorProto", &[3], &[(1, 15), (2, 15)]), // .onnx.SparseTensorProto
    ("Dimension", &[1, 2, 3], &[]), // .onnx.TensorShapeProto.Dimension
    ("TensorShapeProto", &[], &[(1, 17)]), // .onnx.TensorShapeProto
    ("Tensor", &[1], &[(2, 18)]), // .onnx.TypeProto.Tensor
    ("Sequence", &[], &[(1, 25)]), // .onnx.TypeProto.Sequence
    ("Map", &[1], &[(2, 25)]), // .onnx.TypeProto.Map
    ("Optional", &[], &[(1, 25)]), // .onnx.TypeProto.Optional
    ("SparseTensor", &[1], &[(2, 18)]), // .onnx.TypeProto.SparseTensor
    ("Opaque", &[1, 2], &[]), // .onnx.TypeProto.Opaque
    ("TypeProto", &[6], &[(1, 19), (4, 20), (5, 21), (9, 22), (8, 23), (7, 24)]), // .onnx.TypeProto
    ("OperatorSetIdProto", &[1, 2], &[]), // .onnx.OperatorSetIdProto
    ("FunctionProto", &[1, 4, 5, 6, 8, 10, 13], &[(11, 0), (7, 2), (9, 26), (12, 1), (14, 11)]), // .onnx.FunctionProto
]
