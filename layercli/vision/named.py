"""Objects by their names: words to boxes by Grounding DINO, boxes and points to masks by Segment Anything.

Both are read from local folders in transformers' format, or from the hub's local cache; nothing is fetched.
Grounding DINO: Liu et al. 2023 (arXiv 2303.05499); Segment Anything: Kirillov et al. 2023 (arXiv 2304.02643).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.vision._local import opened, preprocessing, standardised
from layercli.vision.grids import resized

DETECTOR = "IDEA-Research/grounding-dino-tiny"
SEGMENTER = "facebook/sam-vit-base"
_INSTEAD = 'Or show where it is: --box "cat=0.1,0.4,0.5,0.9", --point "cat=0.5,0.5".'

Box = tuple[float, float, float, float]
"""left, top, right, bottom as fractions of a picture."""


@lru_cache(maxsize=1)
def detector_of(source: str = "") -> Detector:
    """The detector of a source, opened once for all photos of a run."""
    return Detector(source)


@lru_cache(maxsize=1)
def segmenter_of(source: str = "") -> Segmenter:
    """The segmenter of a source, opened once for all photos of a run."""
    return Segmenter(source)


class Detector:
    """Grounding DINO: where what words name is, and how surely."""

    def __init__(self, source: str = "") -> None:
        """source: a folder, or "" for the hub's local cache. Raises LayercliError where there is none."""
        from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer

        source = source or DETECTOR
        asked = (source, "Grounding DINO", "detector", _INSTEAD)
        self._model: Any = opened(AutoModelForZeroShotObjectDetection, *asked)
        self._tokenizer: Any = opened(AutoTokenizer, *asked)
        size = preprocessing(source).get("size") or {}
        self._shortest = int(size.get("shortest_edge", 800))
        self._longest = int(size.get("longest_edge", 1333))

    @torch.inference_mode()
    def __call__(self, rgb: np.ndarray, text: str) -> tuple[Box, float]:
        """The box that fits the words best: (H, W, 3) in [0, 1] -> the box, and from 0 to 1 how surely.

        A query's sureness is its best fit to any word of the text (Liu et al., section 3).
        """
        height, width = rgb.shape[:2]
        scale = min(self._shortest / min(height, width), self._longest / max(height, width))
        small = resized(rgb, max(32, round(height * scale)), max(32, round(width * scale)))
        words = self._tokenizer(f"{text.lower().strip(' .')}.", return_tensors="pt")
        found = self._model(pixel_values=standardised(small), **words)
        fit = found.logits[0].sigmoid()  # (queries, words); -inf, and so 0, beyond the last word
        sure = fit.max(dim=-1).values.nan_to_num(0)
        best = int(sure.argmax())
        x, y, across, down = found.pred_boxes[0, best].tolist()
        box = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
        left, top, right, bottom = (min(1.0, max(0.0, side)) for side in box)
        return (left, top, right, bottom), float(sure[best])


class Segmenter:
    """Segment Anything: the object in a box, or under a point."""

    def __init__(self, source: str = "") -> None:
        """source: a folder, or "" for the hub's local cache. Raises LayercliError where there is none."""
        from transformers import AutoModelForMaskGeneration

        asked = (source or SEGMENTER, "Segment Anything", "segmenter", _INSTEAD)
        self._model: Any = opened(AutoModelForMaskGeneration, *asked)
        self._side = int(self._model.config.vision_config.image_size)

    @torch.inference_mode()
    def __call__(
        self, rgb: np.ndarray, *, box: Box | None = None, point: tuple[float, float] | None = None
    ) -> np.ndarray:
        """How surely each pixel belongs to it: (H, W, 3) -> (H, W) in [0, 1].

        box, point: fractions. Of the three masks the model proposes, the one it rates highest.
        """
        height, width = rgb.shape[:2]
        scale = self._side / max(height, width)
        inner = round(height * scale), round(width * scale)
        pixels = standardised(resized(rgb, *inner))
        pixels = F.pad(pixels, (0, self._side - inner[1], 0, self._side - inner[0]))
        across, down = inner[1], inner[0]
        asked: dict[str, Tensor] = {}
        if box is not None:
            sides = [box[0] * across, box[1] * down, box[2] * across, box[3] * down]
            asked["input_boxes"] = torch.tensor([[sides]])
        if point is not None:
            asked["input_points"] = torch.tensor([[[[point[0] * across, point[1] * down]]]])
            asked["input_labels"] = torch.ones(1, 1, 1, dtype=torch.long)
        found = self._model(pixel_values=pixels, multimask_output=True, **asked)
        best = int(found.iou_scores[0, 0].argmax())
        logits = found.pred_masks[0, 0, best][None, None]
        large = F.interpolate(logits, (self._side, self._side), mode="bilinear", align_corners=False)
        inside = large[..., : inner[0], : inner[1]]
        full = F.interpolate(inside, (height, width), mode="bilinear", align_corners=False)
        return np.asarray(full[0, 0].sigmoid().numpy(), dtype=np.float32)
