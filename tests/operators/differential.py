#!/usr/bin/env python3
"""Tries `bitonnx run` on operators with random attributes, types and shapes: `python3 differential.py BITONNX [--only REGEX] [--rounds N] [--seed N] [--keep DIR]`.

What it gives must be what ONNX Runtime gives, or where that has no kernel ONNX's reference evaluator: a refusal is fine, another
number is not. Prints each case that is wrong, and how many of each operator were right, refused and wrong.
"""
import argparse, multiprocessing, re, subprocess, sys, tempfile, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnx.reference import ReferenceEvaluator

MS = "com.microsoft"
F, I = (np.float32, np.float16, np.float64), (np.int64, np.int32, np.int8, np.uint8)
GENERATORS = {}


class Case:
    """One node, its inputs in order (`None`: left out), which of them are stored, how many outputs."""

    def __init__(self, op, inputs, outputs=1, stored=(), opset=21, domain="", **attributes):
        self.op, self.opset, self.domain = op, opset, domain
        self.attributes = {k: v for k, v in attributes.items() if v is not None}
        names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
        while names and not names[-1]: names.pop()
        self.values = {n: np.asarray(a) for n, a in zip(names, inputs) if n}
        self.stored = {f"x{i}" for i in stored} & set(self.values)
        outs = outputs if isinstance(outputs, list) else [f"y{i}" for i in range(outputs)]
        self.names, self.outs = names, outs

    def model(self, outputs={}):
        """The case as a model; what its outputs are is known once they are."""
        kind = lambda a: h.np_dtype_to_tensor_dtype(a.dtype)
        node = h.make_node(self.op, self.names, self.outs, name="n", domain=self.domain, **self.attributes)
        graph = h.make_graph([node], "g", [h.make_tensor_value_info(n, kind(a), a.shape) for n, a in self.values.items() if n not in self.stored],
                             [h.make_tensor_value_info(o, kind(np.asarray(outputs[o])), [None] * np.ndim(outputs[o])) if outputs else h.make_empty_tensor_value_info(o) for o in self.outs if o], [nh.from_array(a, n) for n, a in self.values.items() if n in self.stored])
        return h.make_model(graph, ir_version=10, opset_imports=[h.make_opsetid("", self.opset), h.make_opsetid(MS, 1)])

    def feeds(self): return {n: a for n, a in self.values.items() if n not in self.stored}

    def __str__(self):
        shapes = ", ".join(f"{self.values[n].dtype}{list(self.values[n].shape)}{'*' if n in self.stored else ''}" if n else "-" for n in self.names)
        return f"{self.op} <{self.attributes}> ({shapes}) -> {self.outs} opset {self.opset}"


def generator(*ops):
    def register(f):
        for op in ops: GENERATORS[op] = f
        return f
    return register


class Random:
    def __init__(self, seed): self.rng = np.random.default_rng(seed)
    def pick(self, *options): return options[self.rng.integers(len(options))]
    def maybe(self, value, chance=0.5): return value if self.rng.random() < chance else None
    def int(self, low, high): return int(self.rng.integers(low, high + 1))
    def shape(self, low=1, high=4, rank=None): return [self.int(low, high) for _ in range(self.int(1, 4) if rank is None else rank)]

    def array(self, shape, kind=np.float32, scale=2.0, special=False):
        if kind == bool: return self.rng.random(shape) < 0.5
        if np.issubdtype(kind, np.floating):
            x = (self.rng.standard_normal(shape) * scale).astype(kind)
            if special and x.size:
                flat = x.reshape(-1)
                for i in range(0, flat.size, 3): flat[i] = self.pick(np.nan, np.inf, -np.inf, 0.0, -0.0, 100.0, -100.0, 0.5, 2.5)
            return x
        low = 0 if np.issubdtype(kind, np.unsignedinteger) else -9
        return self.rng.integers(low, 10, shape).astype(kind)

    def broadcast(self, shape):
        """A shape that broadcasts to this one."""
        cut = shape[self.int(0, len(shape)):] if self.rng.random() < 0.4 else shape
        return [1 if self.rng.random() < 0.3 else n for n in cut]


# ---------------------------------------------------------------- elementwise
FLOAT_UNARY = ["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "HardSwish", "Log", "Mish", "Reciprocal",
               "Round", "Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh"]
@generator(*FLOAT_UNARY)
def unary(r, op): return Case(op, [r.array(r.shape(), r.pick(*F), special=r.pick(False, False, True))], opset=22 if op in ("Mish",) else 21)
@generator("Abs", "Neg", "Relu", "Sign", "Identity")
def signed(r, op): return Case(op, [r.array(r.shape(), r.pick(*F, np.int64, np.int32, np.int8), special=r.pick(False, True))])
@generator("Not", "BitwiseNot")
def inverted(r, op): return Case(op, [r.array(r.shape(), bool if op == "Not" else r.pick(*I))])
@generator("IsNaN", "IsInf")
def classified(r, op):
    more = dict(detect_positive=r.maybe(r.int(0, 1)), detect_negative=r.maybe(r.int(0, 1))) if op == "IsInf" else {}
    return Case(op, [r.array(r.shape(), r.pick(*F), special=True)], **more)
ALPHAS = dict(Celu=["alpha"], Elu=["alpha"], LeakyRelu=["alpha"], ThresholdedRelu=["alpha"], Selu=["alpha", "gamma"], HardSigmoid=["alpha", "beta"], Shrink=["bias", "lambd"], Swish=["alpha"])
@generator(*ALPHAS)
def parametrised(r, op):
    kind = np.float32 if op == "Celu" else r.pick(*F)
    return Case(op, [r.array(r.shape(), kind, special=r.pick(False, True))], opset=24 if op == "Swish" else 21, **{a: r.maybe(r.pick(0.3, 1.7, 2.0, 0.0 if op not in ("Celu",) else 0.5)) for a in ALPHAS[op]})
@generator("Gelu")
def gelu(r, op): return Case(op, [r.array(r.shape(), r.pick(*F), special=r.pick(False, True))], approximate=r.pick(None, "none", "tanh"))
@generator("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Mod", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "PRelu", "Sum", "Mean", "And", "Or", "Xor",
           "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift")
