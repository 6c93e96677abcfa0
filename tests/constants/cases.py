"""Writes cases.onnx: nodes over initializers, and what ONNX Runtime makes of each.

One node per case; for each of its outputs `y` an initializer `y/expected`. Where ONNX Runtime has no
kernel for the types, ONNX's reference evaluator stands in; the list printed says for which.
Needs the Python packages onnx, onnxruntime and ml_dtypes: python cases.py cases.onnx
"""

import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ort.set_default_logger_severity(4)
rng = np.random.default_rng(0)
bf16 = ml_dtypes.bfloat16
nodes, initializers, substituted = [], [], []


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def run(node, inputs, opset, outputs):
    graph = helper.make_graph(
        [node], "case", [], [helper.make_empty_tensor_value_info(o) for o in outputs], inputs
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [v.numpy() for v in session.run_with_ort_values(outputs, {})]
    except Exception as error:
        substituted.append(f"{node.name}: {str(error)[:100]}")
        return ReferenceEvaluator(model).run(None, {})


def case(op, about, *inputs, outputs=1, opset=21, expected=None, **attributes):
    name = f"{op}: {about}"
    names = []
    stored = []
    for i, value in enumerate(inputs):
        names.append("" if value is None else f"{name}/{i}")
        if value is not None:
            stored.append(tensor(names[-1], value))
    results = [f"{name}/y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name=name, **attributes)
    values = expected or run(node, stored, opset, results)
    nodes.append(node)
    initializers.extend(stored)
    initializers.extend(tensor(f"{y}/expected", v) for y, v in zip(results, values))


def f32(*shape):
    return rng.normal(size=shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 3e38, -2.5], np.float32)
halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 8388609.0, -1e30], np.float32)
grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

