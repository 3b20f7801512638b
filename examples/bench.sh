#!/usr/bin/env bash
# Draw prompts with several seeds, score them beside a trivial baseline, and report, in a folder that resumes:
#   examples/bench.sh DIR --most 8 --seeds 3
# Any option of "layercli eval bench" goes. With SHOT=chromium the head of the page becomes DIR/report.png.
set -euo pipefail

layercli eval bench "$@" --against cutout
if [ -n "${SHOT:-}" ]; then
  "$SHOT" --headless --no-sandbox --hide-scrollbars --window-size=1100,"${HEIGHT:-1500}" \
    --screenshot="$1/report.png" "file://$(realpath "$1/report.html")" > /dev/null 2>&1
fi
