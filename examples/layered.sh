#!/usr/bin/env bash
# Train the adapters of DreamLayer and LayerDiff on a base model that stays as it is, and draw with them:
# examples/layered.sh MODEL [PICTURES] [STEPS]. MODEL is "embedded" or a folder; runs/data comes from
# examples/data.sh. Every step goes on where it stopped.
set -euo pipefail
model=$1

layercli data layered --data runs/data --out runs/layered -O samples="${2:-20000}"
layercli data layered-latents --data runs/layered --out runs/layered-latents -O model="$model"
for method in dreamlayer layerdiff; do
  layercli train "$method" --data runs/layered-latents --out "runs/$method" --steps "${3:-20000}" \
    --base "$model" "${@:4}"
  layercli generate --fg "a cat" --fg "a ball" --bg "a meadow" --model "$model" --method "$method" \
    -O adapter="runs/$method/adapter" --force -o "$method.psd"
done
