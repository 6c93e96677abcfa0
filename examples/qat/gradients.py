"""Holds a QAT file's gradients against the straight-through estimator in plain PyTorch.

    python gradients.py SOURCE.onnx QAT.onnx QAT.json REPORT.json

The reference is the source model with each projection replaced by a module that has the formulas of
BitNet's straight-through estimator; it shares nothing with the QAT file but the numbers in it.
"""

import json
import sys

import onnx
import onnx2torch
import torch
from onnx import numpy_helper

import qat


class Projection(torch.nn.Module):
    """x·W + b with weights and activations blended by lambda, after SubLN, beside a low-rank branch.

    A fused weight has one scale for each of its equal parts."""

    def __init__(self, weight, out_in, parts, bias, gain, u, v, lam):
        super().__init__()
        parameter = lambda t: None if t is None else torch.nn.Parameter(t.clone())
        self.weight, self.out_in, self.parts, self.lam = parameter(weight), out_in, parts, lam
        self.bias, self.gain, self.u, self.v = map(parameter, (bias, gain, u, v))

    def forward(self, x, *_):
        lam = self.lam[0]
        if self.gain is not None:
            x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * self.gain
        w = self.weight if self.out_in else self.weight.T
        s = torch.cat([p.abs().mean().clamp(min=1e-5).expand(len(p), 1) for p in w.chunk(self.parts)])
        t = (w * (1 / s)).round().clamp(-1, 1)
        w = w + (lam * (t * s - w)).detach()
        g = x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        q = (x * (127 / g)).round().clamp(-128, 127)
        y = torch.nn.functional.linear(x + (lam * (q * (g / 127) - x)).detach(), w)
        if self.u is not None:
            y = y + lam * (x @ self.v @ self.u.T)
        return y if self.bias is None else y + self.bias


def reference(source, stored, manifest, report, lam):
    """The source model with plain PyTorch projections, and its parameters by initializer name."""
    model = onnx2torch.convert(source, attach_onnx_mapping=True)
    nodes = {node.name or node.output[0]: node for node in onnx.load(source).graph.node}
    modules = {module.onnx_mapping.outputs[0]: name for name, module in model.named_modules() if hasattr(module, "onnx_mapping")}
    parameters = {}
    for entry in (e for e in report["projections"] if e["action"] == "bitlinear"):
        roles = {i["role"]: i["name"] for i in manifest["initializers"] if i["projection"] == entry["node"]}
        node = nodes[entry["node"]]
        gemm = node.op_type == "Gemm"
        if not gemm and "bias" in roles:  # an Add of its own, which the source keeps
            parameters |= qat.parameters_of(model, {roles.pop("bias")})
        out_in = gemm and any(a.name == "transB" and a.i == 1 for a in node.attribute)
        read = {role: stored[name] for role, name in roles.items()}
        parts = {"qkv": 3, "kv": 2, "gate_up": 2}.get(entry["role"], 1)
        own = Projection(read["weight"], out_in, parts, *map(read.get, ("bias", "subln_gain", "lrc_u", "lrc_v")), lam)
        parent, _, child = modules[node.output[0]].rpartition(".")
        setattr(model.get_submodule(parent), child, own)
        names = {"weight": own.weight, "bias": own.bias, "subln_gain": own.gain, "lrc_u": own.u, "lrc_v": own.v}
        parameters |= {roles[role]: value for role, value in names.items() if role in roles}
    return model, parameters


def inputs_of(path, seed):
    """Random inputs for a model: token ids, masks of ones, floats; batch 2, any other free dimension 7."""
    generator = torch.Generator().manual_seed(seed)
    for value in onnx.load(path, load_external_data=False).graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value or (2 if i == 0 else 7) for i, d in enumerate(tensor.shape.dim)]
        if tensor.elem_type == onnx.TensorProto.FLOAT:
            yield torch.randn(shape, generator=generator)
        elif "mask" in value.name:
            yield torch.ones(shape, dtype=torch.int64)
        elif "type" in value.name:
            yield torch.zeros(shape, dtype=torch.int64)
        else:
            yield torch.randint(0, 300, shape, generator=generator)


def gradients(outputs, parameters):
    """Of a random sum of the outputs."""
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    generator = torch.Generator().manual_seed(1)
    loss = sum((o * torch.randn(o.shape, generator=generator)).sum() for o in outputs if o.is_floating_point())
    for value in parameters.values():
        value.grad = None
    loss.backward()
    zero = torch.zeros(())
    return {name: zero if value.grad is None else value.grad.double() for name, value in parameters.items()}


def compare(got, want):
    """The least cosine and the largest error of a norm. What softmax makes zero is rounding noise."""
    largest = max(float(w.norm()) for w in want.values())
    rows = []
    for name, w in want.items():
        g = got[name]
        if w.norm() < 1e-5 * largest:
            rows.append((1.0 if g.norm() < 2e-5 * largest else 0.0, 0.0, name))
        else:
            cosine = torch.nn.functional.cosine_similarity(g.flatten(), w.flatten(), dim=0)
            rows.append((float(cosine), abs(float(g.norm() / w.norm()) - 1), name))
    return min(rows)[0], max(row[1] for row in rows), min(rows)[2]


def main(source, qat_path, manifest_path, report_path):
    lam = [0.0]
    model, parameters, manifest = qat.load(qat_path, manifest_path)
    stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(qat_path).graph.initializer}
    plain, expected = reference(source, stored, manifest, json.load(open(report_path)), lam)
    good = True
    for lam[0] in (0.0, 0.5, 1.0):
        # An activation that lies between two integers may round the other way: then other inputs decide.
        for seed in range(5):
            feeds = list(inputs_of(source, seed))
            got = gradients(model(*feeds, torch.tensor(lam[0])), parameters)
            cosine, norm, worst = compare(got, gradients(plain(*feeds), expected))
            held = cosine >= 0.9999 and norm <= 1e-3
            if held:
                break
        good &= held
        print(f"lambda {lam[0]}: {len(expected)} parameters, least cosine {cosine:.6f} ({worst}), norms within {norm:.1e}, inputs {seed}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
