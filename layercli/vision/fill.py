"""What lies behind: a hole filled from patches of the rest of the picture, from coarse to fine.

Wexler, Shechtman & Irani 2007 (completion as one optimum over all patches), begun smoothly and pulled towards
the smooth surface at the coarse sizes, with how busy a place is as further channels (Newson et al. 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from layercli.vision.grids import box_mean, resized, smooth_fill, window_around
from layercli.vision.patch_search import Filling, Search, carry

SEARCH_PIXELS = 200_000
"""The largest size at which patches are searched for; above it the matches are only carried up."""


@dataclass(kw_only=True, eq=False)
class _Level:
    """One size of the picture: rgb (H, W, C) with the hole filled so far, hole (H, W) bool.

    C is 3; where patches are searched for, 5: how busy the place is, too.
    """

    rgb: np.ndarray
    hole: np.ndarray


def fill(
    rgb: np.ndarray,
    hole: np.ndarray,
    *,
    seed: int = 0,
    sources: np.ndarray | None = None,
    how: Filling | None = None,
) -> np.ndarray:
    """Fill a hole so that every patch in it looks like one outside: (H, W, 3), (H, W) bool -> (H, W, 3).

    sources: (H, W) bool, where patches may be taken from; all that is no hole by default. The picture
    outside the hole is returned as it is. A picture with no usable patch is filled smoothly.
    """
    if not hole.any() or hole.all():
        return rgb.copy()
    how = how or Filling()
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    area = window_around(hole, max(32, round(how.reach * side)))
    usable = None if sources is None else sources[area]
    result = rgb.copy()
    result[area] = _fill_window(rgb[area], hole[area], usable, seed, how)
    return result


def _fill_window(
    rgb: np.ndarray, hole: np.ndarray, sources: np.ndarray | None, seed: int, how: Filling
) -> np.ndarray:
    barred = np.zeros_like(hole) if sources is None else ~sources & ~hole
    levels, bars = [_Level(rgb=rgb.astype(np.float32), hole=hole)], [barred]  # a copy: it is filled in place
    while True:
        last = levels[-1]
        deeper = _deep(last.hole, how.radius) and min(last.hole.shape) > 8 * how.radius
        if last.rgb.shape[2] == 3 and (last.hole.size <= SEARCH_PIXELS or not deeper):
            last.rgb = _with_busyness(last, how.busy)
        if not deeper:
            break
        levels.append(_halved(last))
        bars.append(_blocks(bars[-1]).any(axis=(1, 3)))
    finest = sum(level.rgb.shape[2] == 3 for level in levels)  # of those where patches are searched for
    coarsest = len(levels) - 1
    rng = np.random.default_rng(seed)
    last.rgb[last.hole] = smooth_fill(last.rgb, ~last.hole)[last.hole]
    matches: np.ndarray | None = None
    for i in reversed(range(len(levels))):
        level = levels.pop()
        filled = level.rgb
        if i >= finest:
            share = (i - finest) / max(1, coarsest - finest)
            rounds = round(how.rounds[1] + share * (how.rounds[0] - how.rounds[1]))
            smooth = smooth_fill(filled, ~level.hole)[level.hole] if share else None
            search = Search(filled, level.hole, bars[i], rng, how, smooth, how.calm * share)
            if not search.possible:
                matches = None
            else:
                filled, matches = search.run(matches, rounds)
        elif matches is not None:
            carry(filled, level.hole, matches, how)
        if i:
            finer, shape = levels[-1], levels[-1].hole.shape
            finer.rgb[finer.hole] = resized(filled[..., : finer.rgb.shape[2]], *shape)[finer.hole]
            matches = None if matches is None else _doubled(matches, shape)
    return filled[..., :3]


def _with_busyness(level: _Level, weight: float) -> np.ndarray:
    """A picture and how steep it is around each pixel, across and down: (H, W, 3) -> (H, W, 5).

    What is smooth and what is finely textured have one mean colour in small, and would be taken for each
    other there (the texture features of Newson et al. 2014). Unknown pixels do not count.
    """
    gray, known = level.rgb.mean(axis=-1), ~level.hole
    radius = max(2, round(0.04 * float(np.sqrt(level.hole.sum()))))
    steep = []
    for axis in (1, 0):
        after = np.minimum(np.arange(gray.shape[axis]) + 1, gray.shape[axis] - 1)
        slope = np.abs(np.take(gray, after, axis=axis) - gray)
        both = known & np.take(known, after, axis=axis)
        share = box_mean(both.astype(np.float32), radius)
        steep.append(box_mean(np.where(both, slope, np.float32(0)), radius) / np.maximum(share, 1e-6))
    return np.concatenate([level.rgb, weight * np.stack(steep, axis=-1)], axis=-1, dtype=np.float32)


def _deep(hole: np.ndarray, radius: int) -> bool:
    """Whether a hole is wider than a patch and a half."""
    return bool(ndimage.distance_transform_cdt(np.pad(hole, 1)).max() > 1.5 * radius)


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(H, W, ...) -> (H', 2, W', 2, ...), odd edges repeated."""
    height, width = plane.shape[:2]
    sides = ((0, height % 2), (0, width % 2), *((0, 0),) * (plane.ndim - 2))
    padded = np.pad(plane, sides, mode="edge")
    return padded.reshape(-(-height // 2), 2, -(-width // 2), 2, *plane.shape[2:])


def _halved(level: _Level) -> _Level:
    """Half the size: means of known pixels; a block is known if half of it is."""
    known = ~_blocks(level.hole)
    count = known.sum(axis=(1, 3))
    total = (_blocks(level.rgb) * known[..., None]).sum(axis=(1, 3), dtype=np.float32)
    hole = count < 2
    return _Level(rgb=total / np.maximum(count, 1)[..., None], hole=hole)


def _doubled(matches: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Matches (H, W, 2) of one size at the next: each pixel's match moves with it; -1 stays none."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    fine = matches[rows // 2, columns // 2]
    fine *= 2
    fine[..., 0] += rows % 2
    fine[..., 1] += columns % 2
    fine[fine[..., 0] < 0] = -1
    return fine
