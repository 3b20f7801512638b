#!/usr/bin/env bash
# Take a photo apart: what is in the box becomes a layer, the background is completed behind it.
# examples/decompose.sh photo.jpg 0.2,0.2,0.8,0.9 cup; what follows goes to `layercli decompose`.
set -euo pipefail

photo=${1:?name a photo}
box=${2:?name a box: left,top,right,bottom, as fractions of the photo or in pixels}
name=${3:-object}
shift "$(($# < 3 ? $# : 3))"

layercli decompose "$photo" --box "$name=$box" --format psd "$@"
