#!/usr/bin/env bash
# Move a layer with its shadow, fade the shadows, look at the result; then do the same to another file.
# examples/edit.sh dog.psd "a ball" other.psd
set -euo pipefail

layercli edit "$1" move "$2" --by 12,0 then scale "$2" 120% --about foot --backup
layercli edit "$1" export "$2" "${1%.*}-layer.png"
layercli edit "$3" --replay "$1" --json | python3 -c '
import json, sys
told = json.load(sys.stdin)
print(told["changed"], "pixels changed,", told["changed_outside"], "outside the edited layers")'
