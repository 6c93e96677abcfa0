"""The King James text in blocks of tokens, from the Debian package bible-kjv-text (in the public domain).

The package's `bible.data` is a table of 64 KiB windows, each an LZW stream of compress(1) without its magic.
"""

import hashlib
import pathlib
import re
import struct
import subprocess

import numpy
from tokenizers import Tokenizer

PACKAGE = "bible-kjv-text_4.38_all.deb"
SHA256 = "d61b6aad4c51ba9e2800b825325fa6a09e99a0d02a9bb6dc4724fcc4995a1b7a"
BEGIN = 1  # the token before each chapter
BLOCK = 128  # tokens in a block


def fetch(folder):
    """The text of the package, which apt brings where it is not in the folder yet."""
    package = pathlib.Path(folder) / PACKAGE
    if not package.exists():
        subprocess.run(["apt-get", "download", "bible-kjv-text=4.38"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{package} is not the package that this example was written for: its SHA-256 is {found}")
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    data = subprocess.run(["tar", "-xO", "./usr/lib/bible.data"], input=files, check=True, capture_output=True).stdout
    return decompress(data).decode()


def decompress(data):
    (windows,) = struct.unpack_from(">I", data, 0x58)
    offsets = struct.unpack_from(f">{windows + 1}I", data, 0x5C)
    streams = (b"\x1f\x9d\x90" + data[begin:end] for begin, end in zip(offsets, offsets[1:]))
    return b"".join(subprocess.run(["gzip", "-dc"], input=s, check=True, capture_output=True).stdout for s in streams)


def chapters(text):
    """Each chapter's verses in a line."""
    verses = re.findall(r"^([1-3]?[A-Za-z]+\d+):\d+ (.*)$", text, re.MULTILINE)
    found = {}
    for chapter, verse in verses:
        found.setdefault(chapter, []).append(verse)
    return [" ".join(verses) for verses in found.values()]


def stream(lines, tokenizer):
    """The tokens of all lines, one after another."""
    encoded = Tokenizer.from_file(str(tokenizer)).encode_batch(lines)
    return numpy.concatenate([[BEGIN, *line.ids] for line in encoded])


def training_tokens(folder, tokenizer, held_out):
    """The tokens of every chapter but the held-out ones, which are those that perplexity is measured on."""
    held_out = set(pathlib.Path(held_out).read_text().splitlines())
    lines = chapters(fetch(folder))
    if not held_out <= set(lines):
        raise SystemExit("the held-out chapters are not all in the text: nothing tells what to leave out of training")
    return stream([line for line in lines if line not in held_out], tokenizer)
