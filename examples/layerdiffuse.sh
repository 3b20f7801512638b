#!/usr/bin/env bash
# LayerDiffuse on Stable Diffusion 1.5: foreground, background and whole picture drawn together; then another
# foreground before that picture, which is given and stays. Fetched once, after their licences were shown:
#   layercli models pull sd15
#   layercli models pull layerdiffuse-sd15-joint
#   layercli models pull layerdiffuse-sd15-bg2fg
# What you add goes to both `layercli generate`: examples/layerdiffuse.sh --seed 8 -O weights=./my-files
set -euo pipefail

layercli generate --model sd15 --method layerdiffuse --fg "a fox" --bg "a snowy forest" \
  --size 512x512 --guidance 7 -o fox.psd "$@"
layercli convert fox.psd fox.layers
layercli generate --model sd15 --method layerdiffuse --given fox.layers/composite.png --fg "an owl" \
  --bg "a fox in a snowy forest" --size 512x512 --guidance 7 -o owl.psd "$@"
