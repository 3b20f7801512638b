#!/usr/bin/env bash
# Let Qwen-Image-Layered draw the layers of a photo, and solve them so that they are the photo. Fetched once (58 GB):
#   layercli models pull qwen-image-layered
# examples/qwen.sh photo.jpg "a cat on a sofa" --offload model; what follows the words goes to `layercli decompose`.
set -euo pipefail

photo=${1:?name a photo}
words=${2:?say what the photo shows}
shift 2

layercli decompose "$photo" --method qwen --layers 3 -O prompt="$words" -o drawn.psd "$@"
layercli show drawn.psd
