#!/usr/bin/env bash
# Turn one layered file into every other format, beside it: examples/convert.sh cat.psd
set -euo pipefail

layercli convert "$1" "${1%.*}" --format ora,tiff,tiff-photoshop,png