def binary(r, op):
    kind = bool if op in ("And", "Or", "Xor") else r.pick(*I) if op.startswith("Bitwise") else r.pick(np.uint8, np.uint32, np.uint64) if op == "BitShift" else r.pick(*F) if op in ("Sum", "Mean", "PRelu") else r.pick(*F, *I)
    shape = r.shape(); float_ = kind != bool and np.issubdtype(kind, np.floating)
    a, b = r.array(shape, kind, special=r.pick(False, False, True)), r.array(r.broadcast(shape), kind, special=op in ("Max", "Min", "Less", "Equal") and r.pick(False, True))
    if op in ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Less", "And") and r.pick(True, False): a, b = b, a
    attributes = {}
    if op in ("Div", "Mod") and not float_: b = np.where(b == 0, 3, b).astype(kind)
    if op == "Mod": attributes = dict(fmod=1 if float_ else r.maybe(r.int(0, 1)))
    if op == "BitShift": attributes = dict(direction=r.pick("LEFT", "RIGHT"))
    if op == "Pow":
        a = np.abs(a) if float_ else a
        b = np.abs(b) if not float_ else b
        if r.pick(True, False): b = r.array(b.shape, r.pick(np.float32, np.int64, np.int32)); b = np.abs(b) if not float_ else b
        b = np.clip(b, -4, 4).astype(b.dtype)
    inputs = [a, b]
    if op in ("Max", "Min", "Sum", "Mean"): inputs = [inputs[:1], inputs, [a, b, r.array(r.broadcast(shape), kind)]][r.int(0, 2)]
    return Case(op, inputs, stored=[1] if r.pick(True, False) else [], **attributes)
@generator("Clip")
def clip(r, op):
    opset, kind = r.pick(9, 12, 13), r.pick(*F, *I); low, high = r.maybe(r.pick(-1, 0, 2)), r.maybe(r.pick(1, 3, -2))
    if opset < 11: return Case(op, [r.array(r.shape(), r.pick(np.float32, np.float16))], opset=opset, min=None if low is None else float(low), max=None if high is None else float(high))
    if kind == np.uint8: low, high = low and abs(low), high and abs(high)
    of = lambda v: None if v is None else np.array(v, kind)
    return Case(op, [r.array(r.shape(), kind, special=r.pick(False, True)), of(low), of(high)], opset=opset, stored=[1, 2] if r.pick(True, False) else [])
@generator("Where")
def where(r, op):
    shape, kind = r.shape(), r.pick(*F, *I, bool)
    return Case(op, [r.array(r.broadcast(shape), bool), r.array(shape, kind), r.array(r.broadcast(shape), kind)])
@generator("Cast", "CastLike")
def cast(r, op):
    a, b = r.pick(*F, *I, bool, np.uint16, np.int16, np.uint32), r.pick(*F, *I, bool, np.int16, np.uint32)
    x = r.array(r.shape(), a, scale=3.0)
    if np.dtype(a).kind == "f" and np.dtype(b).kind == "u": x = np.abs(x)
    if np.dtype(a).kind == "i" and np.dtype(b).kind == "u": x = np.abs(x)
    if np.dtype(a).kind == "f" and b == bool: x = np.round(x / 2) * r.pick(1, 0.5); x = x.astype(a)
    return Case(op, [x], to=h.np_dtype_to_tensor_dtype(np.dtype(b)), saturate=r.maybe(1)) if op == "Cast" else Case(op, [x, r.array([2], b)])


# ---------------------------------------------------------------- reductions
@generator("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")
def reduced(r, op):
    kind = r.pick(*F) if "Log" in op or op in ("ReduceL2", "ReduceMean") and r.pick(True, False) else r.pick(np.float32, np.float64, np.int32, np.int64)
    x = r.array(r.shape(), kind); x = np.abs(x) + np.array(1, kind) if op == "ReduceLogSum" else x
    if op == "ReduceLogSumExp" and r.pick(True, False): x = (x * 200).astype(kind)
    axes = r.rng.permutation(x.ndim)[:r.int(1, x.ndim)]; axes = np.array([a - x.ndim if r.pick(True, False) else a for a in axes], np.int64)
    opset = r.pick(11, 13, 18, 20)
    attributes = dict(keepdims=r.maybe(r.int(0, 1)))
    if opset >= 18 or opset >= 13 and op == "ReduceSum":
        given = r.pick(None, axes, axes, np.array([], np.int64))
        return Case(op, [x, given], stored=[1], opset=opset, noop_with_empty_axes=r.maybe(r.int(0, 1)), **attributes)
    return Case(op, [x], opset=opset, axes=r.maybe(axes.tolist(), 0.8), **attributes)
@generator("ArgMax", "ArgMin")
def arg(r, op):
    x = np.round(r.array(r.shape(), r.pick(np.float32, np.int32)) / 2).astype(np.float32); axis = r.int(-x.ndim, x.ndim - 1)
    return Case(op, [x], axis=r.maybe(axis) if x.ndim else 0, keepdims=r.maybe(r.int(0, 1)), select_last_index=r.maybe(r.int(0, 1)))
@generator("Softmax", "LogSoftmax", "Hardmax")
def softmax(r, op):
    x = r.array(r.shape(), r.pick(*F) if op != "Hardmax" else np.float32, scale=r.pick(1, 20, 100)); axis = r.int(-x.ndim, x.ndim - 1); opset = r.pick(9, 11, 12, 13, 18)
    if opset < 11: axis = abs(axis) % x.ndim
    if opset < 13 and x.ndim < 2: axis = 0
    return Case(op, [x], opset=opset, axis=r.maybe(axis, 0.8) if not (opset < 13 and x.ndim < 2) else 0)
@generator("CumSum")
def cumsum(r, op):
    x = r.array(r.shape(), r.pick(np.float32, np.float64, np.int32, np.int64)); axis = np.array(r.int(-x.ndim, x.ndim - 1), r.pick(np.int32, np.int64))
    return Case(op, [x, r.pick(axis, axis.reshape(1)) if r.pick(True, False) else axis], stored=[1], exclusive=r.maybe(r.int(0, 1)), reverse=r.maybe(r.int(0, 1)), opset=14)
