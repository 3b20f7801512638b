"""Planes of numbers: resizing, local means, smooth filling."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

Window = tuple[slice, slice]
"""Rows and columns of a part of a picture."""


def resized(
    values: np.ndarray, height: int, width: int, way: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Scale (H, W, ...) to (height, width, ...), float32: shrinking averages, growing interpolates."""
    if values.shape[:2] == (height, width):
        return values.astype(np.float32, copy=True)
    if values.ndim == 3:
        planes = [resized(values[..., i], height, width, way) for i in range(values.shape[2])]
        return np.stack(planes, axis=-1)
    plane = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32), mode="F")
    return np.array(plane.resize((width, height), way))


def scaled(
    values: np.ndarray, most_pixels: int, way: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """A picture at the largest size of at most so many pixels, never enlarged."""
    height, width = values.shape[:2]
    scale = min(1.0, (most_pixels / (height * width)) ** 0.5)
    return resized(values, max(1, round(height * scale)), max(1, round(width * scale)), way)


def box_mean(values: np.ndarray, radius: int) -> np.ndarray:
    """The mean over a square of 2 * radius + 1 pixels, edges repeated: (H, W) or (H, W, C)."""
    size = (2 * radius + 1, 2 * radius + 1, *(1,) * (values.ndim - 2))
    return ndimage.uniform_filter(values, size=size, mode="nearest")


def disc(mask: np.ndarray, radius: float) -> np.ndarray:
    """A mask (H, W) bool grown by a radius in pixels; a negative one shrinks it, the picture's edges held."""
    if radius == 0 or not mask.any() or mask.all():
        return mask.copy()
    if radius > 0:
        return np.asarray(ndimage.distance_transform_edt(~mask) <= radius)
    return np.asarray(ndimage.distance_transform_edt(mask) > -radius)


def window_around(mask: np.ndarray, margin: int) -> Window:
    """The rows and columns that hold all of a mask (H, W) bool with something in it, and a margin."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)),
    )


def smooth_fill(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is not known by a smooth surface through its border: (H, W, C), (H, W) bool -> (H, W, C).

    Laplace's equation, first by averages from coarse to fine, then relaxed at every size.
    """
    if known.all() or not known.any():
        return values.copy()
    height, width = known.shape
    start = np.where(known[..., None], values, np.float32(0))
    if min(height, width) > 2:
        half = ((height + 1) // 2, (width + 1) // 2)
        weight = _halved(known.astype(np.float32), half)
        mean = _halved(start, half) / np.maximum(weight, 1e-6)[..., None]
        coarse = smooth_fill(mean.astype(np.float32), weight > 0)
        guess = resized(coarse, height, width)
    else:
        guess = np.broadcast_to(values[known].mean(axis=0), values.shape)
    filled = np.where(known[..., None], values, guess).astype(np.float32)
    hole = ~known
    area = window_around(hole, 1)
    part, inside = filled[area], hole[area]
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32)[..., None] / np.float32(4)
    for _ in range(20):
        part[inside] = ndimage.convolve(part, cross, mode="nearest")[inside]
    return filled


def _halved(values: np.ndarray, half: tuple[int, int]) -> np.ndarray:
    """Sums over blocks of 2 x 2 (fewer at odd edges), as means of four: (H, W, ...) -> (H', W', ...)."""
    height, width = values.shape[:2]
    padding = ((0, 2 * half[0] - height), (0, 2 * half[1] - width), *((0, 0),) * (values.ndim - 2))
    padded = np.pad(values, padding)
    return padded.reshape(half[0], 2, half[1], 2, *values.shape[2:]).mean(axis=(1, 3))
