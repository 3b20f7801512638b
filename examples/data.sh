#!/usr/bin/env bash
# Prepare a corpus of pictures for training: examples/data.sh CORPUS [SIZE]
# Every step keeps what is already there, so that an interrupted run goes on where it stopped.
set -euo pipefail
corpus=$1
size=${2:-256}

layercli data corpus --corpus "$corpus" --out runs/data -O size="$size"
layercli data composed --data runs/data --out runs/composed "${@:3}"
