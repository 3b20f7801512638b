#!/usr/bin/env bash
# Score a folder of layered pictures, and compare it with another run of the same prompts where one is given.
# examples/eval.sh RUN_DIR [OTHER_RUN]
# The reports of the last run of this script give way to the new ones; without --force they would be numbered.
set -euo pipefail
metrics=recomposition,leakage,layers,health,seam

layercli eval "$1" --metrics "$metrics" -o report.html -o report.json -o report.csv -o report.tex --force
if [ $# -gt 1 ]; then
  layercli eval "$2" --metrics "$metrics" -o other.json --force --quiet > /dev/null
  layercli eval compare other.json report.json
fi
