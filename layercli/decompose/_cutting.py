"""From an object's coarse mask to its soft outline at full size and its colours without the background's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from layercli.decompose._exact import cleared
from layercli.decompose._objects import Found
from layercli.vision.foreground import foreground_and_background
from layercli.vision.grids import Window, disc, resized, scaled, window_around
from layercli.vision.matting import (
    closed_form_alpha,
    doubt_of,
    enlarged_alpha,
    rise_of,
    sure_outline,
    trimap_beside,
    trimap_of,
)

SURE = 0.95
"""How sure a mask must be of a pixel for a solution that says the opposite to be wrong."""
STEP = 1.7
"""Pixels over which a mask rises that is cut off hard, and so does not tell how sure it is of its outline."""
BLUNT = 6.3
"""Pixels over which a mask counts as rising where its own steepness tells nothing, or it is asked for."""
DOUBTED = 0.1
"""The share of an object that a mask doubts, from which on it has no outline that could be refined."""


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """band: half the width in which the outline is looked for, as a share of the object's size, at most: a
    mask that rises steeply is looked beside only; pull: how much the coarse mask pulls at alpha there, the
    more the more steeply it rises; detail: megapixels at which alpha is solved; refine: no takes drawn masks
    as alpha.
    """

    band: float = 0.02
    pull: float = 0.4
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
        if found.drawn or found.asked or rise_of(found.mask) < STEP:
            trimap = trimap_of(coarse, band, band)
            alpha = _stretched(closed_form_alpha(small, trimap, coarse, how.pull / BLUNT**2))
            if not found.asked:  # a hard mask means what it says, where a net's answer in a box may not
                alpha = _with_thin_parts(alpha, coarse, trimap, band)
        else:
            alpha = _refined(small, coarse, band, how.pull)
    colour, _ = foreground_and_background(small, alpha)
    fine = enlarged_alpha(alpha, small, view) if alpha.shape != view.shape[:2] else alpha
    return window, cleared(fine), resized(colour, *view.shape[:2])


def _with_thin_parts(alpha: np.ndarray, mask: np.ndarray, trimap: np.ndarray, band: float) -> np.ndarray:
    """A solution with those parts of a hard mask (h, w) that it lost for want of any known inside."""
    thin = (mask > 0.5) & ~disc(trimap == 1, 2 * band)
    return np.where(thin & (np.abs(alpha - mask) > 0.5), mask, alpha)


def _refined(rgb: np.ndarray, mask: np.ndarray, band: float, pull: float) -> np.ndarray:
    """A net's mask (h, w) with its outline solved in a band of at most so many pixels to both sides.

    The more finely the mask is drawn, the narrower is the band. The more the mask doubts of its object, the
    less the photo's (h, w, 3) edges tell where the object ends, and the more of the mask stays as it is.
    """
    rise = rise_of(mask)
    outline = sure_outline(mask, rise)
    trimap = trimap_beside(mask, outline, min(band, max(1.5, 2 * rise)))
    alpha = _stretched(closed_form_alpha(rgb, trimap, mask, pull / rise**2))
    sure = (mask >= SURE) | (mask <= 1 - SURE)
    alpha = np.where(sure & (np.abs(alpha - mask) > 0.5), mask, alpha)  # thin parts have no known inside
    kept = min(1.0, doubt_of(mask, outline, rise) / DOUBTED)
    return kept * mask + (1 - kept) * alpha


def _stretched(alpha: np.ndarray) -> np.ndarray:
    """What a solution leaves almost clear or almost solid, made so."""
    return np.clip((alpha - 0.03) / 0.94, 0, 1)


def _part(mask: np.ndarray, window: Window, full: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """The part of a mask that belongs to a window of the full-sized picture, at another size."""
    down, across = mask.shape[0] / full[0], mask.shape[1] / full[1]
    box = (window[1].start * across, window[0].start * down, window[1].stop * across, window[0].stop * down)
    plane = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32), mode="F")
    sampled = plane.resize((shape[1], shape[0]), Image.Resampling.BILINEAR, box=box)
    return np.clip(np.asarray(sampled), 0, 1)
