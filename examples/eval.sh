#!/usr/bin/env bash
# Score a folder of layered pictures, and compare it with another run of the same prompts where one is given.
# examples/eval.sh RUN_DIR [OTHER_RUN]
set -euo pipefail
metrics=recomposition,leakage,layers,health,seam

layercli eval "$1" --metrics "$metrics" -o report.html -o report.json -o report.csv -o report.tex
if [ $# -gt 1 ]; then
  layercli eval "$2" --metrics "$metrics" -o other.json --quiet > /dev/null
  layercli eval compare other.json report.json
fi
