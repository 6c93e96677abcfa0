#!/usr/bin/env bash
# The whole example, on a fresh machine: an environment for Python, bitonnx, and then run.py.
#
#   examples/qat/run.sh [FOLDER [ARGUMENTS OF run.py]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../target/qat}
mkdir -p "$folder"
[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
cargo build --release --manifest-path "$here/../../Cargo.toml"
exec "$folder/venv/bin/python" "$here/run.py" "$here/../../target/release/bitonnx" "$folder" "${@:2}"
