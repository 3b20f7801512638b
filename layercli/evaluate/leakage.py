"""Leakage: what of the foregrounds is still to be seen in the background; no truth is needed.

The share is the number that `layercli decompose` tells of every object, by the same code. Two more say in
which way it is left: copied as it was, or as a line along its outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_gradient_magnitude

from layercli.core import recomposition
from layercli.core.composite import unblend
from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample, rgb

NEEDS = ""
NUMBERS = {
    "share": ("background", "lower", "", 1.0),
    "copied": ("background", "lower", "", 1.0),
    "ghost": ("background", "lower", "", None),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """near: how many levels of 255 apart a pixel of the background still counts as a copy of the object's;
    band: half the width in pixels of the strip along an outline; sigma: of the gradients.
    """

    near: float = 6.0
    band: int = 3
    sigma: float = 1.0

    def __post_init__(self) -> None:
        if self.near < 0 or self.band < 1 or self.sigma <= 0:
            raise LayercliError("leakage needs near >= 0, band >= 1 and sigma > 0.", "Try: -O leakage.band=3")


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Look at the background where foregrounds hide it.

    share: of what each object adds to the picture, how much the background holds, from 0 to 1, averaged over
    the objects; copied: the share of hidden pixels that are the object's own colour; ghost: how much more
    edge the background has along the objects' outlines than beside them, in levels of 255 a pixel.
    """
    if sample.background is None:
        raise NotJudged("no layer covers the canvas as a background")
    hidden = sample.covered() > 0.95
    if hidden.sum() < 64:
        raise NotJudged("no foreground hides more than a few pixels")
    behind = rgb(sample.placed(sample.background))
    seen = rgb(sample.composite if sample.whole is None else sample.whole)
    if seen.shape != behind.shape:
        raise NotJudged("the picture that came with its layers is of another size")
    shares = [
        recomposition.leakage(seen, behind, sample.placed(layer)[..., 3]) for layer in sample.foregrounds
    ]
    alike = np.abs(behind - object_colours(sample)).max(axis=-1) * 255 <= options.near
    outline = binary_dilation(hidden, iterations=options.band) & ~binary_erosion(
        hidden, iterations=options.band
    )
    beside = binary_dilation(hidden, iterations=4 * options.band) & ~outline
    edges = gradient(behind, options.sigma)
    ghost = float(edges[outline].mean() - (edges[beside].mean() if beside.any() else 0.0)) * 255
    return {
        "share": float(np.mean(shares)),
        "copied": float(alike[hidden].mean()),
        "ghost": max(0.0, ghost),
    }


def object_colours(sample: Sample) -> np.ndarray:
    """The foregrounds' own colours on the canvas, what lies in front winning, (H, W, 3)."""
    canvas = np.zeros((sample.stack.canvas.height, sample.stack.canvas.width, 3), np.float32)
    for layer in sample.foregrounds:
        placed = sample.placed(layer)
        alpha = placed[..., 3:]
        canvas = placed[..., :3] * alpha + canvas * (1 - alpha)
    return unblend(canvas, np.zeros_like(canvas), sample.covered())


def gradient(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian gradient magnitude of the luma, (H, W, 3) -> (H, W)."""
    luma = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(gaussian_gradient_magnitude(luma, sigma))
