#!/usr/bin/env bash
# Your own layered files as training data for the layered methods: examples/own_files.sh FOLDER MODEL.
# FOLDER holds PSD, TIFF or OpenRaster files, or is a MuLAn-style folder; MODEL is "embedded" or a folder.
set -euo pipefail

layercli data files --data "$1" --out runs/files "${@:3}"
layercli data layered-latents --data runs/files --out runs/files-latents -O model="$2"
echo "Train on these: layercli train dreamlayer --data runs/files-latents --out runs/dreamlayer -O model=$2"
