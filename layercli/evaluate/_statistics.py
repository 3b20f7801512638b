"""Uncertainty of scores: bootstrap over samples, a jackknife where doubled samples would mislead, pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 2000
BLOCKS = 10
LEAST = 5
"""Fewer values give no interval: a bootstrap of so few is narrower than the truth."""
Interval = tuple[float, float] | tuple[None, None]
LEVEL = 0.95


def interval(values: Sequence[float], seed: int = 0) -> Interval:
    """The bootstrap's interval; none for too few values, and none where all are alike.

    It would have no width then, and five pictures without a fault do not show that there are none.
    """
    if len(values) < LEAST or min(values) == max(values):
        return None, None
    return bootstrap(values, seed)


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95% percentile interval of the mean of independent values (Efron 1979); needs two or more."""
    data = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    rows = max(1, min(resamples, 4_000_000 // max(1, len(data))))
    means: list[float] = []
    while len(means) < resamples:
        picks = rng.integers(0, len(data), (min(rows, resamples - len(means)), len(data)))
        means.extend(data[picks].mean(axis=1))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def jackknife(
    count: int, statistic: Callable[[np.ndarray], float], seed: int = 0, blocks: int = BLOCKS
) -> tuple[float, float] | None:
    """A 95% interval of a set's statistic from leaving out a tenth of the samples at a time.

    statistic: (indices of the samples kept) -> number. For distances between sets, where the doubled samples
    of a bootstrap would count as pairs that are alike. None where there are too few samples.
    """
    if count < 2 * blocks:
        return None
    order = np.random.default_rng(seed).permutation(count)
    parts = np.array_split(order, blocks)
    left = [statistic(np.sort(np.concatenate(parts[:i] + parts[i + 1 :]))) for i in range(blocks)]
    if not np.isfinite(left).all():
        return None
    deviation = float(np.sqrt((blocks - 1) / blocks * np.square(np.array(left) - np.mean(left)).sum()))
    whole = statistic(np.arange(count))
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * deviation
    return whole - reach, whole + reach


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two runs on the same samples: the mean difference (second minus first), its interval, and who wins.

    low, high: as of `interval`.
    wins: the share of samples on which the second is better, ties counting half; chance: how likely a
    difference as large is where none is (sign-flip test, two-sided).
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    wins: float
    chance: float


def paired(
    first: Sequence[float], second: Sequence[float], *, higher_is_better: bool, seed: int = 0
) -> Paired:
    """Compare two runs sample by sample; first, second: values of the same samples in the same order."""
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    low, high = interval(difference.tolist(), seed)
    better = difference if higher_is_better else -difference
    wins = float(((better > 0) + 0.5 * (better == 0)).mean())
    count = len(difference)
    if every := 2**count <= RESAMPLES:  # few pairs: all flips there are, and an exact chance
        signs = (np.arange(2**count)[:, None] >> np.arange(count) & 1) * 2 - 1
    else:
        signs = np.random.default_rng(seed).integers(0, 2, (RESAMPLES, count)) * 2 - 1
    extreme = np.abs((signs * difference).mean(axis=1)) >= abs(difference.mean()) - 1e-12
    chance = float(extreme.mean() if every else (extreme.sum() + 1) / (RESAMPLES + 1))
    return Paired(
        n=len(difference), difference=float(difference.mean()), low=low, high=high, wins=wins, chance=chance
    )
