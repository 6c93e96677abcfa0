"""Trains a QAT file of the King James Llama: next tokens, and what the float model makes of them.

    losses = train.train("model.qat.onnx", "model.qat.json", "float.onnx", tokens, "trained.safetensors", steps=2000)
"""

import time

import numpy
import onnx2torch
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

import qat
from schedule import Schedule
from text import BLOCK


def batches(tokens, size, seed):
    """Endless batches of blocks that begin anywhere, each with the tokens that follow."""
    draw = numpy.random.default_rng(seed)
    while True:
        begins = draw.integers(0, len(tokens) - BLOCK - 1, size)
        yield torch.from_numpy(numpy.stack([tokens[b : b + BLOCK + 1] for b in begins]).astype(numpy.int64))


def rate(step, steps, peak, warmup=100):
    """The learning rate: up over the first steps, then down to zero along a cosine."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (1 + numpy.cos(numpy.pi * done)) / 2


def groups(parameters):
    """Matrices decay, vectors (norms, biases) do not."""
    matrices = [p for p in parameters.values() if p.dim() > 1]
    vectors = [p for p in parameters.values() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]


def train(path, manifest, teacher, tokens, out, steps, batch=16, peak=2e-3, distil=0.5, warmup=0.25, seed=1):
    """Trains for `steps` batches and writes the parameters. Gives the loss and λ of each step.

    λ rises along a cosine over the first `warmup` of the steps. The loss is `1 - distil` parts cross entropy
    with the text and `distil` parts divergence from the float model.
    """
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("medium")  # products in bf16, where the processor has them
    model, parameters, _ = qat.load(path, manifest)
    teacher = onnx2torch.convert(teacher).requires_grad_(False)
    optimizer = torch.optim.AdamW(groups(parameters), lr=peak, betas=(0.9, 0.95))
    schedule = Schedule("cosine", warmup_steps=max(1, int(warmup * steps)))
    mask = torch.ones(batch, BLOCK, dtype=torch.int64)
    history, begin = [], time.monotonic()
    for step, blocks in zip(range(steps), batches(tokens, batch, seed)):
        read, following = blocks[:, :-1], blocks[:, 1:].flatten()
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, peak)
        lam = schedule.value()
        logits = model(read, mask, torch.tensor(lam)).flatten(0, 1)
        text_loss = cross_entropy(logits, following)
        loss = text_loss
        if distil:
            with torch.no_grad():
                target = log_softmax(teacher(read, mask).flatten(0, 1), -1)
            apart = kl_div(log_softmax(logits, -1), target, reduction="batchmean", log_target=True)
            loss = (1 - distil) * text_loss + distil * apart
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        schedule.advance()
        history.append((text_loss.item(), lam))
        if step % 50 == 0:
            minutes = (time.monotonic() - begin) / 60
            print(f"  step {step:5} of {steps}  λ {lam:.3f}  loss {text_loss.item():.3f}  {minutes:.1f} min", flush=True)
    qat.save(parameters, out)
    return history
