#!/usr/bin/env bash
# What there is, all about one model, whether architectures are as published, and whether the shipped files are whole.
# Usage: examples/models.sh [NAME]
set -euo pipefail

name="${1:-embedded}"
layercli models list
layercli models info "$name"
layercli models verify --meta "$name"
layercli models verify "$name"
