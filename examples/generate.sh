#!/usr/bin/env bash
# Draw two foregrounds over a beach, place one of them, and write the picture as a PSD and as OpenRaster.
# What you add on the command line goes to `layercli generate`: examples/generate.sh -o beach --seed 8
set -euo pipefail

layercli generate --fg "a dog" --fg "a ball" --bg "a beach" --box "ball=0.6,0.6,0.8,0.8" \
  --seed 7 --format psd,ora -o beach "$@"
