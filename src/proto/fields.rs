// @generated from proto/onnx-ml.proto by tests/schema.rs
&[
    ("AttributeProto", &[
        (1, Field::Scalar), // name
        (21, Field::Scalar), // ref_attr_name
        (13, Field::Scalar), // doc_string
        (20, Field::Scalar), // type
        (2, Field::Scalar), // f
        (3, Field::Scalar), // i
        (4, Field::Scalar), // s
        (5, Field::Message(15)), // t
        (6, Field::Message(13)), // g
        (22, Field::Message(16)), // sparse_tensor
        (14, Field::Message(25)), // tp
        (7, Field::Scalar), // floats
        (8, Field::Scalar), // ints
        (9, Field::Scalar), // strings
        (10, Field::Message(15)), // tensors
        (11, Field::Message(13)), // graphs
        (23, Field::Message(16)), // sparse_tensors
        (15, Field::Message(25)), // type_protos
    ]), // .onnx.AttributeProto
    ("ValueInfoProto", &[
        (1, Field::Scalar), // name
        (2, Field::Message(25)), // type
        (3, Field::Scalar), // doc_string
        (4, Field::Message(11)), // metadata_props
    ]), // .onnx.ValueInfoProto
    ("NodeProto", &[
        (1, Field::Scalar), // input
        (2, Field::Scalar), // output
        (3, Field::Scalar), // name
        (4, Field::Scalar), // op_type
        (7, Field::Scalar), // domain
        (8, Field::Scalar), // overload
        (5, Field::Message(0)), // attribute
        (6, Field::Scalar), // doc_string
        (9, Field::Message(11)), // metadata_props
        (10, Field::Message(4)), // device_configurations
    ]), // .onnx.NodeProto
    ("IntIntListEntryProto", &[
        (1, Field::Scalar), // key
        (2, Field::Scalar), // value
    ]), // .onnx.IntIntListEntryProto
    ("NodeDeviceConfigurationProto", &[
        (1, Field::Scalar), // configuration_id
        (2, Field::Message(5)), // sharding_spec
        (3, Field::Scalar), // pipeline_stage
    ]), // .onnx.NodeDeviceConfigurationProto
    ("ShardingSpecProto", &[
        (1, Field::Scalar), // tensor_name
        (2, Field::Scalar), // device
        (3, Field::Message(3)), // index_to_device_group_map
        (4, Field::Message(6)), // sharded_dim
    ]), // .onnx.ShardingSpecProto
    ("ShardedDimProto", &[
        (1, Field::Scalar), // axis
        (2, Field::Message(7)), // simple_sharding
    ]), // .onnx.ShardedDimProto
    ("SimpleShardedDimProto", &[
        (1, Field::Scalar), // dim_value
        (2, Field::Scalar), // dim_param
        (3, Field::Scalar), // num_shards
    ]), // .onnx.SimpleShardedDimProto
    ("TrainingInfoProto", &[
        (1, Field::Message(13)), // initialization
        (2, Field::Message(13)), // algorithm
        (3, Field::Message(11)), // initialization_binding
        (4, Field::Message(11)), // update_binding
    ]), // .onnx.TrainingInfoProto
    ("ModelProto", &[
        (1, Field::Scalar), // ir_version
        (8, Field::Message(26)), // opset_import
        (2, Field::Scalar), // producer_name
        (3, Field::Scalar), // producer_version
        (4, Field::Scalar), // domain
        (5, Field::Scalar), // model_version
        (6, Field::Scalar), // doc_string
        (7, Field::Message(13)), // graph
        (14, Field::Message(11)), // metadata_props
        (20, Field::Message(8)), // training_info
        (25, Field::Message(27)), // functions
        (26, Field::Message(10)), // configuration
    ]), // .onnx.ModelProto
    ("DeviceConfigurationProto", &[
        (1, Field::Scalar), // name
        (2, Field::Scalar), // num_devices
        (3, Field::Scalar), // device
    ]), // .onnx.DeviceConfigurationProto
    ("StringStringEntryProto", &[
        (1, Field::Scalar), // key
        (2, Field::Scalar), // value
    ]), // .onnx.StringStringEntryProto
    ("TensorAnnotation", &[
        (1, Field::Scalar), // tensor_name
        (2, Field::Message(11)), // quant_parameter_tensor_names
    ]), // .onnx.TensorAnnotation
    ("GraphProto", &[
        (1, Field::Message(2)), // node
        (2, Field::Scalar), // name
        (5, Field::Message(15)), // initializer
        (15, Field::Message(16)), // sparse_initializer
        (10, Field::Scalar), // doc_string
        (11, Field::Message(1)), // input
        (12, Field::Message(1)), // output
        (13, Field::Message(1)), // value_info
        (14, Field::Message(12)), // quantization_annotation
        (16, Field::Message(11)), // metadata_props
    ]), // .onnx.GraphProto
    ("Segment", &[
        (1, Field::Scalar), // begin
        (2, Field::Scalar), // end
    ]), // .onnx.TensorProto.Segment
    ("TensorProto", &[
        (1, Field::Scalar), // dims
        (2, Field::Scalar), // data_type
        (3, Field::Message(14)), // segment
        (4, Field::Scalar), // float_data
        (5, Field::Scalar), // int32_data
        (6, Field::Scalar), // string_data
        (7, Field::Scalar), // int64_data
        (8, Field::Scalar), // name
        (12, Field::Scalar), // doc_string
        (9, Field::Scalar), // raw_data
        (13, Field::Message(11)), // external_data
        (14, Field::Scalar), // data_location
        (10, Field::Scalar), // double_data
        (11, Field::Scalar), // uint64_data
        (16, Field::Message(11)), // metadata_props
    ]), // .onnx.TensorProto
    ("SparseTensorProto", &[
        (1, Field::Message(15)), // values
        (2, Field::Message(15)), // indices
        (3, Field::Scalar), // dims
    ]), // .onnx.SparseTensorProto
    ("Dimension", &[
        (1, Field::Scalar), // dim_value
        (2, Field::Scalar), // dim_param
        (3, Field::Scalar), // denotation
    ]), // .onnx.TensorShapeProto.Dimension
    ("TensorShapeProto", &[
        (1, Field::Message(17)), // dim
    ]), // .onnx.TensorShapeProto
    ("Tensor", &[
        (1, Field::Scalar), // elem_type
        (2, Field::Message(18)), // shape
    ]), // .onnx.TypeProto.Tensor
    ("Sequence", &[
        (1, Field::Message(25)), // elem_type
    ]), // .onnx.TypeProto.Sequence
    ("Map", &[
        (1, Field::Scalar), // key_type
        (2, Field::Message(25)), // value_type
    ]), // .onnx.TypeProto.Map
    ("Optional", &[
        (1, Field::Message(25)), // elem_type
    ]), // .onnx.TypeProto.Optional
    ("SparseTensor", &[
        (1, Field::Scalar), // elem_type
        (2, Field::Message(18)), // shape
    ]), // .onnx.TypeProto.SparseTensor
    ("Opaque", &[
        (1, Field::Scalar), // domain
        (2, Field::Scalar), // name
    ]), // .onnx.TypeProto.Opaque
    ("TypeProto", &[
        (1, Field::Message(19)), // tensor_type
        (4, Field::Message(20)), // sequence_type
        (5, Field::Message(21)), // map_type
        (9, Field::Message(22)), // optional_type
        (8, Field::Message(23)), // sparse_tensor_type
        (7, Field::Message(24)), // opaque_type
        (6, Field::Scalar), // denotation
    ]), // .onnx.TypeProto
    ("OperatorSetIdProto", &[
        (1, Field::Scalar), // domain
        (2, Field::Scalar), // version
    ]), // .onnx.OperatorSetIdProto
    ("FunctionProto", &[
        (1, Field::Scalar), // name
        (4, Field::Scalar), // input
        (5, Field::Scalar), // output
        (6, Field::Scalar), // attribute
        (11, Field::Message(0)), // attribute_proto
        (7, Field::Message(2)), // node
        (8, Field::Scalar), // doc_string
        (9, Field::Message(26)), // opset_import
        (10, Field::Scalar), // domain
        (13, Field::Scalar), // overload
        (12, Field::Message(1)), // value_info
        (14, Field::Message(11)), // metadata_props
    ]), // .onnx.FunctionProto
]
