#!/usr/bin/env bash
# Render rooms, yards and roads as layered pictures, and encode them for training:
# examples/rooms.sh MODELS [PICTURES]. MODELS is a folder with the catalogues (*.sh3f) of Debian's package
# sweethome3d-furniture, which is fetched where there is none. Needs: pip install "layercli[rooms]"
set -euo pipefail
models=$1

if ! find "$models" -name "*.sh3f" 2>/dev/null | grep -q .; then
  mkdir -p "$models"
  (cd "$models" && apt-get download sweethome3d-furniture && dpkg-deb -x sweethome3d-furniture_*.deb .)
fi
layercli data rooms --out runs/rooms -O models="$models" -O samples="${2:-6000}" "${@:3}"
layercli data latents --data runs/rooms --out runs/rooms-latents \
  -O autoencoder="${AUTOENCODER:-runs/autoencoder/autoencoder}"
echo "Train on these too: layercli train base --data runs/latents,runs/rooms-latents -O data_weights=1,0.5"