# One operand.
for op in ["Abs", "Neg", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round"]:
    case(op, "float", np.concatenate([special, halves, f32(9)]))
    case(op, "double", rng.normal(size=7))
    case(op, "float16", (f32(9) * 3).astype(np.float16))
case("Abs", "bfloat16", (f32(9) * 3).astype(bf16), expected=None)
case("Sign", "float", special)
case("Sign", "int64", i64(-3, 0, 7))
case("Sign", "uint8", np.array([0, 9], np.uint8))
case("Abs", "int32", np.array([-3, 0, 7, -(2**31)], np.int32))
case("Abs", "int8", np.array([-3, 0, 7, -127], np.int8))
case("Neg", "int8", np.array([-3, 0, 7, -128], np.int8))
for op in ["Exp", "Log", "Sin", "Cos", "Tanh"]:
    case(op, "about a unit", np.abs(f32(9)))
case("IsNaN", "float", special)
case("Not", "bool", np.array([True, False]))
case("BitwiseNot", "uint8", np.array([0, 1, 255, 170], np.uint8))

# Two operands and broadcasting.
a, b = f32(2, 1, 4), f32(3, 1)
for op in ["Add", "Sub", "Mul", "Div"]:
    case(op, "float, both stretched", a, b)
    case(op, "float, second stretched", f32(3, 4), f32(4))
    case(op, "float, first stretched", f32(4), f32(3, 4))
    case(op, "float, scalar", f32(3, 4), np.float32(1.7))
    case(op, "float, special", special, np.array(0.0, np.float32))
    case(op, "double", rng.normal(size=5), rng.normal(size=5))
    case(op, "float16", f32(6).astype(np.float16), f32(6).astype(np.float16))
    case(op, "bfloat16", f32(6).astype(bf16), f32(6).astype(bf16))
    case(op, "int32", np.array([7, -7, 2**31 - 1, -5], np.int32), np.array([2, 2, 3, -3], np.int32))
    case(op, "int64", i64(7, -7, 9), i64(-2))
    case(op, "uint8", np.array([200, 100, 3], np.uint8), np.array([100, 7, 5], np.uint8))
case("Pow", "float", np.abs(f32(7)), f32(7))
case("Pow", "negative base", np.array([-2, -3, 0, 2], np.float32), np.array([3, 2, 0, -1], np.float32))
case("Pow", "int64 exponent", f32(5), np.array(2, np.int64))
case("Pow", "int32 base", np.array([-2, 3, 5], np.int32), np.array(3, np.int32))
case("Pow", "int64 base, float exponent", i64(2, 9, 16), np.array(0.5, np.float32))
case("Pow", "first stretched", np.array([3.0], np.float32), i64(0, 1, 2))
case("Mod", "int64", i64(7, -7, 7, -7), i64(3, 3, -3, -3))
case("Mod", "int64, fmod", i64(7, -7, 7, -7), i64(3, 3, -3, -3), fmod=1)
case("Mod", "uint8", np.array([7, 250], np.uint8), np.array([4, 100], np.uint8))
case("Mod", "float, fmod", np.array([7.5, -7.5, 7.5], np.float32), np.array([2, 2, -2], np.float32), fmod=1)
case("Min", "three", f32(3, 1), f32(4), f32(3, 4))
case("Max", "three", f32(3, 1), f32(4), f32(3, 4))
case("Min", "one", f32(3))
case("Max", "NaN", special, np.float32(1))
case("Min", "NaN", np.float32(1), special)
case("Max", "int64", i64(1, 5), i64(3, 2))
case("Min", "uint8", np.array([1, 200], np.uint8), np.array([3, 2], np.uint8))
case("Max", "float16", f32(4).astype(np.float16), f32(4).astype(np.float16))
for op in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
    case(op, "float", np.array([1, 2, 3, np.nan], np.float32), np.array([2, 2, 2, np.nan], np.float32))
    case(op, "int64, stretched", i64(1, 2, 3), i64(2))
    case(op, "uint8", np.array([1, 2, 255], np.uint8), np.array([2, 2, 1], np.uint8))
case("Equal", "bool", np.array([True, False]), np.array([True, True]))
x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
for op in ["And", "Or", "Xor"]:
    case(op, "bool", x, y)
    case(op, "stretched", x, np.array([[True], [False]]))
for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
    case(op, "uint8", np.array([12, 255], np.uint8), np.array([10, 3], np.uint8))
    case(op, "int32, stretched", np.array([-1, 12], np.int32), np.array(3, np.int32))
case("BitShift", "right", np.array([255, 16, 3], np.uint8), np.array([4, 4, 1], np.uint8), direction="RIGHT")
case("BitShift", "left", np.array([255, 16, 3], np.uint8), np.array([4, 4, 1], np.uint8), direction="LEFT")
case("Where", "stretched", np.array([[True], [False]]), f32(3), np.float32(0))
case("Where", "uint8", np.array([True, False]), np.array([1, 2], np.uint8), np.array([3, 4], np.uint8))
case("Where", "int64", np.array([True, False]), i64(1), i64(3, 4))

# Clip.
c = np.concatenate([special, f32(5)])
case("Clip", "both", c, np.float32(-1), np.float32(1))
case("Clip", "below", c, np.float32(1e-5))
case("Clip", "above", c, None, np.float32(1))
case("Clip", "neither", c)
case("Clip", "crossed", f32(5), np.float32(1), np.float32(-1))
case("Clip", "int8", np.array([-128, 5, 127], np.int8), np.array(-3, np.int8), np.array(9, np.int8))
case("Clip", "int64", i64(-10, 5, 12), i64(0)[0], i64(10)[0])
case("Clip", "float16", f32(5).astype(np.float16), np.float16(-0.5), np.float16(0.5))
case("Clip", "attributes", f32(5), opset=6, min=-0.5, max=0.5)
case("Clip", "attribute max", f32(5), opset=6, max=0.5)

# Cast.
kinds = {
    "float": np.float32, "double": np.float64, "float16": np.float16, "bfloat16": bf16,
    "int8": np.int8, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "bool": np.bool_,
}
codes = {name: helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for name, kind in kinds.items()}
for source, kind in kinds.items():
    signed = source in ("float", "double", "float16", "bfloat16")
    values = [0, 1, 2, 3.75, 100.5, 127] + ([-1, -3.75, -100.5] if signed else [])
    if source.startswith("int"):
        values += [-1, -100]
    for target, code in codes.items():
        if target == source:
            continue
        # What a negative float is as an unsigned integer, ONNX leaves undefined.
        these = [v for v in values if v >= 0] if signed and target.startswith("uint") else values
        case("Cast", f"{source} to {target}", np.array(these).astype(kind), to=code)
case("Cast", "float to float16, rounding", np.array([1.0004883, 1.0014648, 65519.9, 65520, 1e-8, np.nan], np.float32), to=TensorProto.FLOAT16)
case("Cast", "float to bfloat16, rounding", np.array([1.00390625, 1.01171875, 3.4e38, 1e-40], np.float32), to=TensorProto.BFLOAT16)
case("Cast", "int64 to float, rounding", i64(2**24 + 1, 2**53 + 1, 2**60 + 2**36 + 1), to=TensorProto.FLOAT)
case("Cast", "int64 to uint8, wrapping", i64(-1, 256, 300), to=TensorProto.UINT8)
case("Cast", "float to uint8, wrapping", np.array([-1, 256, 300.5, -129], np.float32), to=TensorProto.UINT8)
case("Cast", "float to int8, wrapping", np.array([128, 200.7, -129], np.float32), to=TensorProto.INT8)
case("Cast", "float to bool", special, to=TensorProto.BOOL)
case("Cast", "double to float", np.array([1 / 3, 1e300, 1e-300]), to=TensorProto.FLOAT)
case("CastLike", "to int8", np.array([1.5, -2.5], np.float32), np.array([0], np.int8))

# Shapes.
case("Identity", "float", f32(2))
case("Shape", "all", f32(2, 3, 4))
case("Shape", "some", f32(2, 3, 4), start=-2, end=10)
case("Shape", "none", f32(2, 3, 4), start=2, end=1)
case("Size", "all", f32(2, 3, 4))
case("Transpose", "reversed", grid)
case("Transpose", "perm", grid, perm=[1, 2, 0])
case("Transpose", "scalar", np.float32(3))
case("Reshape", "minus one", grid, i64(4, -1))
case("Reshape", "zero copies", grid, i64(0, -1))
case("Reshape", "zero copies its own axis", grid, i64(-1, 0))
case("Reshape", "to a scalar", f32(1, 1), i64())
case("Reshape", "zero stays", np.zeros((0, 3), np.float32), i64(3, 0), allowzero=1)
case("Flatten", "default", grid)
case("Flatten", "axis 0", grid, axis=0)
case("Flatten", "axis 3", grid, axis=3)
case("Flatten", "negative", grid, axis=-1)
case("Squeeze", "all", f32(1, 3, 1))
case("Squeeze", "input", f32(1, 3, 1), i64(-1))
case("Squeeze", "attribute", f32(1, 3, 1), opset=11, axes=[0])
case("Unsqueeze", "input", f32(3), i64(0, -1))
case("Unsqueeze", "out of order", f32(3, 4), i64(3, 0))
case("Unsqueeze", "attribute", f32(3), opset=11, axes=[1])
case("Expand", "wider", f32(3, 1), i64(2, 1, 4))
case("Expand", "narrower", f32(3, 4), i64(1))
case("Expand", "bool", np.array([True, False]), i64(2, 2))
case("Tile", "two axes", grid[0], i64(2, 3))
case("Tile", "never", grid[0], i64(2, 0))
case("Tile", "uint8", np.array([1, 2], np.uint8), i64(3))
case("Concat", "axis 1", f32(2, 1), f32(2, 3), axis=1)
case("Concat", "negative", i64(1, 2), i64(3), axis=-1)
case("Concat", "empty part", np.zeros((0,), np.float32), f32(2), axis=0)
case("Split", "even", f32(4, 2), outputs=2, opset=13)
case("Split", "sizes", f32(2, 5), i64(2, 0, 3), outputs=3, axis=-1)
case("Split", "attribute", f32(5), outputs=2, opset=11, split=[4, 1])
case("Split", "num_outputs, uneven", f32(5), outputs=2, num_outputs=2)
case("Slice", "inputs", grid, i64(1, 0), i64(3, 1), i64(2, 1))
case("Slice", "without axes", grid, i64(0, 1), i64(1, 100))
case("Slice", "steps", grid, i64(0), i64(100), i64(2), i64(3))
case("Slice", "backwards", grid, i64(-1), i64(-100), i64(1), i64(-1))
case("Slice", "backwards by two", np.arange(7, dtype=np.int64), i64(5), i64(0), i64(0), i64(-2))
case("Slice", "backwards from beyond", np.arange(7, dtype=np.int64), i64(100), i64(2), i64(0), i64(-3))
case("Slice", "to the end", np.arange(7, dtype=np.int64), i64(3), i64(2**63 - 1), i64(0), i64(1))
case("Slice", "to before the start", np.arange(7, dtype=np.int64), i64(3), i64(-(2**63)), i64(0), i64(-1))
case("Slice", "nothing", np.arange(7, dtype=np.int64), i64(5), i64(2), i64(-1))
case("Slice", "a step too long", np.arange(7, dtype=np.int64), i64(2), i64(7), i64(0), i64(2**62))
case("Slice", "int32", grid, np.array([1], np.int32), np.array([2], np.int32), np.array([-1], np.int32))
case("Slice", "attributes", grid, opset=9, starts=[1, 0], ends=[2, -1], axes=[0, 2])
case("Pad", "input", f32(2, 2), i64(1, 0, 0, 2), np.float32(7))
case("Pad", "axes", f32(2, 2), i64(1, 2), None, i64(1))
case("Pad", "attribute", f32(2, 2), opset=2, pads=[0, 1, 1, 0], value=3.0)
case("Pad", "uint8", np.array([5], np.uint8), i64(1, 1))
case("Gather", "axis 0", f32(3, 2), i64(2, -1, 0))
case("Gather", "axis 1, matrix", f32(3, 4), np.array([[0, 3], [-4, 1]], np.int64), axis=1)
case("Gather", "scalar", f32(3, 2), np.array(1, np.int64))
case("Gather", "int32", i64(5, 6, 7), np.array([2], np.int32))
case("ScatterND", "elements", np.arange(8, dtype=np.float32), np.array([[4], [3], [-7]], np.int64), np.array([9, 10, 11], np.float32))
case("ScatterND", "rows", np.zeros((4, 3), np.uint8), np.array([[2], [0]], np.int64), np.arange(6, dtype=np.uint8).reshape(2, 3))
case("ScatterND", "twice the same", np.zeros((3,), np.float32), np.array([[1], [1]], np.int64), np.array([1, 2], np.float32))
case("ScatterND", "coordinates", f32(2, 3), np.array([[0, 1], [1, 2]], np.int64), f32(2))
case("ScatterND", "matrix of indices", f32(4, 2), np.array([[[0], [1]]], np.int64), f32(1, 2, 2))
case("Trilu", "upper", f32(3, 4))
case("Trilu", "lower, k", f32(2, 3, 3), np.array(-1, np.int64), upper=0)
case("Trilu", "upper, k", np.arange(9, dtype=np.int64).reshape(3, 3), np.array(1, np.int64), upper=1)

# Made from nothing.
case("Constant", "tensor", value=tensor("t", f32(2, 2)))
case("Constant", "float", value_float=1.5)
case("Constant", "floats", value_floats=[1.5, 2.5])
case("Constant", "int", value_int=3)
case("Constant", "ints", value_ints=[3, 4])
values, places = tensor("values", np.array([5, 7], np.float32)), tensor("places", i64(1, 4))
case("Constant", "sparse", sparse_value=helper.make_sparse_tensor(values, places, [2, 3]),
     expected=[np.array([[0, 5, 0], [0, 7, 0]], np.float32)])
case("ConstantOfShape", "default", i64(2, 2))
case("ConstantOfShape", "int64", i64(3), value=tensor("v", i64(7)))
case("ConstantOfShape", "scalar", i64(), value=tensor("v", np.array([1], np.uint8)))
case("ConstantOfShape", "empty", i64(0, 3))
case("Range", "int64", np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64))
case("Range", "down", np.array(9, np.int32), np.array(1, np.int32), np.array(-4, np.int32))
case("Range", "float", np.float32(0.1), np.float32(2), np.float32(0.3))
case("Range", "nothing", np.array(5, np.int64), np.array(1, np.int64), np.array(1, np.int64))

