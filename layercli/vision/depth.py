"""How near things are, by a depth net of a local folder in transformers' format (Depth Anything's kind).

Depth Anything: Yang et al. 2024 (arXiv 2401.10891); its values, as MiDaS', grow towards the camera.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from layercli.vision._local import opened, preprocessing, standardised
from layercli.vision.grids import resized

DEPTH_NET = "depth-anything/Depth-Anything-V2-Small-hf"
SIDE = 518
"""The shorter side that the published nets see."""


@lru_cache(maxsize=1)
def depth_net(source: str) -> DepthNet:
    """The net of a folder, opened once for all photos of a run."""
    return DepthNet(source)


class DepthNet:
    """A net that tells how near each pixel is, compared with the others of its picture."""

    def __init__(self, source: str = "") -> None:
        """source: a folder, or "" for the hub's local cache. Raises LayercliError where there is none."""
        from transformers import AutoModelForDepthEstimation

        source = source or DEPTH_NET
        instead = "Without it objects are ordered by where they stand and what they cover."
        self._model: Any = opened(AutoModelForDepthEstimation, source, "A depth net", "depth", instead)
        told = preprocessing(source)
        self._side = int((told.get("size") or {}).get("height", SIDE))
        patch = getattr(self._model.config.backbone_config, "patch_size", 1) or 1
        self._step = int(told.get("ensure_multiple_of") or patch)

    @torch.inference_mode()
    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> (H, W) float32, larger where nearer, of no unit."""
        height, width = rgb.shape[:2]
        scale = self._side / min(height, width)
        across, down = (max(1, round(side * scale / self._step)) * self._step for side in (width, height))
        found = self._model(pixel_values=standardised(resized(rgb, down, across))).predicted_depth
        return resized(found[0].float().numpy(), height, width)
