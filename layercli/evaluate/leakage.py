"""Leakage: what of the foregrounds is still to be seen in the background.

Three numbers that need no truth and one that does. A background that is a copy of the picture gives copied
and echo of 1; a clean one gives a copied share near 0 and an echo near 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_gradient_magnitude

from layercli.core.composite import unblend
from layercli.evaluate._sample import NotJudged, Sample, rgb

NEEDS = ""
NUMBERS = {
    "copied": ("background", "lower", "", 1.0),
    "echo": ("background", "lower", "", 1.0),
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


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Look at the background where foregrounds hide it.

    copied: the share of hidden pixels that are the object's own colour; echo: the correlation of the
    background's edges with the object's, inside it, 0 where it is negative; ghost: how much more edge the
    background has along the objects' outlines than beside them, in levels of 255 a pixel.
    """
    if sample.background is None:
        raise NotJudged("no layer covers the canvas as a background")
    hidden = sample.covered() > 0.95
    if hidden.sum() < 64:
        raise NotJudged("no foreground hides more than a few pixels")
    behind = rgb(sample.placed(sample.background))
    front = object_colours(sample)
    alike = np.abs(behind - front).max(axis=-1) * 255 <= options.near
    inside = binary_erosion(hidden, iterations=2)
    inside = inside if inside.sum() >= 64 else hidden
    slopes = [gradient(picture, options.sigma)[inside] for picture in (behind, front)]
    outline = binary_dilation(hidden, iterations=options.band) & ~binary_erosion(
        hidden, iterations=options.band
    )
    beside = binary_dilation(hidden, iterations=4 * options.band) & ~outline
    edges = gradient(behind, options.sigma)
    ghost = float(edges[outline].mean() - (edges[beside].mean() if beside.any() else 0.0)) * 255
    return {
        "copied": float(alike[hidden].mean()),
        "echo": max(0.0, correlation(*slopes)),
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


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two vectors; 0 where one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt(np.square(a).sum(dtype=np.float64) * np.square(b).sum(dtype=np.float64)))
    return float((a * b).sum(dtype=np.float64)) / scale if scale > 1e-9 else 0.0
