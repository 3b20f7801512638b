"""Kernel distance of two sets of features (KID, Bińkowski et al. 2018, arXiv 1801.01401).

Unbiased: it does not fall with the number of samples, and may be a little below zero for sets that are alike.
The defaults are torch-fidelity's: a hundred subsets of a thousand, a cubic kernel, gamma 1/D, coef0 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.errors import LayercliError
from layercli.evaluate._rows import Rows, enough

NEEDS = "reference"
NUMBERS = {"kid": ("*", "lower", "", None), "kid_std": ("*", "neither", "", None)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """net: see fid; subsets, size: how many subsets of how many pictures; where a set is smaller, half of
    it; degree, coef0: of the kernel (x·y / D + coef0)^degree.
    """

    net: str = "embedded"
    subsets: int = 100
    size: int = 1000
    degree: int = 3
    coef0: float = 1.0
    seed: int = 2020

    def __post_init__(self) -> None:
        if self.subsets < 1 or self.size < 2 or self.degree < 1:
            raise LayercliError("kid needs subsets >= 1, size >= 2 and degree >= 1.", "Try: -O kid.size=1000")


def distance(rows: Rows, reference: Rows, options: Options) -> dict[str, float]:
    """Mean and standard deviation of the squared MMD over random subsets."""
    enough(rows, reference, 4, "KID")
    size = subset_size(len(rows), len(reference), options.size)
    rng = np.random.RandomState(options.seed)  # the old generator, so that subsets are torch-fidelity's
    found = []
    for _ in range(options.subsets):
        a = rows.features[rng.choice(len(rows), size, replace=False)]
        b = reference.features[rng.choice(len(reference), size, replace=False)]
        found.append(squared_mmd(a, b, options.degree, options.coef0))
    return {"kid": float(np.mean(found)), "kid_std": float(np.std(found))}


def subset_size(count: int, reference: int, wanted: int) -> int:
    """The size that is wanted where both sets have it, else half of the smaller set."""
    least = min(count, reference)
    return wanted if least >= wanted else max(2, least // 2)


def squared_mmd(a: np.ndarray, b: np.ndarray, degree: int = 3, coef0: float = 1.0) -> float:
    """The unbiased squared MMD with a polynomial kernel (Eq 4 of the paper): (n, D) and (m, D)."""
    n, m, width = len(a), len(b), a.shape[1]

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((x @ y.T / width + coef0) ** degree)

    same_a, same_b = kernel(a, a), kernel(b, b)
    return float(
        (same_a.sum() - np.trace(same_a)) / (n * (n - 1))
        + (same_b.sum() - np.trace(same_b)) / (m * (m - 1))
        - 2 * kernel(a, b).mean()
    )
