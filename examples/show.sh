#!/usr/bin/env bash
# List the layers of a file, draw them side by side, and pick one number out of the JSON answer.
# examples/show.sh cat.psd
set -euo pipefail

layercli show "$1" --sheet "${1%.*}-sheet.png"
layercli show "$1" --no-sheet --json | python3 -c '
import json, sys
layers = json.load(sys.stdin)["layers"]
print(len(layers), "layers, of which", sum(layer["blend"] != "normal" for layer in layers), "are effects")'
