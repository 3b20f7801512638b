"""Which object is in front: by what covers what, then by a depth net, or by where it stands and its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def front_first(masks: Sequence[np.ndarray], nearness: np.ndarray | None = None) -> list[int]:
    """The order in which objects are taken off a photo: indices of masks (H, W) in [0, 1], front-most first.

    A mask that lies mostly inside another one is in front of it. Else the nearer one, by the median of
    nearness (H, W) over it; without that, the object whose lowest point is lower in the picture stands nearer
    to the camera, and where two stand alike, the larger one.
    """
    solid = [mask > 0.5 for mask in masks]
    places = [
        _place(mask) if nearness is None or not mask.any() else (float(np.median(nearness[mask])), 0.0)
        for mask in solid
    ]
    left = list(range(len(masks)))
    order = []
    while left:
        free = [i for i in left if not any(_inside(solid[j], solid[i]) for j in left if j != i)]
        chosen = max(free or left, key=lambda i: places[i])
        order.append(chosen)
        left.remove(chosen)
    return order


def _place(mask: np.ndarray) -> tuple[float, float]:
    """Where an object stands, from 0 at the top to 1 at the bottom, in coarse steps, and its size."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return 0.0, 0.0
    return round(float(rows[-1] + 1) / mask.shape[0], 2), float(mask.mean())


def _inside(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether most of one mask lies in another that is larger."""
    size = int(inner.sum())
    return 0 < size < int(outer.sum()) and int((inner & outer).sum()) > 0.7 * size
