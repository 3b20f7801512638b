"""How truly layers put a photo together again, and how much of an object is left behind in the background.

The two belong together: a photo copied into the background recomposes perfectly and leaks entirely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from layercli.core.layers import LayerStack
from layercli.core.pixels import quantize

_SIDE = 256
"""Leakage is measured on pictures of at most this side: a ghost that shows is larger than a pixel."""


@dataclass(frozen=True, kw_only=True)
class Recomposition:
    """How far a flattened stack is from its photo.

    most: the largest difference of any channel of any pixel, in 255ths; psnr: in dB, infinite where there is
    no difference; off: the share of pixels that differ at all.
    """

    most: int
    psnr: float
    off: float

    def __str__(self) -> str:
        quality = "exact" if math.isinf(self.psnr) else f"{self.psnr:.1f} dB"
        return f"{self.most}/255 at most, {quality}"


def recomposition(photo: np.ndarray, stack: LayerStack) -> Recomposition:
    """Compare the flattened stack, every layer in 8 bits, with the photo (H, W, 3) in [0, 1]."""
    flat = stack.flatten_quantized()
    most, squares, off = 0, 0.0, 0
    for top in range(0, photo.shape[0], 256):  # strips: a large photo has no room for three more of itself
        rows = slice(top, top + 256)
        apart = np.abs(flat[rows, :, :3].astype(np.int32) - quantize(photo[rows]).astype(np.int32))
        most = max(most, int(apart.max()), int(255 - flat[rows, :, 3].min()))
        squares += float((apart * apart).sum())
        off += int(apart.any(axis=-1).sum())
    mean = squares / photo.size / 255.0**2
    psnr = math.inf if mean == 0 else -10 * math.log10(mean)
    return Recomposition(most=most, psnr=psnr, off=off / (photo.shape[0] * photo.shape[1]))


def leakage(photo: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> float:
    """How much of an object can still be seen in the background: 0 nothing, 1 all of it.

    photo, background: (H, W, 3) in [0, 1], alpha: (H, W) of the object. What the object adds to the picture
    is photo - smooth, where `smooth` continues the surroundings through the object without looking at it;
    what the background has there is background - smooth. Leakage is the share of the first found in the
    second, the slope of a regression through 0: 1 for a copied photo, about 0 for anything unrelated,
    textured or not. It is taken over the whole object, and over its rim alone where halos stay; the larger
    counts. Raises ValueError when the shapes differ.
    """
    if photo.shape != background.shape or photo.shape[:2] != alpha.shape:
        raise ValueError(f"shapes {photo.shape}, {background.shape} and {alpha.shape} do not fit together")
    covered = alpha > 0.02
    if not covered.any():
        return 0.0
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    area = tuple(
        slice(max(0, int(line[0]) - line.size // 4 - 8), int(line[-1]) + line.size // 4 + 9)
        for line in (rows, columns)
    )
    step = max(1, -(-max(rows.size, columns.size) // _SIDE))
    small_alpha = _averaged(alpha[area][..., None], step)[..., 0]
    seen, left = _averaged(photo[area], step), _averaged(background[area], step)
    outside = small_alpha < 0.004
    smooth = _continued(seen, outside)
    weight = np.where(outside, np.float32(0), small_alpha)
    rim = np.where(_inner(small_alpha > 0.5, 3), np.float32(0), weight)
    return max(_share(seen - smooth, left - smooth, part) for part in (weight, rim))


def _share(added: np.ndarray, found: np.ndarray, weight: np.ndarray) -> float:
    """The regression's slope, in [0, 1]; 0 where an object adds nothing that could be seen."""
    power = float((weight[..., None] * added * added).sum())
    if power <= 3 * (4 / 255) ** 2 * float(weight.sum()):
        return 0.0
    return float(np.clip((weight[..., None] * added * found).sum() / power, 0.0, 1.0))


def _averaged(values: np.ndarray, step: int) -> np.ndarray:
    """Means over squares of `step` pixels, what is left over at the edges dropped."""
    height, width = (max(1, side // step) * min(step, side) for side in values.shape[:2])
    step_y, step_x = min(step, values.shape[0]), min(step, values.shape[1])
    blocks = values[:height, :width].reshape(height // step_y, step_y, width // step_x, step_x, -1)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def _continued(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The known values, and a smooth surface through their border elsewhere: averages, coarse to fine."""
    if known.all() or not known.any():
        mean = values.mean(axis=(0, 1), keepdims=True)
        return values.copy() if known.all() else np.broadcast_to(mean, values.shape).astype(np.float32)
    height, width = known.shape
    if max(height, width) <= 2:
        return np.where(known[..., None], values, values[known].mean(axis=0)).astype(np.float32)
    sides = ((0, height % 2), (0, width % 2))
    weight = np.pad(known.astype(np.float32), sides)
    total = np.pad(np.where(known[..., None], values, np.float32(0)), (*sides, (0, 0)))
    count = _blocks(weight[..., None])
    coarse = _continued(_blocks(total) / np.maximum(count, 1e-6), count[..., 0] > 0)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    fine = np.where(known[..., None], values, fine)
    for _ in range(8):
        padded = np.pad(fine, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        fine = np.where(known[..., None], values, mean)
    return fine.astype(np.float32)


def _blocks(values: np.ndarray) -> np.ndarray:
    height, width = values.shape[:2]
    return values.reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))


def _inner(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask shrunk by some pixels; the picture's own edge is no outline."""
    for _ in range(pixels):
        padded = np.pad(mask, 1, mode="edge")
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask
