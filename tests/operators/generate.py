#!/usr/bin/env python3
"""Makes the models and reference runs in this folder, with ONNX Runtime, or where it has no kernel ONNX's own evaluator: `python3 generate.py [NAME...]`.

One model per case, `NAME.onnx` and `NAME.npz` (`case0/in/{input}`, `case0/out/{output}`).
"""
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnx.reference import ReferenceEvaluator

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
    try: values = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    except Exception as e:
        print(f"{name}: ONNX's evaluator, since ONNX Runtime says: {str(e)[:150]}")
        values = [np.asarray(v) for v in ReferenceEvaluator(onnx.load_from_string(model.SerializeToString())).run(None, feeds)]
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
def gqa(name, seq, past, seqlens, packed=True, rotary=True, batch=2, total=None, sink=False, **attributes):
    total = total or past + seq
    if packed: given, ins = dict(q=f32(batch, seq, (G + 2 * K) * GH)), ["q", "", ""]
    else: given, ins = dict(q=f32(batch, seq, G * GH), k=f32(batch, seq, K * GH), v=f32(batch, seq, K * GH)), ["q", "k", "v"]
    given |= dict(pk=f32(batch, K, past, GH), pv=f32(batch, K, past, GH), lens=i32(*seqlens), total=np.array(total, np.int32))
    ins += ["pk", "pv", "lens", "total"]
    if rotary: given |= dict(cos=cos, sin=sin); ins += ["cos", "sin"]; attributes["do_rotary"] = 1
    if sink: given |= dict(sink=f32(G)); ins += ["", "", "sink"]
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

# ---------------------------------------------------------------- standard attention
W = 40                                                   # more keys than tract's attention takes at once
def attend(name, seq=S, keys=S, past=0, mask=None, lengths=None, kv=N, three=False, scores=False, opset=25, kind=np.float32, **attributes):
    of = lambda heads, length: f32(B, length, heads * H) if three else f32(B, heads, length, H)
    given, ins, outs = dict(q=of(N, seq), k=of(kv, keys), v=of(kv, keys)), ["q", "k", "v", "", "", "", ""], ["y", "", "", ""]
    if three: attributes |= dict(q_num_heads=N, kv_num_heads=kv)
    if mask is not None: given["m"] = mask; ins[3] = "m"
    if past: given |= dict(pk=f32(B, kv, past, H), pv=f32(B, kv, past, H)); ins[4:6] = ["pk", "pv"]; outs[1:3] = ["nk", "nv"]
    if lengths is not None: given["lens"] = np.array(lengths, np.int64); ins[6] = "lens"
    if scores: outs[3] = "scores"
    while not ins[-1]: ins.pop()
    while not outs[-1]: outs.pop()
    given = {name: a.astype(kind) if a.dtype == np.float32 else a for name, a in given.items()}
    case("attention25-" + name, std("Attention", ins, outs, **attributes), [o for o in outs if o], given, opset=opset)
some = lambda *shape: rng.random(shape) < 0.6
attend("causal-past", seq=3, keys=3, past=4, is_causal=1, opset=23)
attend("causal-token", seq=1, keys=1, past=4, is_causal=1, opset=23)
attend("causal-long", seq=W, keys=W, past=W, is_causal=1, left_window_size=7)
attend("windows", left_window_size=2, right_window_size=1)
attend("window-past", seq=3, keys=3, past=4, is_causal=1, left_window_size=2, three=True)
attend("window-masked", mask=some(B, 1, S, S), left_window_size=1, is_causal=1)
attend("softcap", softcap=0.7, scale=2.0, is_causal=1, opset=23)
attend("shared-heads", kv=1, three=True, mask=f32(N, S, S))
attend("lengths", keys=7, lengths=[7, 4], opset=24)
attend("lengths-causal", seq=2, keys=7, lengths=[7, 1], is_causal=1, opset=24)
attend("short-mask", seq=2, keys=7, lengths=[5, 3], mask=some(B, 1, 2, 5), opset=24)
attend("blind-rows", mask=np.tri(S, S, -2, dtype=bool), scores=True, qk_matmul_output_mode=3)
attend("blind-numbers", mask=np.where(np.tri(S, S, -2), 0, -np.inf).astype(np.float32))
for mode in range(3): attend(f"scores-{mode}", mask=f32(S, S), softcap=1.5, scores=True, qk_matmul_output_mode=mode)
attend("f16", mask=some(S, S) | np.eye(S, dtype=bool), kind=np.float16, softmax_precision=1)

gqa("gqa-softcap", 5, 0, [4, 4], softcap=1.5)
gqa("gqa-sink", 5, 0, [4, 4], packed=False, sink=True, local_window_size=3)
gqa("gqa-smooth", 1, 4, [4, 4], smooth_softmax=1)

