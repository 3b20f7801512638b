"""Pictures made for tests: a ball with a soft edge over an even wall, with and without its shadow."""

from __future__ import annotations

import numpy as np

from layercli.core.pixels import dequantize, quantize


def wall(height: int = 72, width: int = 96, seed: int = 0) -> np.ndarray:
    """A wall with a slope of light and some grain: (H, W, 3) in 8-bit levels."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    rgb = np.stack([0.55 + 0.2 * columns, 0.6 + 0.1 * rows, 0.75 - 0.1 * columns], axis=-1)
    rgb += np.random.default_rng(seed).normal(0, 0.01, (height, width, 1))
    return levels(rgb)


def ball(
    height: int = 72, width: int = 96, centre: tuple[float, float] = (0.5, 0.5), radius: float = 0.25
) -> np.ndarray:
    """Alpha of a disc with an edge of two pixels: (H, W); centre and radius as shares of the height."""
    rows, columns = np.mgrid[:height, :width]
    apart = np.hypot(rows - centre[0] * height, columns - centre[1] * width)
    return np.clip((radius * height - apart) / 2 + 0.5, 0, 1).astype(np.float32)


def over(behind: np.ndarray, alpha: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """A shape of one colour over a picture, as an 8-bit photo has it."""
    a = alpha[..., None]
    return levels(a * np.float32(colour) + (1 - a) * behind)


def levels(rgb: np.ndarray) -> np.ndarray:
    """The nearest 8-bit levels."""
    return dequantize(quantize(np.asarray(rgb, dtype=np.float32)))


def soft_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Σ min / Σ max."""
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())
