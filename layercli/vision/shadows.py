"""Shadows of an object on what it stands on, told apart where the ground is even enough."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from layercli.vision.grids import disc, resized, scaled, smooth_fill, window_around

SIDE_PIXELS = 120_000
"""The size at which shadows are looked for: they are smooth."""


def shadow_of(
    photo: np.ndarray, alpha: np.ndarray, *, reach: float = 0.6, least: float = 0.06
) -> np.ndarray | None:
    """How much of the light is left around an object: (H, W, 3), (H, W) -> (H, W) in (0, 1], or None.

    A shadow is where the picture near the object is darker than its surroundings make expect, in all
    channels alike (the ratio of two lights changes brightness, hardly colour), smooth, and joined to the
    object. reach: how far from the object it is looked for, in object sizes; least: the least darkening, as
    a share, that counts. None where there is none, or where the ground is too uneven to tell.
    """
    covered = alpha > 0.02
    if not covered.any() or covered.mean() > 0.6:
        return None
    area = window_around(covered, 8)
    side = max(area[0].stop - area[0].start, area[1].stop - area[1].start)
    area = window_around(covered, round(1.6 * reach * side) + 8)
    small = scaled(photo[area], SIDE_PIXELS)
    height, width = small.shape[:2]
    thing = resized(alpha[area], height, width) > 0.01
    distance = ndimage.distance_transform_edt(~disc(thing, 1))
    size = float(np.sqrt(thing.sum()))
    near = (distance > 0) & (distance < reach * size)
    far = (distance >= reach * size) & (distance < 1.6 * reach * size)
    if far.sum() < 200 or near.sum() < 50:
        return None
    log = np.log(small + 0.02)
    light = log.mean(axis=-1)
    light = ndimage.gaussian_filter(light, 1.0)
    expected, spread = _ground(light, far, near)
    drop = expected - light
    if spread > 0.06:  # a ground of many brightnesses hides where a shadow ends
        return None
    colours = log - log.mean(axis=-1, keepdims=True)
    usual = colours[far].mean(axis=0)
    same = np.abs(colours - usual).max(axis=-1) < 0.18
    threshold = max(least, 3.0 * spread)
    dark = near & same & (drop > threshold)
    dark = ndimage.binary_opening(dark, iterations=1)
    touching = disc(thing, 3)
    numbers, count = ndimage.label(dark | touching)
    if count == 0:
        return None
    joined = np.isin(numbers, np.unique(numbers[touching])) & dark
    if not _is_plausible(joined, thing, drop, distance / (reach * size)):
        return None
    around = disc(joined, max(2.0, 0.04 * size)) & near & same
    kept = np.where(around, np.clip(drop, 0, 1.5), 0)
    soft = ndimage.gaussian_filter(around.astype(np.float32), 1.5)
    left = np.exp(-kept * np.clip(2 * soft - 0.5, 0, 1)).astype(np.float32)
    # Under the object nothing is seen: the shadow goes on smoothly there, and ends at its far side.
    left = smooth_fill(left[..., None], ~thing)[..., 0]
    left = np.clip(ndimage.gaussian_filter(left, 1.0), 0.1, 1.0)
    left = np.where(left > 1 - least / 3, np.float32(1), left)
    result = np.ones(alpha.shape, dtype=np.float32)
    result[area] = resized(left, area[0].stop - area[0].start, area[1].stop - area[1].start)
    return result


def _is_plausible(dark: np.ndarray, thing: np.ndarray, drop: np.ndarray, distance: np.ndarray) -> bool:
    """Whether a dark patch looks like what an object throws: of its order of size, at its foot, ending.

    distance: (H, W), 1 where the search ends: what reaches so far is the ground itself, or another thing.
    """
    size = int(dark.sum())
    if not 0.01 * thing.sum() < size < 1.5 * thing.sum():
        return False
    rows = np.flatnonzero(thing.any(axis=1))
    foot = dark[(rows[0] + rows[-1]) // 2 :].sum()
    ends = (dark & (distance > 0.9)).sum() < 0.02 * size
    return bool(foot > 0.7 * size and ends and np.percentile(drop[dark], 90) > 0.1)


def _ground(light: np.ndarray, far: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, float]:
    """The brightness expected everywhere, a plane of second order through what is far, and how well it fits.

    Fitted again without what lies far off it, twice.
    """
    height, width = light.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    used = far
    for _ in range(3):
        weights, *_ = np.linalg.lstsq(terms[used], light[used], rcond=None)
        expected = terms @ weights
        apart = np.abs(light - expected)
        spread = 1.48 * float(np.median(apart[far]))
        used = far & (apart < 2.5 * max(spread, 0.01))
        if used.sum() < 50:
            break
    return expected, spread
