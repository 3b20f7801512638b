"""A smooth surface through the hole's border, by Laplace's equation: at once, and right for even grounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.vision.grids import smooth_fill, window_around


@dataclass(frozen=True, kw_only=True)
class Options:
    """Nothing to choose."""


def fill(
    rgb: np.ndarray, hole: np.ndarray, *, seed: int, sources: np.ndarray | None, how: Options
) -> np.ndarray:
    """Fill a hole smoothly; what is no source is filled too while it is looked at, and then left as it is."""
    del seed, how
    unknown = hole if sources is None else hole | ~sources
    if not hole.any() or unknown.all():
        return rgb.copy()
    area = window_around(hole, 32)
    if unknown[area].all():
        area = (slice(None), slice(None))
    result = rgb.copy()
    smooth = smooth_fill(rgb[area], ~unknown[area])
    result[area] = np.where(hole[area][..., None], smooth, rgb[area])
    return result
