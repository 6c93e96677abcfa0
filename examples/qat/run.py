"""Float King James Llama → QAT file → PyTorch → ternary file, for each recipe; then a table and a picture.

    python run.py BITONNX FOLDER [--steps N] [--only NAME]
"""

import argparse
import json
import pathlib
import subprocess
import time

import matplotlib
import matplotlib.pyplot

import measure
import text
import train

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent / "models" / "tinyllama-kjv.onnx"
DATA = HERE / "data"

# What of the rewrite each recipe sets.
RECIPES = {
    "none": ["--subln", "none"],
    "none-lrc": ["--subln", "none", "--lrc-rank", "8"],
    "output": ["--subln", "output"],
    "output-lrc": ["--subln", "output", "--lrc-rank", "8"],
}
NAMES = {
    "float": "float, as exported",
    "untrained": "ternary, not trained",
    "none": "QAT",
    "none-lrc": "QAT, LRC of rank 8",
    "output": "QAT, SubLN `output`",
    "output-lrc": "QAT, SubLN `output`, LRC of rank 8",
}


def call(*command):
    print("$", *command, flush=True)
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def recipe(name, bitonnx, folder, tokens, steps):
    """Rewrites, trains, imports and rewrites again. Gives the ternary file's path and the history of training."""
    qat, weights = folder / f"{name}.qat.onnx", folder / f"{name}.safetensors"
    trained, ternary = folder / f"{name}.trained.qat.onnx", folder / f"{name}.bit.onnx"
    call(bitonnx, "rewrite", SOURCE, "--qat", *RECIPES[name], "-o", qat, "--overwrite", "-q")
    begin = time.monotonic()
    history = train.train(qat, qat.with_suffix(".json"), SOURCE, tokens, weights, steps)
    minutes = (time.monotonic() - begin) / 60
    call(bitonnx, "import-weights", qat, weights, "-o", trained, "--overwrite", "-q")
    call(bitonnx, "rewrite", trained, "-o", ternary, "--overwrite", "-q")
    return ternary, history, minutes


def row(name, path, bitonnx, blocks, minutes=None):
    in_ort, in_tract = measure.in_onnx_runtime(path, blocks), measure.in_tract(bitonnx, path, blocks)
    return {"recipe": name, "bytes": path.stat().st_size, "onnxruntime": in_ort, "tract": in_tract, "minutes": minutes}


def table(rows):
    lines = ["| | file | ONNX Runtime | tract | trained for |", "|---|---|---|---|---|"]
    for entry in rows:
        trained = f"{entry['minutes']:.0f} min" if entry["minutes"] else ""
        size = f"{entry['bytes'] / 2**20:.1f} MiB"
        lines.append(
            f"| {NAMES[entry['recipe']]} | {size} | {entry['onnxruntime']:.2f} | {entry['tract']:.2f} | {trained} |"
        )
    return "\n".join(lines)


def picture(histories, path):
    """Loss, smoothed over 50 steps, and λ over the steps."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "bitonnx"
    figure, loss = matplotlib.pyplot.subplots(figsize=(8, 4))
    blend = loss.twinx()
    for name, history in histories.items():
        losses = [value for value, _ in history]
        smooth = [sum(losses[max(0, i - 49) : i + 1]) / len(losses[max(0, i - 49) : i + 1]) for i in range(len(losses))]
        loss.plot(smooth, label=NAMES[name].replace("`", ""))
        blend.plot([lam for _, lam in history], color="grey", linestyle=":")
    loss.set(xlabel="step", ylabel="loss on the text", ylim=(2.2, 3.4))
    blend.set(ylabel="λ (dotted)", ylim=(0, 1.05))
    loss.set_zorder(blend.get_zorder() + 1)  # the legend over the dotted line
    loss.patch.set_visible(False)
    loss.legend(framealpha=1)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bitonnx")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", choices=RECIPES)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    tokens = text.training_tokens(args.folder, DATA / "tokenizer.json", DATA / "valid.txt")
    blocks = measure.held_out(DATA / "ppl.json")
    untrained = args.folder / "untrained.bit.onnx"
    call(args.bitonnx, "rewrite", SOURCE, "--subln", "none", "-o", untrained, "--overwrite", "-q")
    rows = [row("float", SOURCE, args.bitonnx, blocks), row("untrained", untrained, args.bitonnx, blocks)]
    histories = {}
    for name in [args.only] if args.only else RECIPES:
        path, histories[name], minutes = recipe(name, args.bitonnx, args.folder, tokens, args.steps)
        rows.append(row(name, path, args.bitonnx, blocks, minutes))
        print(table(rows), flush=True)
        (args.folder / "results.json").write_text(json.dumps({"rows": rows, "histories": histories}))
        picture(histories, args.folder / "training.svg")


if __name__ == "__main__":
    main()