# Sums.
for op in ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare"]:
    case(op, "all", f32(3, 4))
    case(op, "axis 0, dropped", grid, i64(0), keepdims=0)
    case(op, "last axis", grid, i64(-1))
    case(op, "outer axes", grid, i64(0, 2))
    case(op, "attribute", grid, opset=11, axes=[1], keepdims=0)
case("ReduceSum", "no axes, none", grid, i64(), noop_with_empty_axes=1)
case("ReduceSum", "no axes, all", grid, i64(), noop_with_empty_axes=0)
case("ReduceSum", "int64", np.arange(6, dtype=np.int64).reshape(2, 3), i64(1))
case("ReduceSum", "int32", np.arange(6, dtype=np.int32).reshape(2, 3), i64(0))
case("ReduceMax", "int64", i64(4, -9, 2))
case("ReduceMin", "uint8", np.array([[4, 9], [2, 255]], np.uint8), i64(0))
case("ReduceMean", "float16", f32(3, 4).astype(np.float16), i64(1))

# Products.
case("MatMul", "float", f32(3, 5), f32(5, 2))
case("MatMul", "double", rng.normal(size=(2, 3)), rng.normal(size=(3, 2)))
case("MatMul", "float16", f32(2, 3).astype(np.float16), f32(3, 2).astype(np.float16))
case("MatMul", "nothing between", np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32))
case("Gemm", "plain", f32(3, 5), f32(5, 2), f32(2))
case("Gemm", "transposed and scaled", f32(5, 3), f32(2, 5), f32(3, 1), alpha=0.5, beta=2.0, transA=1, transB=1)
case("Gemm", "without C", f32(3, 5), f32(5, 2))
case("Dropout", "no ratio", f32(2, 3))
case("Dropout", "not training", f32(2, 3), np.float32(0.5), np.array(False))
case("Einsum", "product", f32(3, 5), f32(5, 2), equation="ik,kj->ij")
case("Einsum", "of transposes", f32(5, 3), f32(2, 5), equation=" ki , jk -> ji ")
case("Einsum", "stacked", f32(4, 3, 5), f32(4, 5, 2), equation="bik,bkj->ibj")
case("Einsum", "two axes summed", f32(3, 2, 4), f32(2, 4, 5), equation="shd,hdm->sm")
case("Einsum", "two axes made", f32(3, 5), f32(5, 2, 4), equation="sk,khd->shd")
case("Einsum", "elementwise and outer", f32(3, 2), f32(3, 4), equation="ab,ac->abc")
case("Einsum", "one operand", f32(2, 3, 4), equation="abc->ca")
case("Einsum", "three operands", f32(2, 3), f32(3, 4), f32(4, 2, 5), equation="ab,bc,cad->d")
case("Einsum", "no arrow", f32(2, 3), f32(3, 4), equation="zb,ba")
case("Einsum", "a scalar", f32(3), f32(3), equation="i,i")
case("Einsum", "double", rng.normal(size=(2, 3)), rng.normal(size=(3, 2)), equation="ij,jk->ik")
case("Einsum", "float16", f32(2, 3).astype(np.float16), f32(3, 2).astype(np.float16), equation="ij,jk->ik")

