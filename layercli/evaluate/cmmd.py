"""Gaussian-kernel distance of normalised features (CMMD, Jayasumana et al. 2024, arXiv 2401.09603).

The paper's net is CLIP ViT-L/14 at 336 px; its estimate is the biased one, times a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.errors import LayercliError
from layercli.evaluate._rows import Rows, enough

NEEDS = "reference"
NUMBERS = {"cmmd": ("*", "lower", "", None)}
_BLOCK = 2048


@dataclass(frozen=True, kw_only=True)
class Options:
    """net: see fid; sigma: of the kernel; scale: what the squared MMD is multiplied by."""

    net: str = "embedded"
    sigma: float = 10.0
    scale: float = 1000.0

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise LayercliError(f"sigma={self.sigma:g} is not above 0.", "Try: -O cmmd.sigma=10")


def distance(rows: Rows, reference: Rows, options: Options) -> dict[str, float]:
    """scale · (E k(x, x') + E k(y, y') - 2 E k(x, y)), k = exp(-‖x - y‖² / 2σ²)."""
    enough(rows, reference, 1, "CMMD")
    a, b = (normalised(side.features) for side in (rows, reference))
    means = [mean_kernel(x, y, options.sigma) for x, y in ((a, a), (b, b), (a, b))]
    return {"cmmd": options.scale * (means[0] + means[1] - 2 * means[2])}


def normalised(features: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def mean_kernel(x: np.ndarray, y: np.ndarray, sigma: float) -> float:
    """The mean of exp(-‖x - y‖² / 2σ²) over all pairs, block by block."""
    total = 0.0
    for start in range(0, len(x), _BLOCK):
        part = x[start : start + _BLOCK]
        squares = np.square(part).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * part @ y.T
        total += float(np.exp(-np.maximum(squares, 0) / (2 * sigma**2)).sum())
    return total / (len(x) * len(y))
