"""Fréchet distance of two sets of features (FID, Heusel et al. 2017, arXiv 1706.08500).

Biased in the number of samples: two sets of one source are farther apart the smaller they are. Below ten
thousand samples, lead with KID.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svdvals

from layercli.evaluate._rows import Rows, enough

NEEDS = "reference"
NUMBERS = {"fid": ("*", "lower", "", None)}
ASKS_FOR = 10_000
"""Below so many samples the bias is worth a warning."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """net: embedded, inception (2048 features), inception-64 (LayerFusion's), or a CLIP model's folder."""

    net: str = "embedded"


def distance(rows: Rows, reference: Rows, options: Options) -> dict[str, float]:
    """‖μ1 - μ2‖² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½) of two sets of two pictures or more."""
    enough(rows, reference, 2, "FID")
    return {"fid": frechet(rows.features, reference.features)}


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """The distance of the Gaussians of two sets, (N, D) and (M, D); real and not negative for few samples.

    With centred A, B and n, m samples, the eigenvalues of Σ1 Σ2 are the squared singular values of
    A Bᵀ / √((n-1)(m-1)), so the trace of the root is the sum of these: no root of a matrix that is singular.
    """
    a, b = (np.asarray(side, np.float64) for side in (first, second))
    mean = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    a, b = (side - side.mean(axis=0) for side in (a, b))
    spread = np.square(a).sum() / (len(a) - 1) + np.square(b).sum() / (len(b) - 1)
    root = svdvals(_factor(a) @ _factor(b).T).sum()
    return max(0.0, float(mean + spread - 2 * root))


def _factor(centred: np.ndarray) -> np.ndarray:
    """R with RᵀR = Σ and as few rows as that takes, (min(N, D), D)."""
    scaled = centred / np.sqrt(len(centred) - 1)
    return scaled if len(scaled) <= scaled.shape[1] else np.asarray(np.linalg.qr(scaled, mode="r"))