# Quantised weights.
q = rng.integers(-128, 128, (4, 6)).astype(np.int8)
case("DequantizeLinear", "per tensor", q, np.float32(0.1), np.array(3, np.int8))
case("DequantizeLinear", "without zero point", q, np.float32(0.1))
case("DequantizeLinear", "per column", q, np.abs(f32(6)), axis=1)
case("DequantizeLinear", "per row", q, np.abs(f32(4)), rng.integers(-9, 9, 4).astype(np.int8), axis=0)
case("DequantizeLinear", "uint8", q.view(np.uint8), np.float32(0.1), np.array(128, np.uint8))
case("DequantizeLinear", "int32", np.array([2**24 + 1, -5], np.int32), np.float32(0.5))
case("DequantizeLinear", "float16 scale", q, np.float16(0.1), np.array(3, np.int8))
case("DequantizeLinear", "blocks", q, np.abs(f32(4, 2)), rng.integers(-9, 9, (4, 2)).astype(np.int8), axis=1, block_size=3)
case("DequantizeLinear", "blocks of rows", q, np.abs(f32(2, 6)), axis=0, block_size=2)
nibbles = np.array([[-8, -1, 0], [1, 2, 3], [7, -4, 5]]).astype(ml_dtypes.int4)
case("DequantizeLinear", "int4", nibbles, np.float32(0.5))
nibbles = np.array([[15, 1], [0, 8]]).astype(ml_dtypes.uint4)
case("DequantizeLinear", "uint4, blocks", nibbles, np.abs(f32(2, 1)), axis=1, block_size=2)
w = np.concatenate([special[3:6], halves[:-1], 300 * f32(3)])
case("QuantizeLinear", "uint8 by default", w, np.float32(1))
case("QuantizeLinear", "int8", w, np.float32(0.3), np.array(-4, np.int8))
case("QuantizeLinear", "per row", f32(2, 3), np.float32([0.1, 0.01]), np.array([1, 2], np.int8), axis=0)
case("QuantizeLinear", "blocks", f32(2, 4), np.abs(f32(2, 2)), np.zeros((2, 2), np.uint8), axis=1, block_size=2)

