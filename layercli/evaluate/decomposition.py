"""Decomposition against true layers, by LayerD's protocol (arXiv 2509.25134).

In both stacks, layers that nothing covers are taken off together, again and again; the groups are aligned
back to front by dynamic time warping; the numbers are means over the aligned pairs. Up to `merges` times,
two neighbouring groups of either stack are merged where that helps most; a stack that has no more to merge
keeps its last value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layercli.core.composite import over
from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample, truth_of

NEEDS = "truth"
NUMBERS = {
    "rgb_l1": ("layers", "lower", "", 1.0),
    "iou": ("layers", "higher", "", 0.0),
    "cost": ("layers", "lower", "", 1.0),
    "rgb_l1_merged": ("layers", "lower", "", 1.0),
    "iou_merged": ("layers", "higher", "", 0.0),
    "cost_merged": ("layers", "lower", "", 1.0),
}
Groups = list[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Options:
    """merges: how many merges the second set of numbers may use; both_empty: the soft IoU of two empty
    alphas, 0 in LayerD's code.
    """

    merges: int = 5
    both_empty: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.merges <= 20:
            raise LayercliError(
                f"merges={self.merges} is not from 0 to 20.", "Try: -O decomposition.merges=5"
            )


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """RGB L1, soft IoU and their cost, without merges and with."""
    truth = truth_of(sample)
    if not sample.layers or not truth.layers:
        raise NotJudged("it or its reference has no visible layer")
    mine = grouped([sample.placed(layer) for layer in sample.layers])
    theirs = grouped([truth.placed(layer) for layer in truth.layers])
    plain, *merged = by_merges(mine, theirs, options)
    best = merged[-1] if merged else plain
    return plain | {f"{name}_merged": value for name, value in best.items()}


def by_merges(mine: Groups, theirs: Groups, options: Options) -> list[dict[str, float]]:
    """The numbers without a merge, with one, and so on up to `options.merges`."""
    told = [aligned(mine, theirs, options.both_empty)]
    for _ in range(options.merges):
        tries = [(shorter, theirs) for shorter in merges_of(mine)] + [(mine, s) for s in merges_of(theirs)]
        if not tries:
            told.append(told[-1])
            continue
        scored = [(aligned(*pair, options.both_empty), pair) for pair in tries]
        best, (mine, theirs) = min(scored, key=lambda entry: entry[0]["cost"])
        told.append(best)
    return told


def grouped(placed: Sequence[np.ndarray]) -> Groups:
    """Take off what nothing left covers, again and again; back to front, (H, W, 4) each."""
    left = list(range(len(placed)))
    hard = [rgba[..., 3] > 0 for rgba in placed]
    groups: Groups = []
    while left:
        top = [i for i in left if not any((hard[i] & hard[j]).any() for j in left if j > i)]
        merged = placed[top[0]]
        for i in top[1:]:
            merged = over(merged, placed[i])
        groups.append(merged)
        left = [i for i in left if i not in top]
    return groups[::-1]


def merges_of(groups: Groups) -> list[Groups]:
    """Every way to merge two neighbours."""
    return [[*groups[:i], over(groups[i], groups[i + 1]), *groups[i + 2 :]] for i in range(len(groups) - 1)]


def aligned(mine: Groups, theirs: Groups, both_empty: float) -> dict[str, float]:
    """Means over the pairs on the cheapest path of dynamic time warping."""
    pairs = {(i, j): compare(a, b, both_empty) for i, a in enumerate(mine) for j, b in enumerate(theirs)}
    costs = np.array([[pairs[i, j][2] for j in range(len(theirs))] for i in range(len(mine))])
    path = warp(costs)
    means = np.mean([pairs[pair] for pair in path], axis=0)
    return {"rgb_l1": float(means[0]), "iou": float(means[1]), "cost": float(means[2])}


def compare(layer: np.ndarray, truth: np.ndarray, both_empty: float) -> tuple[float, float, float]:
    """RGB L1 where the true alpha is above 0, soft IoU of the alphas, and (L1 + 1 - IoU) / 2."""
    weight = truth[..., 3] > 0
    l1 = float((np.abs(layer[..., :3] - truth[..., :3]).mean(axis=-1) * weight).sum() / (weight.sum() + 1e-8))
    union = float(np.maximum(layer[..., 3], truth[..., 3]).sum(dtype=np.float64))
    shared = float(np.minimum(layer[..., 3], truth[..., 3]).sum(dtype=np.float64))
    iou = shared / union if union > 0 else both_empty
    return l1, iou, (l1 + 1 - iou) / 2


def warp(costs: np.ndarray) -> list[tuple[int, int]]:
    """The cheapest path from corner to corner by steps of one right, down or both (Sakoe and Chiba 1978)."""
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    for i in range(rows):
        for j in range(columns):
            total[i + 1, j + 1] = costs[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    path, i, j = [], rows, columns
    while i and j:
        path.append((i - 1, j - 1))
        steps = [
            (total[i - 1, j - 1], i - 1, j - 1),
            (total[i - 1, j], i - 1, j),
            (total[i, j - 1], i, j - 1),
        ]
        _, i, j = min(steps, key=lambda step: step[0])
    return path[::-1]
