"""Layers: empty ones, doubled ones, and whether there are as many as there should be."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample
from layercli.evaluate.alpha import soft_iou

NEEDS = ""
NUMBERS = {
    "empty": ("foreground", "lower", "", 1.0),
    "duplicate": ("foreground", "lower", "", 1.0),
    "count": ("composite", "higher", "", 0.0),
    "count_error": ("composite", "lower", "layers", None),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """seen: the share of the canvas below which a foreground is empty; overlap, near: soft IoU above which,
    and mean difference of colour (levels of 255) below which, two foregrounds are the same.
    """

    seen: float = 0.001
    overlap: float = 0.9
    near: float = 12.0

    def __post_init__(self) -> None:
        if not 0 <= self.seen <= 1 or not 0 < self.overlap <= 1 or self.near < 0:
            raise LayercliError(
                "layers needs seen from 0 to 1, overlap above 0 and up to 1, near >= 0.",
                "Try: -O layers.overlap=0.9",
            )


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Shares of the foregrounds that are empty, or the same as one behind them; and the count of layers.

    count: 1 where the stack has as many layers as its truth, or else as its request asked for, and nothing
    where neither is known.
    """
    placed = [sample.placed(layer) for layer in sample.foregrounds]
    wanted = wanted_count(sample)
    found: dict[str, float] = {}
    if wanted is not None:
        found = {"count": float(sample.count == wanted), "count_error": float(abs(sample.count - wanted))}
    if not placed:
        if found:
            return found
        raise NotJudged("it has no foreground")
    empty = [float((rgba[..., 3] > 0.5).mean()) < options.seen for rgba in placed]
    doubled = {j for i, j in combinations(range(len(placed)), 2) if same(placed[i], placed[j], options)}
    return {"empty": float(np.mean(empty)), "duplicate": len(doubled) / len(placed), **found}


def same(first: np.ndarray, second: np.ndarray, options: Options) -> bool:
    """Whether two pictures on the canvas, (H, W, 4), show the same thing in the same place."""
    alphas = first[..., 3], second[..., 3]
    shared = np.minimum(*alphas) > 0.5
    if not shared.any() or soft_iou(*alphas) < options.overlap:
        return False
    return float(np.abs(first[..., :3] - second[..., :3])[shared].mean()) * 255 < options.near


def wanted_count(sample: Sample) -> int | None:
    """How many layers there should be, the background among them, where anybody knows."""
    if sample.truth is not None:
        return sample.truth.count
    return None if sample.asked is None else len(sample.asked) + 1