# Activations.
bent = np.concatenate([np.linspace(-7, 7, 29), [0.01, -0.01, 20, -20, 90, -90]]).astype(np.float32)
for op in ["Relu", "Sigmoid", "Erf", "Softsign", "Softplus", "Mish", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "Gelu"]:
    case(op, "float", bent)
for op in ["HardSigmoid", "LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu"]:
    case(op, "alpha", bent, alpha=0.7)
case("HardSigmoid", "beta", bent, beta=0.3)
case("Selu", "gamma", bent, gamma=2.0)
case("Gelu", "tanh", bent, approximate="tanh")
case("Swish", "float", bent, opset=24)
case("Swish", "alpha", bent, alpha=1.702, opset=24)
case("Erf", "double", bent.astype(np.float64))
case("Relu", "float16", f32(4).astype(np.float16))
case("PRelu", "a slope each", f32(3, 4), f32(4))
case("Sum", "three operands", f32(2, 3), f32(3), f32(2, 1))
case("Gelu", "of ONNX Runtime", bent, domain="com.microsoft")
case("QuickGelu", "alpha", bent, domain="com.microsoft", alpha=1.5)
case("QuickGelu", "no alpha", bent, domain="com.microsoft")
case("FastGelu", "no bias", f32(9), domain="com.microsoft")
case("FastGelu", "bias", f32(2, 9), f32(9), domain="com.microsoft")
case("BiasGelu", "bias", f32(2, 9), f32(9), domain="com.microsoft")

