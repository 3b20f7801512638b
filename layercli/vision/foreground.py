"""Clean colours under a soft outline: multi-level foreground estimation (Germer et al. 2020)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from layercli.vision.grids import resized

REGULAR = 1e-5
"""ε_r of Eq 5: how much neighbours agree anyway."""
GRADIENT = 1.0
"""ω of Eq 5: how much more they agree across an edge of alpha."""

_CROSS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def foreground_and_background(
    rgb: np.ndarray, alpha: np.ndarray, iterations: tuple[int, int] = (10, 3)
) -> tuple[np.ndarray, np.ndarray]:
    """Solve I = αF + (1-α)B for smooth F and B, from one pixel to the full size.

    rgb: (H, W, 3), alpha: (H, W) -> F, B (H, W, 3), all in [0, 1]. Also where alpha is 0 F has a colour: that
    of the foreground nearby. iterations: at sizes up to 32 pixels, and above.
    """
    height, width = alpha.shape
    sizes = [(height, width)]
    while max(sizes[-1]) > 1:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    picture, cover = [rgb.astype(np.float32)], [alpha.astype(np.float32)]
    for h, w in sizes[1:]:
        picture.append(resized(picture[-1], h, w))
        cover.append(resized(cover[-1], h, w))
    f = _weighted_mean(rgb, alpha)
    b = _weighted_mean(rgb, 1 - alpha)
    for level in reversed(range(len(sizes))):
        h, w = sizes[level]
        f, b = (resized(part, h, w, Image.Resampling.NEAREST) for part in (f, b))
        for _ in range(iterations[0] if max(h, w) <= 32 else iterations[1]):
            f, b = _relaxed(f, b, picture[level], cover[level])
    return f, b


def _weighted_mean(rgb: np.ndarray, weight: np.ndarray) -> np.ndarray:
    total = max(float(weight.sum()), 1e-6)
    return (np.einsum("hwc,hw->c", rgb, weight) / total).astype(np.float32)[None, None]


def _relaxed(
    f: np.ndarray, b: np.ndarray, rgb: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One Jacobi step of Eq 6: per pixel, two unknowns a channel against their neighbours' last values."""
    padded_alpha = np.pad(alpha, 1, mode="edge")
    sides = ((1, 1), (1, 1), (0, 0))
    padded_f, padded_b = np.pad(f, sides, mode="edge"), np.pad(b, sides, mode="edge")
    height, width = alpha.shape
    total = np.zeros_like(alpha)
    sum_f, sum_b = np.zeros_like(f), np.zeros_like(b)
    for dy, dx in _CROSS:
        view = (slice(1 + dy, 1 + dy + height), slice(1 + dx, 1 + dx + width))
        weight = REGULAR + GRADIENT * np.abs(alpha - padded_alpha[view])
        total += weight
        sum_f += weight[..., None] * padded_f[view]
        sum_b += weight[..., None] * padded_b[view]
    a = alpha[..., None]
    rest, s = 1 - a, total[..., None]
    # [α²+s, α(1-α); α(1-α), (1-α)²+s] [F; B] = [αI+ΣwF; (1-α)I+ΣwB]
    right_f, right_b = a * rgb + sum_f, rest * rgb + sum_b
    m00, m01, m11 = a * a + s, a * rest, rest * rest + s
    determinant = m00 * m11 - m01 * m01
    new_f = (m11 * right_f - m01 * right_b) / determinant
    new_b = (m00 * right_b - m01 * right_f) / determinant
    return np.clip(new_f, 0.0, 1.0), np.clip(new_b, 0.0, 1.0)
