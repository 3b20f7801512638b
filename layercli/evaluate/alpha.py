"""Alpha against the truth: SAD, MSE, MAD, gradient and connectivity error, soft IoU.

Rhemann et al. 2009 (CVPR) for the errors, with the constants that matting papers print: SAD in thousands,
MSE in thousandths, gradients by Gaussian derivatives of sigma 1.4, connectivity in steps of 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter, label, maximum_filter, minimum_filter

from layercli.core.errors import LayercliError
from layercli.evaluate._pairs import matched_alphas
from layercli.evaluate._sample import NotJudged, Sample

NEEDS = "truth"
NUMBERS = {
    "sad": ("foreground", "lower", "k", None),
    "mse": ("foreground", "lower", "1e-3", 1000.0),
    "mad": ("foreground", "lower", "1e-3", 1000.0),
    "grad": ("foreground", "lower", "k", None),
    "conn": ("foreground", "lower", "k", None),
    "iou": ("foreground", "higher", "", 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """region: the whole picture, or where the true alpha is soft, grown by `band` pixels; sigma: of the
    gradient; step: of connectivity; match: which foreground belongs to which true one.
    """

    region: Literal["whole", "unknown"] = "whole"
    band: int = 10
    sigma: float = 1.4
    step: float = 0.1
    match: Literal["overlap", "order"] = "overlap"

    def __post_init__(self) -> None:
        if self.band < 0 or self.sigma <= 0 or not 0 < self.step <= 0.5:
            raise LayercliError(
                "alpha needs band >= 0, sigma > 0 and 0 < step <= 0.5.", "Try: -O alpha.band=10"
            )


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Errors of every foreground's alpha, averaged over the foregrounds of the truth and of the sample."""
    pairs = matched_alphas(sample, options.match)
    if not pairs:
        raise NotJudged("neither it nor its reference has a foreground")
    found = [errors(alpha, truth, options) for alpha, truth in pairs]
    return {name: float(np.mean([one[name] for one in found])) for name in NUMBERS}


def errors(alpha: np.ndarray, truth: np.ndarray, options: Options) -> dict[str, float]:
    """All six numbers of one alpha against the true one, (H, W) each in [0, 1]."""
    region = np.ones(alpha.shape, bool) if options.region == "whole" else unknown(truth, options.band)
    difference = (alpha.astype(np.float64) - truth)[region]
    slopes = gradient(alpha, options.sigma) - gradient(truth, options.sigma)
    steps = connectivity_error(alpha, truth, options.step)
    pixels = max(1, difference.size)
    return {
        "sad": float(np.abs(difference).sum() / 1000),
        "mse": float(np.square(difference).sum() / pixels * 1000),
        "mad": float(np.abs(difference).sum() / pixels * 1000),
        "grad": float(np.square(slopes[region]).sum() / 1000),
        "conn": float(steps[region].sum() / 1000),
        "iou": soft_iou(alpha[region], truth[region]),
    }


def soft_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Σmin / Σmax; 1 where both are empty."""
    union = float(np.maximum(first, second).sum(dtype=np.float64))
    return float(np.minimum(first, second).sum(dtype=np.float64)) / union if union > 0 else 1.0


def unknown(truth: np.ndarray, band: int) -> np.ndarray:
    """The trimap's unknown region: where the true alpha is neither 0 nor 1 within `band` pixels."""
    if band == 0:
        return np.asarray((truth > 0) & (truth < 1))
    size = 2 * band + 1
    return np.asarray((maximum_filter(truth, size) > 0) & (minimum_filter(truth, size) < 1))


def gradient(alpha: np.ndarray, sigma: float) -> np.ndarray:
    """Magnitude of the Gaussian derivative."""
    values = alpha.astype(np.float64)
    along, down = (gaussian_filter(values, sigma, order=order) for order in ((0, 1), (1, 0)))
    return np.hypot(along, down)


def connectivity_error(alpha: np.ndarray, truth: np.ndarray, step: float) -> np.ndarray:
    """|φ(alpha) - φ(truth)| of every pixel (Rhemann et al. 2009, Eq 3-4).

    l is the highest threshold at which a pixel still hangs together with the largest region that both share
    (4-neighbours); a pixel falls short of its alpha by d = alpha - l, and φ = 1 - d where d >= 0.15.
    """
    thresholds = np.arange(0, 1 + step / 2, step)
    held = np.zeros(alpha.shape, np.float64)
    lost = np.zeros(alpha.shape, bool)
    for below, level in pairwise(thresholds):
        regions, count = label((alpha >= level) & (truth >= level))
        if count:
            sizes = np.bincount(regions.ravel())[1:]
            largest = regions == int(sizes.argmax()) + 1
        else:
            largest = np.zeros(alpha.shape, bool)
        leaves = ~lost & ~largest
        held[leaves] = below
        lost |= leaves
    held[~lost] = 1
    phi = [1 - (shortfall := picture - held) * (shortfall >= 0.15) for picture in (alpha, truth)]
    return np.asarray(np.abs(phi[0] - phi[1]))
