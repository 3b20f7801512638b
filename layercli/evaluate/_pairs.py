"""Which foreground of a stack belongs to which one of its truth."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from layercli.evaluate._sample import Sample, truth_of


def matched_alphas(sample: Sample, match: Literal["overlap", "order"]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Alpha and true alpha of every foreground, (H, W) each; one without a partner is held against nothing.

    overlap: the assignment with the greatest sum of soft IoU; order: back to front. Raises NotJudged.
    """
    truth = truth_of(sample)
    mine = [sample.placed(layer)[..., 3] for layer in sample.foregrounds]
    theirs = [truth.placed(layer)[..., 3] for layer in truth.foregrounds]
    if match == "order":
        rows = columns = list(range(min(len(mine), len(theirs))))
    else:
        gains = np.array([[_overlap(a, b) for b in theirs] for a in mine]).reshape(len(mine), len(theirs))
        found = linear_sum_assignment(gains, maximize=True)
        rows, columns = found[0].tolist(), found[1].tolist()
    pairs = [(mine[row], theirs[column]) for row, column in zip(rows, columns, strict=True)]
    empty = np.zeros((sample.stack.canvas.height, sample.stack.canvas.width), np.float32)
    pairs += [(alpha, empty) for row, alpha in enumerate(mine) if row not in rows]
    pairs += [(empty, alpha) for column, alpha in enumerate(theirs) if column not in columns]
    return pairs


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union > 0 else 1.0
