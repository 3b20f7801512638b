"""Seams: how much light, colour, contrast and sharpness jump where an object meets its surroundings.

A proxy for harmony that needs no truth: real photographs have jumps too, so compare runs with each other or
with a reference, never with zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, laplace

from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample, rgb

NEEDS = ""
NUMBERS = {
    "light": ("composite", "neither", "/255", None),
    "colour": ("composite", "neither", "/255", None),
    "contrast": ("composite", "neither", "ln", None),
    "sharpness": ("composite", "neither", "ln", None),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """band: the width in pixels of the strips inside and outside the outline."""

    band: int = 6

    def __post_init__(self) -> None:
        if self.band < 1:
            raise LayercliError(f"band={self.band} is below 1.", "Try: -O seam.band=6")


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Differences between a strip inside the foregrounds' outline and one outside, in the composite.

    light: of mean luma; colour: of mean blue and red chroma; contrast, sharpness: absolute logarithm of the
    ratio of standard deviations, and of mean absolute Laplacians.
    """
    if sample.background is None or not sample.foregrounds:
        raise NotJudged("it has no foreground on a background")
    covered = sample.covered()
    inside = covered > 0.95
    outside = binary_dilation(covered > 0.05, iterations=options.band) & ~(covered > 0.05)
    inside &= ~binary_erosion(inside, iterations=options.band)
    if inside.sum() < 32 or outside.sum() < 32:
        raise NotJudged("the outline of its foregrounds is too short")
    luma, chroma = ycc(rgb(sample.composite))
    edges = np.abs(laplace(luma))
    levels = 1 / 255
    return {
        "light": float(abs(luma[inside].mean() - luma[outside].mean()) * 255),
        "colour": float(np.abs(chroma[inside].mean(axis=0) - chroma[outside].mean(axis=0)).mean() * 255),
        "contrast": float(abs(np.log((luma[inside].std() + levels) / (luma[outside].std() + levels)))),
        "sharpness": float(abs(np.log((edges[inside].mean() + levels) / (edges[outside].mean() + levels)))),
    }


def ycc(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luma (H, W) and blue and red chroma (H, W, 2) of ITU-R BT.601, unscaled: (H, W, 3) in [0, 1]."""
    luma = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    chroma = np.stack([(picture[..., 2] - luma) * 0.564, (picture[..., 0] - luma) * 0.713], -1)
    return luma, chroma