# Normalisations.
rows = 1 + f32(2, 3, 4)
case("LayerNormalization", "no shift", rows, f32(4))
case("LayerNormalization", "two axes", rows, f32(3, 4), f32(3, 4), axis=1, epsilon=0.1)
case("LayerNormalization", "float16", rows.astype(np.float16), f32(4).astype(np.float16), f32(4).astype(np.float16), axis=-1)
case("RMSNormalization", "last axis", rows, f32(4), opset=23)
case("RMSNormalization", "two axes", rows, f32(3, 4), opset=23, axis=1, epsilon=0.1)
case("SimplifiedLayerNormalization", "last axis", rows, f32(4), epsilon=0.01)
case("InstanceNormalization", "channels", rows, f32(3), f32(3), epsilon=0.1)
case("GroupNormalization", "groups", f32(2, 4, 3), f32(4), f32(4), num_groups=2)
case("BatchNormalization", "training", rows, f32(3), f32(3), f32(3), np.abs(f32(3)), opset=15, training_mode=1, epsilon=0.1)
case("MeanVarianceNormalization", "axes", rows, axes=[0, 2])
case("MeanVarianceNormalization", "no axes", f32(2, 3, 2, 2))
case("LpNormalization", "norm of two", rows, axis=1)
case("LpNormalization", "norm of one", rows, p=1)
case("GlobalAveragePool", "two axes", f32(2, 3, 2, 2))
case("Softmax", "last axis", grid, axis=-1)
case("LogSoftmax", "last axis", 100 * grid, axis=-1)

# More reductions.
for op in ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd"]:
    case(op, "last axis", grid, i64(-1))
    case(op, "outer axes, dropped", grid, i64(0, 2), keepdims=0)
case("ReduceLogSum", "all", np.abs(grid))
case("ReduceLogSumExp", "large", 100 * grid, i64(1))
case("ReduceProd", "int64", i64(4, -9, 2))
case("DynamicQuantizeLinear", "both signs", f32(3, 4), outputs=3)
case("DynamicQuantizeLinear", "one sign", 1 + np.abs(f32(5)), outputs=3)

print("\n".join(substituted))
graph = helper.make_graph(nodes, "cases", [], [], initializers)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], producer_name="cases.py")
onnx.save(model, sys.argv[1])