@generator("TopK")
def topk(r, op):
    x = r.rng.permutation(60).reshape(3, 4, 5).astype(r.pick(np.float32, np.int64, np.int32)); x = x.reshape(r.pick([60], [12, 5], [3, 4, 5])); axis = r.int(-x.ndim, x.ndim - 1)
    outs = r.pick(["y0", "y1"], ["y0", "y1"], ["", "y1"], ["y0", ""])
    return Case(op, [x, np.array([r.int(1, x.shape[axis])], np.int64)], outs, stored=[1], axis=axis, largest=r.maybe(r.int(0, 1)), sorted=r.maybe(1), opset=r.pick(11, 21))


# ---------------------------------------------------------------- norms
@generator("LayerNormalization", "RMSNormalization")
def norm(r, op):
    x = r.array(r.shape(rank=r.int(2, 4), low=2), r.pick(*F)); axis = r.int(-x.ndim, x.ndim - 1); shape = x.shape[axis:] if axis < 0 else x.shape[axis:]
    shape = r.pick(shape, shape, shape[-1:]); kind = x.dtype.type
    layer = op == "LayerNormalization"
    return Case(op, [x, r.array(shape, kind), r.maybe(r.array(shape, kind)) if layer else None], r.int(1, 3) if layer else 1, opset=17 if layer else 23, axis=r.maybe(axis, 1.0), epsilon=r.maybe(r.pick(1e-3, 0.1)), stash_type=r.maybe(1))
@generator("BatchNormalization", "InstanceNormalization", "GroupNormalization")
def channels(r, op):
    c = 4; x = r.array([2, c, *r.shape(rank=r.int(0 if op[0] == "B" else 1, 2))]); p = lambda: np.abs(r.array([c])) + np.float32(0.1)
    if op[0] == "B": return Case(op, [x, p(), p(), p(), p()], stored=[1, 2, 3, 4] if r.pick(True, False) else [], epsilon=r.maybe(0.01), momentum=r.maybe(0.7), training_mode=r.maybe(0), opset=r.pick(9, 14, 15))
    if op[0] == "I": return Case(op, [x, p(), p()], epsilon=r.maybe(0.01))
    return Case(op, [x, p(), p()], num_groups=r.pick(1, 2, 4), epsilon=r.maybe(0.01), stash_type=r.maybe(1), opset=21)
