"""Patches of the picture around, from coarse to fine: built in, and right for grounds that repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.vision.fill import fill as filled
from layercli.vision.patch_search import Filling


@dataclass(frozen=True, kw_only=True)
class Options(Filling):
    """See vision.patch_search.Filling."""


def fill(
    rgb: np.ndarray, hole: np.ndarray, *, seed: int, sources: np.ndarray | None, how: Options
) -> np.ndarray:
    """Fill a hole so that every patch in it looks like one outside."""
    return filled(rgb, hole, seed=seed, sources=sources, how=how)
