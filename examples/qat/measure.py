"""Perplexity of a written file, in ONNX Runtime and in bitonnx's own runtime."""

import json
import os
import subprocess
import tempfile

import numpy
import onnxruntime


def inputs(blocks):
    return {"input_ids": blocks, "attention_mask": numpy.ones_like(blocks)}


def in_onnx_runtime(model, blocks):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return perplexity(session.run(["logits"], inputs(blocks))[0], blocks)


def in_tract(bitonnx, model, blocks):
    with tempfile.TemporaryDirectory() as folder:
        given, made = os.path.join(folder, "in.npz"), os.path.join(folder, "out.npz")
        numpy.savez(given, **inputs(blocks))
        subprocess.run([bitonnx, "run", model, "--input", given, "--output", made, "-q"], check=True, stdout=subprocess.DEVNULL)
        return perplexity(numpy.load(made)["logits"], blocks)


def perplexity(logits, blocks):
    """exp of the mean, over blocks, of the mean negative log likelihood of each block's next tokens."""
    logits = logits[:, :-1].astype(numpy.float64)
    logits -= logits.max(-1, keepdims=True)
    chosen = numpy.take_along_axis(logits, blocks[:, 1:, None], -1)[..., 0]
    likelihood = numpy.log(numpy.exp(logits).sum(-1)) - chosen
    return float(numpy.exp(likelihood.mean(-1).mean()))


def held_out(path):
    with open(path) as file:
        return numpy.array(json.load(file)["blocks"], numpy.int64)