@generator("LpNormalization", "MeanVarianceNormalization", "LRN", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def rows(r, op):
    rank = 4 if op in ("MeanVarianceNormalization", "LRN") else r.int(3, 4) if op.startswith("Global") else r.int(2, 4)
    x = r.array(r.shape(rank=rank, low=2), np.float32); a = {}
    if op == "LpNormalization": a = dict(axis=r.maybe(r.int(-rank, rank - 1)), p=r.maybe(r.int(1, 2)))
    if op == "MeanVarianceNormalization": a = dict(axes=r.pick(None, [0, 2, 3], [2, 3], [-1], [1]))
    if op == "LRN": a = dict(size=r.pick(1, 3), alpha=r.maybe(0.01), beta=r.maybe(0.5), bias=r.maybe(2.0))
    if op == "GlobalLpPool": a = dict(p=r.maybe(r.int(1, 3)))
    return Case(op, [x], **a)


# ---------------------------------------------------------------- products
@generator("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
def product(r, op):
    m, k, n = r.int(1, 4), r.int(1, 5), r.int(1, 4); kind = r.pick(*F, np.int32) if op == "MatMul" else r.pick(*F)
    if op == "Gemm":
        ta, tb = r.int(0, 1), r.int(0, 1)
        c = r.pick(None, [n], [m, n], [1, n], [m, 1], [1], [])
        return Case(op, [r.array([k, m] if ta else [m, k], kind), r.array([n, k] if tb else [k, n], kind), c if c is None else r.array(c, kind)], opset=r.pick(11, 13), transA=r.maybe(ta) if ta == 0 else 1, transB=r.maybe(tb) if tb == 0 else 1, alpha=r.maybe(0.5), beta=r.maybe(r.pick(2.0, 0.0)))
    batch = r.shape(rank=r.int(0, 2)); a, b = [*r.broadcast(batch), m, k], [*batch, k, n]
    if op == "MatMul":
        if r.rng.random() < 0.15: a = [k]
        elif r.rng.random() < 0.15: b = [k]
        return Case(op, [r.array(a, kind), r.array(b, kind)], stored=r.pick([], [1]))
    ka, kb = r.pick((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)); A, B = r.array(a, ka), r.array(b, kb)
    if op == "MatMulInteger": return Case(op, [A, B, r.pick(None, np.array(3, ka), r.array([m], ka) if len(a) == 2 else None), r.pick(None, np.array(2, kb), r.array([n], kb))], stored=r.pick([], [1, 3]))
    s = lambda v: np.array(v, np.float32)
    return Case(op, [A, s(0.1), np.array(3, ka), B, s(0.2), np.array(2, kb), s(0.5), np.array(7, ka)])
@generator("Einsum")
def einsum(r, op):
    sizes = dict(zip("abcdefij", [2, 3, 4, 5, 2, 3, 2, 3])); eq = r.pick(
        "ab,bc->ac", "ab,bc", "abc,cd->abd", "abc,abd->acd", "ij,ij->", "ij->ji", "ii->i", "ii->", "i,j->ij", "ij->i", "ij->j", "abc->b", "ab,ab->ab", "ab,b->a", "a,a->", "abc,dc->abd", "bfi,jf->bij", "abcd,aecd->abce",
        "...ij,...jd->...id", "...ij->...ji", "...ij,jd->...id", "ij,...jd->...id", "...,...->...", "a...,b...->ab...", "...a,ab->...b", "i...->...", "a...a->...a", "ab,bc,cd->ad", "ab,cb->ca", "a,ab,b->", "iij->j", "abd,acd->abc", "ab,ab,ab->b", "a,->a", "...a->a")
    terms, more = eq.split("->")[0].split(","), r.pick([], [2], [3, 2])
    shape = lambda t: [n for c in t.replace("...", ".") for n in (more if c == "." else [sizes[c]])]
    return Case(op, [r.array(shape(t), r.pick(*F, np.int64) if len(terms) == 1 else np.float32) for t in terms], equation=r.pick(eq, eq.replace(",", " , "), eq.replace("a", "A").replace("b", "B")) , opset=12)
@generator("Conv", "ConvTranspose", "ConvInteger", "AveragePool", "MaxPool", "LpPool")
def conv(r, op):
    d, group = r.int(1, 2), r.pick(1, 1, 2); c, n = 4, 4; kernel = [r.int(1, 3) for _ in range(d)]
    a = dict(strides=r.maybe([r.int(1, 2) for _ in range(d)]), dilations=r.maybe([r.int(1, 2) for _ in range(d)]), kernel_shape=r.maybe(kernel, 0.8) if "Pool" not in op else kernel)
    way = r.int(0, 4)
    if way == 0: a["pads"] = [r.int(0, k - 1) for k in kernel + kernel]
    if way == 1: a["auto_pad"] = r.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    x = r.array([2, c, *[r.int(5, 8) for _ in range(d)]])
    if op == "LpPool": return Case(op, [x], p=r.maybe(r.int(1, 3)), ceil_mode=r.maybe(r.int(0, 1)), opset=18, **a)
    if op == "AveragePool": return Case(op, [x], count_include_pad=r.maybe(r.int(0, 1)), ceil_mode=r.maybe(r.int(0, 1)), opset=19, **a)
    if op == "MaxPool": return Case(op, [x], r.int(1, 2), storage_order=r.maybe(r.int(0, 1)), ceil_mode=r.maybe(r.int(0, 1)), opset=12, **a)
    if op == "ConvInteger":
        ka, kb = r.pick((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)); return Case(op, [r.array(x.shape, ka), r.array([n, c // group, *kernel], kb), r.maybe(np.array(3, ka)), r.maybe(np.array(0, kb))], stored=[1, 3], group=group, **a)
    if op == "Conv": return Case(op, [x, r.array([n, c // group, *kernel]), r.maybe(r.array([n]))], stored=r.pick([], [1, 2]), group=r.maybe(group) if group == 1 else group, **a)
    return Case(op, [x, r.array([c, n // group, *kernel]), r.maybe(r.array([n]))], stored=r.pick([], [1, 2]), group=group, output_padding=r.maybe([1 if (a["strides"] or [1] * d)[i] > 1 else 0 for i in range(d)], 0.2), **a)


# ---------------------------------------------------------------- shapes
@generator("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Tile", "Shape", "Size", "Concat", "Split", "Slice", "Pad", "ConstantOfShape")
def layout(r, op):
    kind = r.pick(*F, *I, bool); x = r.array(r.shape(rank=r.int(1, 4)), kind); n = x.ndim; i64 = lambda v: np.array(v, np.int64)
    if op == "Reshape":
        opset = r.pick(5, 13, 14, 19)
        return Case(op, [x, i64(r.pick([-1], [x.shape[0], -1], [0, -1], list(x.shape), [1, *x.shape], [*[0] * n]))], stored=r.pick([1], [1], []), opset=opset, allowzero=r.maybe(r.pick(0, 1)) if opset >= 14 else None)
    if op == "Flatten": return Case(op, [x], axis=r.maybe(r.int(-n, n)))
    if op == "Transpose": return Case(op, [x], perm=r.maybe(r.rng.permutation(n).tolist()))
    if op == "Squeeze":
        x = x.reshape([s for d in x.shape for s in r.pick([d], [1, d])]); ones = [i for i, d in enumerate(x.shape) if d == 1]; axes = [r.pick(i, i - x.ndim) for i in ones if r.pick(True, False)]
        opset = r.pick(11, 13); axes = r.pick(axes or None, None)
        return Case(op, [x], opset=opset, axes=axes) if opset < 13 else Case(op, [x, None if axes is None else i64(axes)], stored=[1], opset=opset)
    if op == "Unsqueeze":
        k = r.int(1, 2); axes = r.rng.permutation(n + k)[:k].tolist(); opset = r.pick(11, 13); axes = [r.pick(a, a - n - k) for a in axes]
        return Case(op, [x], opset=opset, axes=axes) if opset < 13 else Case(op, [x, i64(axes)], stored=[1], opset=opset)
    if op == "Expand": return Case(op, [r.array(r.broadcast(list(x.shape)), kind), i64(r.pick(x.shape, r.broadcast(list(x.shape)), (2, *x.shape)))], stored=[1])
    if op == "Tile": return Case(op, [x, i64([r.int(0, 3) for _ in range(n)])], stored=[1])
    if op == "Shape": return Case(op, [x], start=r.maybe(r.int(-5, 5)), end=r.maybe(r.int(-5, 5)), opset=15)
    if op == "Size": return Case(op, [x])
    if op == "Concat":
        axis = r.int(-n, n - 1); parts = [x]
        for _ in range(r.int(0, 2)): s = list(x.shape); s[axis] = r.int(0, 3); parts.append(r.array(s, kind))
        return Case(op, parts, axis=axis, stored=r.pick([], [1]))
    if op == "Split":
        axis = r.int(-n, n - 1); opset = r.pick(11, 13, 18); sizes = [r.int(0 if opset > 11 else 1, 2) for _ in range(r.int(1, 3))]; s = list(x.shape); s[axis] = sum(sizes)
        if r.pick(True, False) and all(sizes):
            count = r.int(1, 3); s[axis] = count * 2 if opset < 18 else count * 2 + r.pick(0, 0, -1 if count > 1 else 0)
            return Case(op, [r.array(s, kind)], count, axis=axis, opset=opset, num_outputs=count if opset >= 18 else None)
        outs = [f"y{i}" for i in range(len(sizes))]
        if len(outs) > 1 and r.rng.random() < 0.2: outs[0] = ""
        return Case(op, [r.array(s, kind)], outs, axis=axis, opset=opset, split=sizes) if opset < 13 else Case(op, [r.array(s, kind), i64(sizes)], outs, stored=[1], axis=axis, opset=opset)
    if op == "Slice":
        axes = r.rng.permutation(n)[:r.int(1, n)].tolist(); starts, ends, steps = [], [], []
        for a in axes: starts.append(r.pick(0, r.int(-6, 6), -2**31, 2**31)); ends.append(r.pick(2**31 - 1, r.int(-6, 6), 2**63 - 1, -2**63)); steps.append(r.pick(1, 1, 2, -1, -2))
        opset = r.pick(9, 10, 13)
        if opset < 10: return Case(op, [x], opset=opset, axes=r.pick(axes), starts=[s if abs(s) < 99 else 0 for s in starts], ends=[e if abs(e) < 99 else 99 for e in ends])
        axes = [r.pick(a, a - n) for a in axes]; full = sorted(a % n for a in axes) == list(range(len(axes))) == [a % n for a in axes] and len(axes) == n
        return Case(op, [x, i64(starts), i64(ends), None if full and r.pick(True, False) else i64(axes), r.pick(None, i64(steps)) if len(axes) else None], stored=[1, 2, 3, 4], opset=opset)
    if op == "ConstantOfShape": return Case(op, [i64(r.shape(low=0, rank=r.int(0, 3)))], stored=r.pick([], [0]), value=r.maybe(nh.from_array(r.array([1], kind))))
    mode = r.pick("constant", "reflect", "edge", "wrap"); opset = r.pick(10, 11, 13, 18, 19, 21); mode = mode if mode != "wrap" or opset >= 19 else "edge"
    x = r.array(r.shape(low=3, high=5, rank=r.int(1, 4)), r.pick(*F, np.int64, np.int32) if opset > 12 else np.float32); n = x.ndim
    low = r.pick(0, -2); pads = [r.int(low, 2) for _ in range(2 * n)]
    if opset < 11: return Case(op, [x], opset=opset, mode=r.maybe(mode), pads=pads, value=r.maybe(1.5))
    axes, value = None, r.maybe(np.array(3, x.dtype))
    if opset >= 18 and r.pick(True, False): axes = r.rng.permutation(n)[:r.int(1, n)]; pads = pads[:2 * len(axes)]; axes = i64([r.pick(a, a - n) for a in axes])
    return Case(op, [x, i64(pads), value if mode == "constant" else None, axes], stored=[1, 2, 3], opset=opset, mode=r.pick(None, mode) if mode == "constant" else mode)
@generator("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Compress", "OneHot", "NonZero", "EyeLike", "Trilu", "Range")
def indexed(r, op):
    kind = r.pick(np.float32, np.int64, np.float16, np.int32); x = r.array(r.shape(low=2, rank=r.int(2, 4)), kind); n = x.ndim; axis = r.int(-n, n - 1); size = x.shape[axis]; ik = r.pick(np.int64, np.int32)
    index = lambda shape: r.rng.integers(-size, size, shape).astype(ik)
    if op == "Gather": return Case(op, [x, index(r.pick([], [3], [2, 2]))], axis=axis, stored=r.pick([], [1], [0]))
    if op == "GatherElements": s = list(x.shape); s[axis] = r.int(1, 4); return Case(op, [x, index(s)], axis=axis)
    if op == "ScatterElements":
        red = r.pick(None, "none", "add", "mul", "max", "min"); s = list(x.shape); s[axis] = r.int(1, size)
        order = np.argsort(r.rng.random(x.shape), axis=axis); order = np.take(order, range(s[axis]), axis=axis).astype(ik)
        i = order if red in (None, "none") else index(s)
        return Case(op, [x, i, r.array(s, kind)], axis=axis, reduction=red, opset=18)
    if op == "GatherND":
        b = r.pick(0, 0, 1); k = r.int(1, n - b); lead = list(x.shape[:b]) + r.pick([], [2], [2, 3]) ; i = np.stack([r.rng.integers(-x.shape[b + j], x.shape[b + j], lead) for j in range(k)], -1) if True else None
        return Case(op, [x, i.astype(np.int64)], batch_dims=r.maybe(b) if b == 0 else b, opset=13)
    if op == "ScatterND":
        k = r.int(1, n); red = r.pick(None, "none", "add", "mul", "max", "min"); cells = r.rng.permutation(int(np.prod(x.shape[:k])))[:2]; i = np.stack(np.unravel_index(cells, x.shape[:k]), -1)
        if red not in (None, "none") and r.pick(True, False): i[1] = i[0]
        if r.pick(True, False): i = np.where(r.rng.random(i.shape) < 0.3, i - np.array(x.shape[:k]), i)
        return Case(op, [x, i.astype(np.int64), r.array([2, *x.shape[k:]], kind)], reduction=red, opset=18)
    if op == "Compress": axis = r.maybe(axis); m = x.size if axis is None else size; return Case(op, [x, r.rng.random(r.int(1, m)) < 0.6], axis=axis, stored=r.pick([], [1]))
    if op == "OneHot": d = r.int(2, 5); return Case(op, [r.rng.integers(-d - 1, d + 2, r.shape(rank=r.int(1, 2))).astype(r.pick(np.int64, np.int32, np.float32)), np.array(d, r.pick(np.int64, np.int32)) if r.pick(True, False) else np.array([d], np.int64), r.array([2], kind)], stored=[1, 2], axis=r.maybe(r.int(-2, 1)))
    if op == "NonZero": return Case(op, [x])
    if op == "EyeLike": return Case(op, [x.reshape(x.shape[0], -1)], k=r.maybe(r.int(-2, 2)), dtype=r.maybe(r.pick(T.FLOAT, T.INT64, T.DOUBLE)))
    if op == "Trilu": return Case(op, [x, r.maybe(np.array(r.int(-3, 3), np.int64))], stored=r.pick([1], []), upper=r.maybe(r.int(0, 1)))
    kind = r.pick(np.float32, np.float64, np.int64, np.int32); a, b, d = r.pick((0, 5, 1), (2, 9, 3), (9, 1, -2), (1, 1, 1), (5, 1, 1), (0.5, 4, 0.7)); return Case(op, [np.array(v, kind) for v in ((a, b, d) if kind in (np.float32, np.float64) else (int(a), b, int(d) or 1))], stored=r.pick([0, 1, 2], []))
@generator("DepthToSpace", "SpaceToDepth")
def blocks(r, op):
    b = 2; shape = [1, 2 * b * b, 2, 3] if op[0] == "D" else [1, 3, 2 * b, 3 * b]
    return Case(op, [r.array(shape)], blocksize=b, opset=13, **(dict(mode=r.pick(None, "DCR", "CRD")) if op[0] == "D" else {}))
@generator("Resize")
def resize(r, op):
    rank = r.pick(3, 4); x = r.array([1, 2, *[r.int(3, 6) for _ in range(rank - 2)]], r.pick(np.float32, np.float32, np.uint8)); opset = r.pick(10, 11, 13, 18, 19); mode = r.pick("nearest", "linear", "cubic") if rank == 4 else r.pick("nearest", "linear")
    if mode == "cubic": x = x.astype(np.float32)
    scales = np.array([1, 1, *[r.pick(0.5, 0.6, 1.5, 2.0, 3.0) for _ in range(rank - 2)]], np.float32)
    if opset == 10: return Case(op, [x.astype(np.float32), scales], stored=[1], opset=10, mode=r.pick("nearest", "linear"))
    a = dict(mode=r.maybe(mode) if mode == "nearest" else mode, coordinate_transformation_mode=r.maybe(r.pick("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", *(["half_pixel_symmetric"] if opset >= 19 else []))), nearest_mode=r.maybe(r.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")) if mode == "nearest" else None,
             cubic_coeff_a=r.maybe(-0.5) if mode == "cubic" else None, exclude_outside=r.maybe(r.int(0, 1)) if mode == "cubic" else None, antialias=r.maybe(r.int(0, 1)) if opset >= 18 and mode != "nearest" else None)
    roi = np.array([], np.float32)
    if r.pick(True, False): return Case(op, [x, roi if opset == 11 else None, scales], stored=[1, 2], opset=opset, **a)
    sizes = np.array([1, 2, *[r.int(2, 9) for _ in range(rank - 2)]], np.int64)
    if opset >= 18 and r.pick(True, False): a |= dict(axes=list(range(2, rank)), keep_aspect_ratio_policy=r.maybe(r.pick("stretch", "not_larger", "not_smaller"))); sizes = sizes[2:]
    return Case(op, [x, roi if opset == 11 else None, roi if opset == 11 else None, sizes], stored=[1, 2, 3], opset=opset, **a)
@generator("GridSample")
def grid(r, op):
    opset = r.pick(16, 20); mode = r.pick(None, *(("bilinear", "nearest", "bicubic") if opset < 20 else ("linear", "nearest", "cubic")))
    return Case(op, [r.array([1, 2, 4, 5]), r.array([1, 3, 3, 2], scale=0.7)], opset=opset, mode=mode, padding_mode=r.pick(None, "zeros", "border", "reflection"), align_corners=r.maybe(r.int(0, 1)))


# ---------------------------------------------------------------- recurrent, quantised, others
@generator("LSTM", "GRU", "RNN")
def recurrent(r, op):
    gates = dict(LSTM=4, GRU=3, RNN=1)[op]; way = r.pick(None, "forward", "reverse", "bidirectional"); d = 2 if way == "bidirectional" else 1; s, b, i, n = 4, 2, 3, 2; layout = r.maybe(0 if r.rng.random() < 0.8 else 1)
    X = r.array([b, s, i] if layout else [s, b, i]); state = lambda: r.array([b, d, n] if layout else [d, b, n])
    ins = [X, r.array([d, gates * n, i], scale=0.5), r.array([d, gates * n, n], scale=0.5), r.maybe(r.array([d, 2 * gates * n])), r.pick(None, None, np.array([4, 4], np.int32), np.array([4, 2], np.int32)), r.maybe(state())]
    a = dict(direction=way, hidden_size=n, layout=layout)
    if op == "LSTM": ins += [r.maybe(state()), r.maybe(r.array([d, 3 * n]), 0.3)]; a |= dict(input_forget=r.maybe(r.int(0, 1), 0.2))
    if op == "GRU": a |= dict(linear_before_reset=r.maybe(r.int(0, 1)))
    a |= dict(clip=r.maybe(0.3, 0.2)); k = dict(LSTM=3, GRU=2, RNN=1)[op]
    a |= dict(activations=r.maybe([r.pick("Relu", "Tanh", "Sigmoid") for _ in range(k * d)], 0.2))
    outs = r.pick(*[["y0", "y1", "y2"][:3 if op == "LSTM" else 2], ["", "y1"], ["y0"]])
    return Case(op, ins, outs, stored=r.pick([1, 2, 3, 4], [4]), opset=14, **a)
@generator("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
def quantized(r, op):
    x = r.array(r.shape(low=2, rank=r.int(1, 3)), scale=5); axis = r.int(-x.ndim, x.ndim - 1); kind = r.pick(np.uint8, np.int8, np.int16, np.uint16)
    if op == "DynamicQuantizeLinear": return Case(op, [x], 3)
    shape = r.pick([], [x.shape[axis]]); scale = (np.abs(r.array(shape)) + 0.05).astype(np.float32); zero = r.maybe(np.asarray(r.rng.integers(0, 20, shape)).astype(kind)); stored = r.pick([1, 2], [])
    opset = r.pick(13, 19, 21) if kind in (np.uint8, np.int8) else 21
    if opset >= 19 and r.pick(True, False): scale = scale.astype(np.float16); x = x.astype(np.float16)
    if op[0] == "Q": return Case(op, [x, scale, zero], stored=stored, opset=opset, axis=axis if shape else r.maybe(0), saturate=r.maybe(1) if opset >= 19 else None)
    kind = r.pick(kind, np.int32) if zero is None else kind
    return Case(op, [r.rng.integers(0, 100, x.shape).astype(kind), scale, zero], stored=stored, opset=opset, axis=axis if shape else r.maybe(0))
@generator("Dropout")
def dropout(r, op): return Case(op, [r.array(r.shape()), r.maybe(np.array(0.4, np.float32)), r.maybe(np.array(r.pick(False, False, True)))], r.pick(["y0"], ["y0", "y1"], ["", "y1"]), stored=[1, 2], opset=13)
@generator("DFT", "HannWindow", "HammingWindow", "BlackmanWindow")
def signal(r, op):
    if op != "DFT": return Case(op, [np.array(r.int(3, 9), np.int64)], stored=[0], periodic=r.maybe(r.int(0, 1)), output_datatype=r.maybe(r.pick(T.FLOAT, T.DOUBLE)), opset=17)
    x = r.array([1, 5, 4, r.pick(1, 2)]); inverse = r.pick(None, 0, 1); one = None if inverse or x.shape[-1] == 2 else r.maybe(r.int(0, 1)); opset = r.pick(17, 20); axis = r.pick(1, 2, -2)
    if opset == 17: return Case(op, [x, r.maybe(np.array(r.int(3, 6), np.int64))], stored=[1], inverse=inverse, onesided=one, axis=axis % 4, opset=17)
    return Case(op, [x, r.maybe(np.array(r.int(3, 6), np.int64)), r.maybe(np.array(axis, np.int64))], stored=[1, 2], inverse=inverse, onesided=one, opset=20)


# ---------------------------------------------------------------- transformers
@generator("Attention")
def attention(r, op):
    opset = r.pick(23, 23, 24, 25); b, n, s, d, p = r.int(1, 2), r.pick(2, 4), r.int(1, 5), 4, r.maybe(r.int(1, 3)); kv = n // r.pick(1, 2); e = r.pick(4, 6); three = r.pick(True, False); kind = r.pick(np.float32, np.float32, np.float16)
    l = s if r.pick(True, False) else r.int(1, 6); total = l + (p or 0)
    heads = lambda k, t, w: r.array([b, t, k * w] if three else [b, k, t, w], kind, scale=1)
    keys = total
    if opset == 24 and p is None and r.pick(True, False): keys = r.int(max(1, total - 2), total)
    mask = r.pick(None, [keys], [s, keys], [b, 1, s, keys], [b, n, s, keys], [1, s, keys], [1, 1, 1, keys], [s, 1]); mk = r.pick(bool, kind)
    if mask == [keys] or mask == [s, 1]: mask = [s, keys]
    M = None if mask is None else (r.rng.random(mask) < 0.8 if mk == bool else r.array(mask, kind))
    outs = ["y0", *(["y1", "y2"] if p is not None or r.pick(True, False) else ["", ""]), r.pick("", "y3")]
    while outs and not outs[-1]: outs.pop()
    nonpad = r.rng.integers(1, total + 1, b).astype(np.int64) if opset >= 24 and p is None and r.pick(True, False) else None
    a = dict(is_causal=r.maybe(r.int(0, 1)), scale=r.maybe(0.3), softcap=r.maybe(r.pick(0.0, 1.5)), qk_matmul_output_mode=r.int(0, 3) if "y3" in outs else r.maybe(0), q_num_heads=n if three else None, kv_num_heads=kv if three else None, softmax_precision=r.maybe(1))
    if opset >= 25: a |= dict(left_window_size=r.maybe(r.int(-1, 3)), right_window_size=r.maybe(r.int(-1, 2)))
    # onnx's own evaluator gives every query of a mask of one row the place of the first.
    if a["is_causal"] and mask == [1, 1, 1, keys] and kind == np.float16: M = np.repeat(M, s, 2)
    past = [None, None] if p is None else [r.array([b, kv, p, d], kind), r.array([b, kv, p, e], kind)]
    return Case(op, [heads(n, s, d), heads(kv, l, d), heads(kv, l, e), M, *past, nonpad], outs, opset=opset, **a)
@generator("RotaryEmbedding")
def rotary(r, op):
    b, n, s, d = r.int(1, 2), 2, r.int(1, 4), 8; three = r.pick(True, False); part = r.pick(0, 0, 4); half = (part or d) // 2; x = r.array([b, s, n * d] if three else [b, n, s, d]); table = [9, half]
    inter, ids = r.maybe(r.int(0, 1)), r.rng.integers(0, 9, [b, s]).astype(np.int64)
    if r.pick(True, False):
        cos = r.pick([b, s, half]) if r.pick(True, False) else None
        a = dict(num_heads=n if three or part else r.maybe(n), rotary_embedding_dim=r.maybe(0) if not part else part, interleaved=inter)
        if cos: return Case(op, [x, r.array(cos), r.array(cos)], opset=23, **a)
        return Case(op, [x, r.array(table), r.array(table), ids], opset=23, **a)
    ids = r.pick(ids, np.array([r.int(0, 9 - s)], np.int64))
    return Case(op, [x, ids, r.array(table), r.array(table)], domain=MS, num_heads=n if three or part else r.maybe(n), rotary_embedding_dim=part or None, interleaved=inter, scale=r.maybe(1.0, 0.2))
@generator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SimplifiedLayerNormalization", "BiasGelu", "FastGelu", "QuickGelu", "FusedMatMul")
def contrib(r, op):
    b, s, d = 2, 3, 4; x = r.array([b, s, d]); v = lambda: r.array([d]); e = r.maybe(r.pick(1e-2, 1e-6))
    if op == "SkipLayerNormalization": return Case(op, [x, r.array(r.pick([b, s, d], [1, s, d], [s, d])), v(), r.maybe(v()), r.maybe(v())], r.pick(["y0"], ["y0", "", "", "y3"]), domain=MS, epsilon=e)
    if op == "SkipSimplifiedLayerNormalization": return Case(op, [x, r.array([b, s, d]), v(), r.maybe(v())], r.pick(["y0"], ["y0", "", "", "y3"]), domain=MS, epsilon=e)
    if op == "SimplifiedLayerNormalization": return Case(op, [x, v()], r.pick(1, 2), axis=r.pick(None, -1, 2), epsilon=e, stash_type=r.maybe(1))
    if op == "BiasGelu": return Case(op, [x, v()], domain=MS)
    if op == "FastGelu": return Case(op, [x, r.maybe(v())], domain=MS)
    if op == "QuickGelu": return Case(op, [x], domain=MS, alpha=r.maybe(1.3))
    return Case(op, [x, r.array([d, 5])], domain=MS, alpha=r.maybe(0.3), transA=r.maybe(0))
@generator("MatMulNBits", "GatherBlockQuantized")
def few_bits(r, op):
    K, N, block = r.pick(32, 64, 96, 40), 5, r.pick(16, 32, 64); nb = -(-K // block); kind = r.pick(np.float32, np.float32, np.float16)
    if op == "GatherBlockQuantized":
        K = 64; nb = K // block; ids = r.rng.integers(0, N, r.pick([3], [2, 2])).astype(r.pick(np.int64, np.int32))
        return Case(op, [r.rng.integers(0, 256, [N, K // 2]).astype(np.uint8), ids, r.array([N, nb], kind, scale=0.1), r.maybe(r.rng.integers(0, 256, [N, -(-nb // 2)]).astype(np.uint8))], stored=[0, 2, 3], domain=MS, block_size=block, bits=4, gather_axis=0, quantize_axis=1)
    zero = r.pick(None, r.rng.integers(0, 256, [N, -(-nb // 2)]).astype(np.uint8))
    return Case(op, [r.array([2, 3, K], kind, scale=1), r.rng.integers(0, 256, [N, nb, block // 2]).astype(np.uint8), r.array([N, nb], kind, scale=0.1), zero, None, r.maybe(r.array([N], kind))], stored=[1, 2, 3, 5], domain=MS, K=K, N=N, bits=4, block_size=block, accuracy_level=r.maybe(0))


# ---------------------------------------------------------------- the trial
def wanted(case):
    """What the references give for the case: ONNX Runtime, and ONNX's own evaluator."""
    model, found, problem = case.model().SerializeToString(), {}, ""
    options = ort.SessionOptions(); options.log_severity_level = 4
    ways = dict(ort=lambda: ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
    if not case.domain: ways["onnx"] = lambda: ReferenceEvaluator(onnx.load_from_string(model))
    for by, session in ways.items():
        try: found[by] = {o: np.asarray(v) for o, v in zip([o for o in case.outs if o], session().run(None, case.feeds()))}
        except Exception as e: problem += f"{by}: {e} "
    return found, problem


def apart(case):
    """`wanted` in a process of its own: what the reference is not made for may end it."""
    def work(end): warnings.simplefilter("ignore"); end.send(wanted(case))
    context = multiprocessing.get_context("fork"); here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(there,)); process.start(); there.close()
    try: return here.recv()
    except EOFError: return {}, "the reference ended"
    finally: process.join()


def differs(got, want):
    for name, w in want.items():
        w = np.asarray(w)
        if name not in got: return f"no {name}"
        g = got[name]
        if g.shape != w.shape: return f"{name} has shape {list(g.shape)}, not {list(w.shape)}"
        if g.dtype != w.dtype and w.dtype.name != "bfloat16": return f"{name} is {g.dtype}, not {w.dtype}"
        tolerance = {2: 1e-2, 4: 1e-4, 8: 1e-5}[w.dtype.itemsize] if w.dtype.kind == "f" else 0
        with np.errstate(all="ignore"):
            a, b = (g.astype(np.float64), w.astype(np.float64)) if w.dtype.kind == "f" else (g, w)
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True) if w.dtype.kind == "f" else not np.array_equal(a, b):
                bad = ~np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True) if w.dtype.kind == "f" else a != b
                return f"{name} gives {a[bad][:3]} for {b[bad][:3]}"
    return ""


def trial(binary, folder, case):
    """Right is what one of the references gives."""
    found, problem = apart(case)
    if not found: return "unknown", problem
    folder = Path(tempfile.mkdtemp(dir=folder)); model, given, taken = folder / "m.onnx", folder / "in.npz", folder / "out.npz"
    onnx.save(case.model(next(iter(found.values()))), model); np.savez(given, **case.feeds())
    run = subprocess.run([binary, "run", model, "-q", "--output", taken, "--input", given], capture_output=True, text=True)
    if "panicked" in run.stderr: return "panic", run.stderr.strip().replace("\n", " / ")[:300]
    if run.returncode: return "refused", " ".join(run.stderr.strip().split("\n")[1:2])[:160]
    with np.load(taken) as z: got = {k: z[k] for k in z.files}
    why = {by: differs(got, want) for by, want in found.items()}
    return ("wrong", "; ".join(f"{by}: {w}" for by, w in why.items())) if all(why.values()) else ("right", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bitonnx"); parser.add_argument("--only", default="."); parser.add_argument("--rounds", type=int, default=20); parser.add_argument("--seed", type=int, default=0); parser.add_argument("-v", action="store_true")
    o = parser.parse_args(); wrong = 0
    jobs = [(op, seed) for op in GENERATORS if re.fullmatch(o.only, op) or o.only == "." for seed in range(o.rounds)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(3) as pool:
        def one(job):
            op, seed = job
            case = GENERATORS[op](Random([o.seed, seed, sum(map(ord, op))]), op)
            try: return op, seed, case, *trial(o.bitonnx, folder, case)
            except Exception as e: return op, seed, case, "broken", repr(e)
        counts, reasons = {}, {}
        for op, seed, case, what, why in pool.map(one, jobs):
            counts.setdefault(op, {}).setdefault(what, 0); counts[op][what] += 1
            if what == "refused": reasons.setdefault(op, {}).setdefault(re.sub(r"#\d+|\d+", "N", why), []).append(str(case))
            if what in ("wrong", "panic", "broken") or o.v: print(f"{what}: {seed}: {case}: {why}"); wrong += what in ("wrong", "panic")
    for op, n in counts.items(): print(f"{op}: " + ", ".join(f"{v} {k}" for k, v in sorted(n.items())))
    for op, all in reasons.items():
        for why, cases in all.items(): print(f"refused {op} x{len(cases)}: {why} | {cases[0]}")
    return int(wrong > 0)


if __name__ == "__main__": sys.exit(main())