# ---------------------------------------------------------------- what tract passes over
for name, where in (("offset", np.array([3], np.int64)), ("ids", rng.integers(0, 9, (B, S)))):
    for shape, heads in (((B, N, S, 8), 0), ((B, S, N * 8), N)):
        case(f"rotary-{name}-{len(shape)}d", node("RotaryEmbedding", ["x", "at", "cos", "sin"], ["y"], num_heads=heads, interleaved=int(name == "ids")), ["y"],
             dict(x=f32(*shape), at=where, cos=cos[:, :4], sin=sin[:, :4]), ["cos", "sin"])
case("rotary-part", node("RotaryEmbedding", ["x", "at", "cos", "sin"], ["y"], num_heads=N, rotary_embedding_dim=8), ["y"],
     dict(x=f32(B, S, N * 12), at=where, cos=cos[:, :4], sin=sin[:, :4]), ["cos", "sin"])
rows = dict(x=f32(B, S, D), skip=f32(B, S, D), gamma=f32(D), beta=f32(D), bias=f32(D))
case("skip-norm", node("SkipLayerNormalization", ["x", "skip", "gamma", "", "bias"], ["y", "", "", "sum"]), ["y", "sum"], {k: v for k, v in rows.items() if k != "beta"})
case("skip-rms-norm", node("SkipSimplifiedLayerNormalization", ["x", "skip", "gamma", "bias"], ["y", "", "", "sum"], epsilon=1e-3), ["y", "sum"], {k: v for k, v in rows.items() if k != "beta"})
case("batch-norm", std("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=0.1), ["y"], dict(x=f32(2, 3, 4), s=f32(3), b=f32(3), m=f32(3), v=f32(3) ** 2))
case("swish", std("Swish", ["x"], ["y"], alpha=1.7), ["y"], dict(x=f32(3, 4)), opset=24)
case("swiglu", std("SwiGLU", ["a", "b"], ["y"], alpha=0.5), ["y"], dict(a=f32(3, 4), b=f32(3, 4)), opset=28)
case("celu", std("Celu", ["x"], ["y"], alpha=0.3), ["y"], dict(x=f32(3, 4)))
case("shift-all", std("BitShift", ["x", "by"], ["y"], direction="RIGHT"), ["y"], dict(x=np.array([-9, 9, -9, 200], np.int32), by=np.array([2, 40, 99, -1], np.int32)), opset=28)
for name, equation, a, b in (("einsum-one-sided", "...ij,jd->...id", f32(2, 3, 4), f32(4, 5)), ("einsum-unequal", "...ij,...jd->...id", f32(2, 1, 3, 4), f32(5, 4, 2)),
                             ("einsum-no-result", "b...a,a...", f32(2, 3, 4), f32(4, 3)), ("einsum-diagonal", "...ii,i->...", f32(2, 3, 3), f32(3))):
    case(name, std("Einsum", ["a", "b"], ["y"], equation=equation), ["y"], dict(a=a, b=b))
large = f32(3, 4) * 200
for op in ("ReduceLogSumExp", "LogSoftmax"): case(f"{op.lower()}-large", std(op, ["x"], ["y"]), ["y"], dict(x=large), opset=13)
case("logsoftmax-11", std("LogSoftmax", ["x"], ["y"], axis=1), ["y"], dict(x=f32(2, 3, 4)), opset=11)
case("lp-pool", std("GlobalLpPool", ["x"], ["y"], p=3), ["y"], dict(x=f32(2, 3, 4, 5)))
hidden = np.where(np.tri(4, 4, -1), f32(4, 4), -np.inf).astype(np.float32)
case("reduce-infinite", std("ReduceMax", ["x"], ["y"], axes=[1]), ["y"], dict(x=hidden), opset=13)
case("reduce-infinite-f16", std("ReduceMin", ["x"], ["y"], axes=[1]), ["y"], dict(x=(-hidden).astype(np.float16)), opset=13)
pads = lambda *p: np.array(p, np.int64)
case("pad-crop", std("Pad", ["x", "p"], ["y"]), ["y"], dict(x=f32(2, 5, 3), p=pads(0, 1, 0, 0, -1, -1)), ["p"])
case("pad-wrap", std("Pad", ["x", "p", "", "a"], ["y"], mode="wrap"), ["y"], dict(x=f32(4, 5), p=pads(2, 1, -1, 3), a=pads(1, -2)), ["p", "a"], opset=19)
cut = lambda name, start, end, step, stored=("s", "e", "a", "t"): case(f"slice-{name}", std("Slice", ["x", "s", "e", "a", "t"], ["y"]), ["y"], dict(x=f32(4, 3), s=pads(start), e=pads(end), a=pads(0), t=pads(step)), stored)
cut("empty", 3, 1, 1); cut("past-the-end", 9, 12, 1); cut("backwards", -1, -2**63, -2); cut("data", -3, 2**62, 1, ("a", "t"))
case("gather-from-end", std("GatherND", ["x", "i"], ["y"]), ["y"], dict(x=f32(3, 4, 2), i=np.array([[-1, 2], [1, -4]])))
case("scatter-from-end", std("ScatterND", ["x", "i", "u"], ["y"], reduction="add"), ["y"], dict(x=f32(3, 4), i=np.array([[-1], [-1]]), u=f32(2, 4)), opset=18)
case("one-hot-out", std("OneHot", ["i", "d", "v"], ["y"], axis=1), ["y"], dict(i=np.array([[-1, 0], [4, 2]]), d=np.array(4), v=f32(2)), ["d", "v"])
case("compress", std("Compress", ["x", "c"], ["y"], axis=-1), ["y"], dict(x=f32(2, 4), c=np.array([True, False, True])))
case("range-floats", std("Range", ["a", "b", "c"], ["y"]), ["y"], dict(zip("abc", (np.float32(v) for v in (0.5, 2.0, 0.4)))), ["a", "b", "c"])
case("tensor-scatter", std("TensorScatter", ["x", "u", "i"], ["y"], mode="circular"), ["y"], dict(x=f32(2, 3, 4, 2), u=f32(2, 3, 2, 2), i=np.array([3, 1])), opset=24)
case("top-k-places", std("TopK", ["x", "k"], ["", "y"]), ["y"], dict(x=f32(3, 5), k=pads(2)), ["k"])
case("quantize-row", std("QuantizeLinear", ["x", "s", "z"], ["y"], axis=0), ["y"], dict(x=f32(3, 4) * 9, s=np.abs(f32(3)) + 0.1, z=np.array([0, -7, 99], np.int8)))
case("quantize-tie", std("QuantizeLinear", ["x", "s"], ["y"]), ["y"], dict(x=np.arange(1, 60, 2).astype(np.float32) * np.float32(0.05), s=np.float32(0.1)), ["s"])
case("dequantize-i16", std("DequantizeLinear", ["x", "s", "z"], ["y"]), ["y"], dict(x=rng.integers(-999, 999, (2, 3)).astype(np.int16), s=np.float16(0.02), z=np.array(7, np.int16)), opset=21)
case("n-bits-f32", node("MatMulNBits", ["x", "w", "s"], ["y"], K=64, N=3, bits=4, block_size=32), ["y"], dict(x=f32(2, 64), w=u8(3, 2, 16), s=f32(3, 2)), ["w", "s"])
case("gather-n-bits-f32", node("GatherBlockQuantized", ["w", "i", "s"], ["y"], block_size=32, bits=4), ["y"], dict(w=u8(5, 32), i=np.array([3, 0], np.int32), s=f32(5, 2)), ["w", "s"])

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

# ---------------------------------------------------------------- what is at the edge
gqa("gqa-padded-prompt", 5, 0, [4, 2])
gqa("gqa-padded-window", 5, 0, [4, 1], packed=False, local_window_size=2)
for name, equation, *shapes in (("total", "ij->", (2, 3)), ("trace", "ii", (3, 3)), ("inner", "...i,...i->...", (4,), (4,))):
    inputs = {f"x{i}": f32(*shape) for i, shape in enumerate(shapes)}
    case(f"einsum-{name}", std("Einsum", [*inputs], ["y"], equation=equation), ["y"], inputs)
for mode, p in (("reflect", (-1, 1)), ("wrap", (2, -2)), ("edge", (-3, 4))):
    case(f"pad-{mode}-crop", std("Pad", ["x", "p"], ["y"], mode=mode), ["y"], dict(x=f32(5), p=pads(*p)), ["p"], opset=19)
case("pad-value-vector", std("Pad", ["x", "p", "v"], ["y"]), ["y"], dict(x=f32(5), p=pads(1, 2), v=f32(1)), ["p", "v"])
case("range-vectors", std("Range", ["a", "b", "c"], ["y"]), ["y"], dict(a=pads(2), b=pads(9), c=pads(3)), ["a", "b", "c"])
for name, shape, stored in (("crop-pad", pads(2, 8), ["s"]), ("crop-pad-data", pads(5, 2), [])):
    case(f"center-{name}", std("CenterCropPad", ["x", "s"], ["y"], axes=[0, -1]), ["y"], dict(x=f32(5, 2, 5), s=shape), stored, opset=18)

# ---------------------------------------------------------------- ONNX's own
# tract's rules for the body of this Scan go round in circles.
name = "linear_attention_gated_delta_gqa_expanded"
if not sys.argv[1:] or name in sys.argv[1:]:
    from onnx.backend.test.case.node import collect_testcases
    test = next(t for t in collect_testcases(None) if t.name == f"test_{name}")
    onnx.save(test.model, HERE / f"{name}.onnx")
    sets = zip(("in", "out"), (test.model.graph.input, test.model.graph.output), test.data_sets[0])
    np.savez_compressed(HERE / f"{name}.npz", **{f"case0/{way}/{v.name}": a for way, values, arrays in sets for v, a in zip(values, arrays)})
