"""Imports a QAT file of bitonnx into PyTorch, and brings what was trained back.

    model, parameters, manifest = qat.load("model.qat.onnx", "model.qat.json")
    loss = f(model(tokens, mask, lam)); loss.backward()
    qat.save(parameters, "trained.safetensors")
"""

import json
import math

import onnx2torch
import torch
from onnx2torch.node_converters.comparisons import OnnxCompare
from onnx2torch.node_converters.flatten import OnnxFlatten
from onnx2torch.node_converters.registry import add_converter
from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node
from safetensors.torch import save_file


# onnx2torch 1.5.15 knows these comparisons of opset 12, not those of 16, which differ in the types they take.
@add_converter(operation_type="LessOrEqual", version=16)
@add_converter(operation_type="GreaterOrEqual", version=16)
def _(node, graph):
    return OperationConverterResult(OnnxCompare(node.operation_type), onnx_mapping_from_node(node))


# Nor does it flatten all axes to the left: the result has two axes all the same.
OnnxFlatten.forward = lambda self, x: x.reshape(math.prod(x.shape[: self.axis]), math.prod(x.shape[self.axis :]))


def parameters_of(model, names):
    """Makes parameters of the initializers of these names, and returns them by name."""
    found = {}
    for node in [n for n in model.graph.nodes if n.op == "call_module"]:
        mapping = getattr(model.get_submodule(node.target), "onnx_mapping", None)
        for name, arg in zip(mapping.inputs if mapping else (), node.args):
            if name in names and name not in found:
                buffer = arg.target.removeprefix("initializers.")
                found[name] = torch.nn.Parameter(model.initializers._buffers.pop(buffer).clone())
                model.initializers.register_parameter(buffer, found[name])
    return found


def load(path, manifest_path):
    """The model, its trainable parameters by initializer name, and the manifest."""
    manifest = json.load(open(manifest_path))
    model = onnx2torch.convert(path, attach_onnx_mapping=True).requires_grad_(False)
    wanted = {entry["name"] for entry in manifest["initializers"] if entry["trainable"]}
    parameters = parameters_of(model, wanted)
    if wanted - parameters.keys():
        raise ValueError(f"{path} does not read {sorted(wanted - parameters.keys())[:3]} through an Identity")
    return model, parameters, manifest


def save(parameters, path):
    """Writes trained tensors as `bitonnx import-weights` reads them."""
    save_file({name: value.detach().contiguous() for name, value in parameters.items()}, path)
