#!/usr/bin/env bash
# Make layered training pictures of a folder of photos: examples/photos.sh DIR [OUT]
# Captions lie beside photos (cat.jpg, cat.txt) or are the words of their names. What is there already is kept;
# what follows goes to `layercli data photos`.
set -euo pipefail

photos=${1:?name a folder of photos}
out=${2:-runs/photos}
mkdir -p "$out"
layercli data photos --from-photos "$photos" --out "$out" "${@:3}"
