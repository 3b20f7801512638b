"""From an object's coarse mask to its soft outline at full size and its colours without the background's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from layercli.decompose._exact import cleared
from layercli.decompose._objects import Found
from layercli.vision.foreground import foreground_and_background
from layercli.vision.grids import Window, resized, scaled, window_around
from layercli.vision.matting import closed_form_alpha, enlarged_alpha, trimap_of


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """band: half the width in which the outline is looked for, as a share of the object's size; pull: how
    much the coarse mask pulls at alpha there; detail: megapixels at which alpha is solved; refine: no takes
    drawn masks as alpha.
    """

    band: float = 0.02
    pull: float = 0.01
    detail: float = 0.7
    refine: bool = True


def cut_out(left: np.ndarray, found: Found, how: Cutting) -> tuple[Window, np.ndarray, np.ndarray]:
    """Cut an object (its coarse mask) out of a picture (H, W, 3).

    -> its window, its alpha there in levels, and its clean colours.
    """
    height, width = left.shape[:2]
    down, across = height / found.mask.shape[0], width / found.mask.shape[1]
    coarse_window = window_around(found.mask > 0.05, 2)
    size = float(np.sqrt((found.mask > 0.5).sum() * down * across))
    margin = max(4.0, 2.5 * how.band * size) + 2 * max(down, across)
    rows, columns = (
        slice(max(0, round(part.start * scale - margin)), min(full, round(part.stop * scale + margin)))
        for part, scale, full in zip(coarse_window, (down, across), (height, width), strict=True)
    )
    window = (rows, columns)
    view = left[window]
    small = scaled(view, round(how.detail * 1e6))
    scale = small.shape[0] / view.shape[0]
    coarse = _part(found.mask, window, left.shape[:2], small.shape[:2])
    if found.drawn and not how.refine:
        alpha = coarse
    else:
        band = max(2.0, how.band * size * scale, 1.5 * max(down, across) * scale)
        trimap = trimap_of(coarse, band, band)
        alpha = closed_form_alpha(small, trimap, coarse, how.pull)
        alpha = np.clip((alpha - 0.03) / 0.94, 0, 1)
    colour, _ = foreground_and_background(small, alpha)
    fine = enlarged_alpha(alpha, small, view) if alpha.shape != view.shape[:2] else alpha
    return window, cleared(fine), resized(colour, *view.shape[:2])


def _part(mask: np.ndarray, window: Window, full: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """The part of a mask that belongs to a window of the full-sized picture, at another size."""
    down, across = mask.shape[0] / full[0], mask.shape[1] / full[1]
    box = (window[1].start * across, window[0].start * down, window[1].stop * across, window[0].stop * down)
    plane = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32), mode="F")
    sampled = plane.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=box)
    return np.clip(np.asarray(sampled), 0, 1)
