#!/usr/bin/env bash
# Train the embedded model from the data sets of examples/data.sh. Stop it at any time and start it again: every
# stage goes on from its last checkpoint. examples/train.sh [AUTOENCODER_STEPS] [BASE_STEPS]
set -euo pipefail

layercli train autoencoder --data runs/data --out runs/autoencoder --steps "${1:-4000}" "${@:3}"
layercli data latents --data runs/data,runs/composed --out runs/latents -O autoencoder=runs/autoencoder/autoencoder
layercli train base --data runs/latents --out runs/base --steps "${2:-60000}"
layercli train export --out runs/model -O autoencoder=runs/autoencoder -O base=runs/base
