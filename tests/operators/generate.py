#!/usr/bin/env python3
"""Makes the models and reference runs in this folder, with ONNX Runtime: `python3 generate.py [NAME...]`.

One model per case, `NAME.onnx` and `NAME.npz` (`case0/in/{input}`, `case0/out/{output}`).
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

HERE = Path(__file__).resolve().parent
MS = "com.microsoft"
rng = np.random.default_rng(0)


def f32(*shape): return rng.standard_normal(shape).astype(np.float32)


def case(name, node, outputs, inputs, stored=(), opset=17, nodes=(), open=()):
    """`node` with these inputs (arrays by name, graph inputs unless named in `stored`, of any sizes where named in `open`)."""
    if sys.argv[1:] and name not in sys.argv[1:]: return
    kind = lambda a: h.np_dtype_to_tensor_dtype(a.dtype)
    graph = h.make_graph(
        [*nodes, node], name,
        [h.make_tensor_value_info(k, kind(a), [None] * a.ndim if k in open else a.shape) for k, a in inputs.items() if k not in stored],
        [h.make_empty_tensor_value_info(o) for o in outputs],
        [nh.from_array(a, k) for k, a in inputs.items() if k in stored])
    model = h.make_model(graph, ir_version=10, opset_imports=[h.make_opsetid("", opset), h.make_opsetid(MS, 1)])
    feeds = {k: a for k, a in inputs.items() if k not in stored}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, feeds)
    # ONNX Runtime knows the types that ONNX's own inference has no rule for.
    for output, found in zip(model.graph.output, values):
        output.CopyFrom(h.make_tensor_value_info(output.name, kind(found), [None] * found.ndim))
    onnx.save(model, HERE / f"{name}.onnx")
    np.savez_compressed(HERE / f"{name}.npz", **{f"case0/in/{k}": a for k, a in feeds.items()},
                        **{f"case0/out/{o}": v for o, v in zip(outputs, values)})


def node(op, inputs, outputs, domain=MS, **attributes):
    return h.make_node(op, inputs, outputs, name=op.lower(), domain=domain, **attributes)


# ---------------------------------------------------------------- Attention
B, S, D, N, H, P = 2, 5, 8, 2, 4, 3
x, w, b = f32(B, S, D), f32(D, 3 * D), f32(3 * D)
base = dict(x=x, w=w, b=b)
lengths = np.array([5, 3], np.int32)
keys = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
full = (rng.random((B, S, S)) < 0.7).astype(np.int32) | np.eye(S, dtype=np.int32)
case("attention-plain", node("Attention", ["x", "w", "b"], ["y"], num_heads=N), ["y"], base, ["w", "b"])
case("attention-lengths", node("Attention", ["x", "w", "b", "m"], ["y"], num_heads=N), ["y"], {**base, "m": lengths}, ["w", "b"])
case("attention-ends-starts", node("Attention", ["x", "w", "b", "m"], ["y"], num_heads=N), ["y"],
     {**base, "m": np.array([5, 4, 0, 1], np.int32)}, ["w", "b"])
case("attention-keys", node("Attention", ["x", "w", "b", "m"], ["y"], num_heads=N), ["y"], {**base, "m": keys}, ["w", "b"])
case("attention-full-mask", node("Attention", ["x", "w", "b", "m"], ["y"], num_heads=N, scale=0.3), ["y"], {**base, "m": full}, ["w", "b"])
case("attention-causal-past", node("Attention", ["x", "w", "b", "", "past"], ["y", "present"], num_heads=N, unidirectional=1),
     ["y", "present"], {**base, "past": f32(2, B, N, P, H)}, ["w", "b"])
case("attention-bias", node("Attention", ["x", "w", "b", "m", "", "bias"], ["y"], num_heads=N), ["y"],
     {**base, "m": keys, "bias": f32(1, N, S, S)}, ["w", "b"])
case("attention-sizes", node("Attention", ["x", "w", "b"], ["y"], num_heads=N, qkv_hidden_sizes=[8, 8, 4]), ["y"],
     dict(x=x, w=f32(D, 20), b=f32(20)), ["w", "b"])

# ---------------------------------------------------------------- MultiHeadAttention
L = 6
q, k, v = f32(B, S, D), f32(B, L, D), f32(B, L, D)
qkv = dict(q=q, k=k, v=v)
case("mha-bias", node("MultiHeadAttention", ["q", "k", "v", "b"], ["y"], num_heads=N), ["y"], {**qkv, "b": b}, ["b"])
case("mha-keys", node("MultiHeadAttention", ["q", "k", "v", "", "m"], ["y"], num_heads=N), ["y"],
     {**qkv, "m": np.array([[1] * 6, [1, 1, 0, 1, 0, 0]], np.int32)})
case("mha-attention-bias", node("MultiHeadAttention", ["q", "k", "v", "", "", "bias"], ["y"], num_heads=N), ["y"],
     {**qkv, "bias": f32(1, N, S, L)})
case("mha-past", node("MultiHeadAttention", ["q", "k", "v", "b", "", "", "pk", "pv"], ["y", "nk", "nv"], num_heads=N, unidirectional=1),
     ["y", "nk", "nv"], dict(q=q, k=f32(B, S, D), v=f32(B, S, D), b=b, pk=f32(B, N, P, H), pv=f32(B, N, P, H)), ["b"])
case("mha-cross", node("MultiHeadAttention", ["q", "k", "v"], ["y"], num_heads=N), ["y"],
     dict(q=q, k=f32(B, N, L, H), v=f32(B, N, L, H)))

# ---------------------------------------------------------------- GroupQueryAttention
K, G = 2, 4                                              # kv heads, query heads
GH = 16
cos, sin = np.cos(f32(32, GH // 2)), np.sin(f32(32, GH // 2))
i32 = lambda *a: np.array(a, np.int32)
def gqa(name, seq, past, seqlens, packed=True, rotary=True, batch=2, total=None, **attributes):
    total = total or past + seq
    if packed: given, ins = dict(q=f32(batch, seq, (G + 2 * K) * GH)), ["q", "", ""]
    else: given, ins = dict(q=f32(batch, seq, G * GH), k=f32(batch, seq, K * GH), v=f32(batch, seq, K * GH)), ["q", "k", "v"]
    given |= dict(pk=f32(batch, K, past, GH), pv=f32(batch, K, past, GH), lens=i32(*seqlens), total=np.array(total, np.int32))
    ins += ["pk", "pv", "lens", "total"]
    if rotary: given |= dict(cos=cos, sin=sin); ins += ["cos", "sin"]; attributes["do_rotary"] = 1
    case(name, node("GroupQueryAttention", ins, ["y", "nk", "nv"], num_heads=G, kv_num_heads=K, **attributes), ["y", "nk", "nv"], given, ["cos", "sin"])
gqa("gqa-prompt", 5, 0, [4, 4])
gqa("gqa-token", 1, 4, [4, 4])
gqa("gqa-unpacked", 5, 0, [4, 4], packed=False)
gqa("gqa-token-plain", 1, 4, [4, 4], packed=False, rotary=False)
gqa("gqa-interleaved", 5, 0, [4, 4], rotary_interleaved=1)
gqa("gqa-window", 1, 6, [6, 6], local_window_size=3)
gqa("gqa-window-prompt", 6, 0, [5, 5], local_window_size=3)
gqa("gqa-ragged-token", 1, 4, [4, 2])
gqa("gqa-continued", 3, 4, [6], batch=1)

# ---------------------------------------------------------------- others
ids = rng.integers(0, 11, (B, S)).astype(np.int32)
tables = dict(words=f32(11, D), positions=f32(9, D), segments=f32(2, D), gamma=f32(D), beta=f32(D))
stored = list(tables)
case("embed", node("EmbedLayerNormalization", ["ids", "seg", "words", "positions", "segments", "gamma", "beta", "m"], ["y", "n"]), ["y", "n"],
     dict(ids=ids, seg=(ids % 2).astype(np.int32), m=keys, **tables), stored)
case("embed-position-ids", node("EmbedLayerNormalization", ["ids", "", "words", "positions", "", "gamma", "beta", "", "at"], ["y", "", "sum"]), ["y", "sum"],
     dict(ids=ids, at=(ids % 9).astype(np.int32), **{k: v for k, v in tables.items() if k != "segments"}), stored)
case("fused-matmul", node("FusedMatMul", ["a", "b"], ["y"], alpha=0.5, transA=1, transB=1), ["y"], dict(a=f32(2, 3, 4), b=f32(2, 5, 3)))
case("fused-gemm", node("FusedGemm", ["a", "b", "c"], ["y"], activation="Relu", transB=1, alpha=0.5, beta=2.0), ["y"], dict(a=f32(3, 4), b=f32(5, 4), c=f32(5)))
u8 = lambda *s: rng.integers(0, 255, s).astype(np.uint8)
i8 = lambda *s: rng.integers(-127, 127, s).astype(np.int8)
scale = lambda v: np.array(v, np.float32)
case("integer-to-float", node("MatMulIntegerToFloat", ["a", "b", "sa", "sb", "za", "zb", "bias"], ["y"]), ["y"],
     dict(a=u8(3, 8), b=i8(8, 5), sa=scale(0.02), sb=scale(0.03), za=np.array(120, np.uint8), zb=np.array(3, np.int8), bias=f32(5)),
     ["b", "sa", "sb", "za", "zb", "bias"])
case("dynamic-quantize", node("DynamicQuantizeMatMul", ["a", "b", "sb", "zb", "bias"], ["y"]), ["y"],
     dict(a=f32(3, 8), b=i8(8, 5), sb=scale(0.03), zb=np.array(0, np.int8), bias=f32(5)), ["b", "sb", "zb", "bias"])
case("qattention", node("QAttention", ["x", "w", "b", "sx", "sw", "m", "zx", "zw"], ["y"], num_heads=N), ["y"],
     dict(x=u8(B, S, D), w=i8(D, 3 * D), b=b, sx=scale(0.01), sw=scale(0.02), m=lengths, zx=np.array(128, np.uint8), zw=np.array(0, np.int8)),
     ["w", "b", "sx", "sw", "zx", "zw"])

# ---------------------------------------------------------------- standard operators
std = lambda op, i, o, **a: node(op, i, o, domain="", **a)
f16 = lambda *s: f32(*s).astype(np.float16)
case("gemm-f16", std("Gemm", ["a", "b", "c"], ["y"], alpha=0.5, beta=2.0, transA=1), ["y"], dict(a=f16(4, 3), b=f16(4, 5), c=f16(5)), ["b", "c"])
case("attention23-bool", std("Attention", ["q", "k", "v", "m"], ["y"]), ["y"],
     dict(q=f32(B, N, S, H), k=f32(B, N, L, H), v=f32(B, N, L, H), m=rng.random((B, 1, S, L)) < 0.7), opset=23)
case("attention23-number", std("Attention", ["q", "k", "v", "m"], ["y"], is_causal=1), ["y"],
     dict(q=f32(B, N, S, H), k=f32(B, N, S, H), v=f32(B, N, S, H), m=f32(S, S)), opset=23)
case("trilu-bool", std("Trilu", ["x", "k"], ["y"], upper=0), ["y"], dict(x=np.ones((2, 4, 5), bool), k=np.array(1, np.int64)), ["k"])
case("trilu-cast", std("Trilu", ["c"], ["y"], upper=1), ["y"], dict(x=f32(4, 4) * 5), nodes=[std("Cast", ["x"], ["c"], to=T.INT64)])
case("cumsum-cast", std("CumSum", ["c", "axis"], ["y"]), ["y"], dict(x=f32(2, 5) > 0, axis=np.array(1, np.int64)), ["axis"],
     nodes=[std("Cast", ["x"], ["c"], to=T.INT64)])
case("flatten-shape", std("Reshape", ["f", "s"], ["y"]), ["y"], dict(x=f32(2, 3, 4)),
     nodes=[std("Flatten", ["x"], ["f"], axis=2), std("Shape", ["x"], ["s"])])
case("dequantize-blocks", std("DequantizeLinear", ["w", "s", "z"], ["y"], axis=1, block_size=4), ["y"],
     dict(w=u8(3, 8), s=f32(3, 2), z=u8(3, 2)), ["w", "s", "z"], opset=21)

# ---------------------------------------------------------------- values that plans are for
i64 = lambda *values: np.array(values, np.int64)
case("values-slice", std("Slice", ["x", "starts", "ends", "axes"], ["y"]), ["y"],
     dict(x=f32(6, 5), from_end=np.array(4, np.int32), ends=i64(99), axes=i64(0)),
     nodes=[std("Neg", ["from_end"], ["negative"]), std("Cast", ["negative"], ["wide"], to=T.INT64), std("Reshape", ["wide", "ends_shape"], ["starts"]),
            std("Shape", ["axes"], ["ends_shape"])])
case("values-pad", std("Pad", ["x", "pads"], ["y"]), ["y"], dict(x=f32(2, 3), left=i64(0, 2), right=i64(1, 1)),
     nodes=[std("Concat", ["left", "right"], ["pads"], axis=0)])
case("values-resize", std("Resize", ["x", "", "", "sizes"], ["y"], mode="linear"), ["y"], dict(x=f32(1, 2, 4, 4), size=i64(7, 3)),
     nodes=[std("Shape", ["x"], ["outer"], end=2), std("Concat", ["outer", "size"], ["sizes"], axis=0)])
case("values-topk", std("TopK", ["x", "k"], ["y", "at"]), ["y", "at"], dict(x=f32(3, 7), k=i64(2)))

# ---------------------------------------------------------------- graphs within nodes
value = lambda name, kind=T.FLOAT, shape=None: h.make_tensor_value_info(name, kind, shape)
graph = lambda nodes, inputs, outputs: h.make_graph(nodes, "body", inputs, outputs)
# TorchScript's squeeze(1): which branch runs, and so the rank, depends on a shape.
sizes = [std("Shape", ["x"], ["shape"]), std("Gather", ["shape", "one"], ["size"]), std("Equal", ["size", "one"], ["is_one"])]
squeeze = std("If", ["is_one"], ["y"], then_branch=graph([std("Squeeze", ["x", "axes"], ["a"])], [], [value("a")]),
              else_branch=graph([std("Identity", ["x"], ["b"])], [], [value("b")]))
for name, shape in [("if-one", (3, 1, 2)), ("if-more", (3, 2, 2))]:
    case(name, squeeze, ["y"], dict(x=f32(*shape), one=np.array(1, np.int64), axes=i64(1)), ["one", "axes"], nodes=sizes, open=["x"])
doubled = graph([h.make_node("Add", ["s", "s"], ["t"]), h.make_node("Mul", ["t", "w"], ["row"]), h.make_node("Cast", ["i"], ["f"], to=T.FLOAT), h.make_node("Add", ["row", "f"], ["out"]),
                 h.make_node("Less", ["i", "last"], ["on"])],
                [value("i", T.INT64, []), value("c", T.BOOL, []), value("s", shape=[3])], [value("on", T.BOOL, []), value("t", shape=[3]), value("out", shape=[3])])
case("loop-count", std("Loop", ["n", "", "x"], ["y", "rows"], body=doubled), ["y", "rows"],
     dict(x=f32(3), n=np.array(4, np.int64), w=f32(3), last=np.array(9, np.int64)), ["w", "last"])
case("loop-condition", std("Loop", ["", "go", "x"], ["y", "rows"], body=doubled), ["y", "rows"],
     dict(x=f32(3), go=np.array(True), last=np.array(2, np.int64), w=f32(3)), ["w"])
step = graph([h.make_node("Mul", ["s", "decay"], ["kept"]), h.make_node("Add", ["kept", "r"], ["t"]), h.make_node("Mul", ["t", "gate"], ["out"])],
             [value("s", shape=[2, 3]), value("r", shape=[2, 3]), value("gate", shape=[3])], [value("t", shape=[2, 3]), value("out", shape=[2, 3])])
case("scan-backwards", std("Scan", ["s", "x", "g"], ["y", "rows"], body=step, num_scan_inputs=2, scan_input_axes=[1, -2], scan_input_directions=[1, 0],
                           scan_output_axes=[-1], scan_output_directions=[1]), ["y", "rows"],
     dict(s=f32(2, 3), x=f32(2, 5, 3), g=f32(5, 3), decay=np.array(0.5, np.float32)))
case("lstm", std("LSTM", ["x", "w", "r"], ["y", "h", "c"], hidden_size=4), ["y", "h", "c"], dict(x=f32(5, 1, 3), w=f32(1, 16, 3), r=f32(1, 16, 4)), ["w", "r"])
