"""Soft outlines: from a coarse mask to alpha by closed-form matting (Levin, Lischinski & Weiss 2008)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import linalg

from layercli.vision.grids import box_mean, disc, resized

REGULAR = 1e-5
"""ε of Eq 12 in the paper: how far colours of a window may stray from a line."""

_WINDOW = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def trimap_of(mask: np.ndarray, sure: float, unsure: float) -> np.ndarray:
    """A coarse mask (H, W) in [0, 1] -> 1 inside, 0 outside, 0.5 where the outline may be.

    sure: pixels that the inside stays away from the outline; unsure: the same for the outside. A part that
    is thinner than the band is unknown all through. What the mask itself calls doubtful (0.1 to 0.9) is
    unknown too.
    """
    inside = disc(mask >= 0.5, -sure) & (mask >= 0.9)
    outside = disc(mask < 0.5, -unsure) & (mask <= 0.1)
    return np.where(inside, np.float32(1), np.where(outside, np.float32(0), np.float32(0.5)))


def rise_of(mask: np.ndarray) -> float:
    """Over how many pixels a mask (H, W) rises from 0.1 to 0.9 where its outline is, as the median."""
    steep = np.hypot(*np.gradient(mask)) if min(mask.shape) > 1 else np.ones_like(mask)
    border = _border(mask)
    return float(np.median(0.8 / np.maximum(steep[border], 1e-3))) if border.any() else 1.0


def sure_outline(mask: np.ndarray, rise: float) -> np.ndarray:
    """Where a mask (H, W) that rises over so many pixels has an outline of whose both sides it is sure: bool.

    What a mask doubts in breadth has no edge there that could be found.
    """
    reach = 2 * int(np.ceil(2 * rise)) + 1
    sure = (ndimage.maximum_filter(mask, reach) >= 0.9) & (ndimage.minimum_filter(mask, reach) <= 0.1)
    return np.asarray(_border(mask) & sure)


def trimap_beside(mask: np.ndarray, outline: np.ndarray, band: float) -> np.ndarray:
    """A mask (H, W) in [0, 1] -> 0.5 within so many pixels of an outline, the mask's own values elsewhere."""
    values = np.where(mask >= 0.95, np.float32(1), np.where(mask <= 0.05, np.float32(0), mask))
    return np.where(disc(outline, band), np.float32(0.5), values)


def doubt_of(mask: np.ndarray, outline: np.ndarray, rise: float) -> float:
    """What a mask (H, W) doubts beyond its outline, as a share of what it holds."""
    doubtful = (mask > 0.1) & (mask < 0.9) & ~disc(outline, 2 * rise)
    return float(doubtful.sum() / max(1, (mask > 0.5).sum()))


def _border(mask: np.ndarray) -> np.ndarray:
    """The pixels at both sides of a mask's outline."""
    solid = mask > 0.5
    return np.asarray(ndimage.binary_dilation(solid) & ndimage.binary_dilation(~solid))


def closed_form_alpha(
    rgb: np.ndarray, trimap: np.ndarray, prior: np.ndarray | None = None, weight: float = 0.0
) -> np.ndarray:
    """The smoothest alpha that is locally linear in colour and agrees with a trimap.

    rgb: (H, W, 3) in [0, 1], trimap: (H, W), 0.5 where alpha is not known -> alpha (H, W) float32 in [0, 1].
    prior, weight: a guess (H, W) for the unknown pixels and how strongly it pulls.
    """
    unknown = trimap == 0.5
    if not unknown.any():
        return trimap.astype(np.float32)
    planes = laplacian_planes(rgb)
    matrix, right = _system(planes, trimap, unknown)
    start = np.full(int(unknown.sum()), 0.5) if prior is None else prior[unknown].astype(np.float64)
    if prior is not None and weight > 0:
        matrix = matrix + sparse.identity(matrix.shape[0], format="csr") * weight
        right = right + weight * start
    scale = sparse.diags(1.0 / np.maximum(matrix.diagonal(), 1e-12))
    solved, _ = linalg.cg(matrix, right, x0=start, rtol=1e-4, maxiter=600, M=scale)
    alpha = trimap.astype(np.float32).copy()
    alpha[unknown] = np.clip(solved, 0.0, 1.0)
    return alpha


def laplacian_planes(rgb: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """The matting Laplacian as planes: offset (dy, dx) -> L between each pixel and the one so far away.

    Eq 12: L_ij = Σ_k δ_ij - (1 + (I_i-μ_k)ᵀ (Σ_k + ε/9 I)⁻¹ (I_j-μ_k)) / 9, over windows k of 3 x 3 that hold
    both. rgb: (H, W, 3) -> planes (H, W) float32. Windows at the picture's edge repeat its pixels.
    """
    height, width, _ = rgb.shape
    centred = rgb.astype(np.float32) - box_mean(rgb.astype(np.float32), 1)
    mean = rgb.astype(np.float32) - centred
    padded = np.pad(rgb.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] - mean for dy, dx in _WINDOW]
    inverse = _inverse_covariance(around)
    turned = [np.einsum("hwij,hwj->hwi", inverse, part) for part in around]
    planes: dict[tuple[int, int], np.ndarray] = {}
    for (ay, ax), part in zip(_WINDOW, turned, strict=True):
        for (by, bx), other in zip(_WINDOW, around, strict=True):
            offset = (by - ay, bx - ax)
            if offset < (0, 0):
                continue  # L is symmetric
            value = np.einsum("hwi,hwi->hw", part, other)
            value += 1.0
            value /= -9.0
            if offset == (0, 0):
                value += 1.0
            plane = planes.setdefault(offset, np.zeros((height, width), dtype=np.float32))
            to, of = _shifted((height, width), ay, ax)
            plane[to] += value[of]
    return planes


def _inverse_covariance(around: list[np.ndarray]) -> np.ndarray:
    """(Σ_k + ε/9 I)⁻¹ of every window: (H, W, 3, 3), by cofactors."""
    cov = np.zeros((*around[0].shape[:2], 3, 3), dtype=np.float32)
    for part in around:
        cov += part[..., :, None] * part[..., None, :]
    cov /= 9.0
    cov[..., range(3), range(3)] += REGULAR
    a, b, c = cov[..., 0, 0], cov[..., 0, 1], cov[..., 0, 2]
    d, e, f = cov[..., 1, 1], cov[..., 1, 2], cov[..., 2, 2]
    inverse = np.empty_like(cov)
    inverse[..., 0, 0] = d * f - e * e
    inverse[..., 0, 1] = inverse[..., 1, 0] = c * e - b * f
    inverse[..., 0, 2] = inverse[..., 2, 0] = b * e - c * d
    inverse[..., 1, 1] = a * f - c * c
    inverse[..., 1, 2] = inverse[..., 2, 1] = b * c - a * e
    inverse[..., 2, 2] = a * d - b * b
    determinant = a * inverse[..., 0, 0] + b * inverse[..., 0, 1] + c * inverse[..., 0, 2]
    return inverse / np.maximum(determinant, 1e-18)[..., None, None]


def _shifted(shape: tuple[int, int], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices (to, of) that put a window's centre at the pixel (dy, dx) away from it, inside the picture."""
    height, width = shape
    to = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
    of = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
    return to, of


def _system(
    planes: dict[tuple[int, int], np.ndarray], trimap: np.ndarray, unknown: np.ndarray
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The equations of the unknown pixels: L_uu α_u = -L_uk α_k, whose rows sum to zero over all pixels."""
    height, width = unknown.shape
    number = np.full((height, width), -1, dtype=np.int32)
    count = int(unknown.sum())
    number[unknown] = np.arange(count, dtype=np.int32)
    rows, columns, values = [], [], []
    right = np.zeros(count)
    diagonal = np.zeros(count)
    for (dy, dx), plane in planes.items():
        if (dy, dx) == (0, 0):
            continue  # the diagonal is what makes the rows sum to zero
        here, there = _pair_slices((height, width), dy, dx)
        value = plane[here].astype(np.float64)
        for mine, theirs in ((here, there), (there, here)):
            own = number[mine]
            asked = own >= 0
            np.subtract.at(diagonal, own[asked], value[asked])
            known = asked & (number[theirs] < 0)
            np.subtract.at(right, own[known], value[known] * trimap[theirs][known])
            both = asked & (number[theirs] >= 0)
            rows.append(own[both])
            columns.append(number[theirs][both])
            values.append(value[both])
    every = np.arange(count, dtype=np.int32)
    rows.append(every)
    columns.append(every)
    values.append(np.maximum(diagonal, 1e-9))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_matrix(entries, shape=(count, count)).tocsr(), right


def _pair_slices(shape: tuple[int, int], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices (here, there) of all pixels whose partner (dy, dx) away is in the picture; dy >= 0."""
    height, width = shape
    here = (slice(0, max(0, height - dy)), slice(max(0, -dx), width - max(0, dx)))
    there = (slice(dy, height), slice(max(0, dx), width - max(0, -dx)))
    return here, there


def linear_detail(
    alpha: np.ndarray, rgb: np.ndarray, radius: int, regular: float = 1e-4
) -> tuple[np.ndarray, np.ndarray]:
    """How alpha depends on colour around each pixel: α ≈ aᵀI + b (Eq 3 of the paper; He et al. 2010).

    alpha: (H, W), rgb: (H, W, 3) -> a (H, W, 3), b (H, W), means over the windows that hold the pixel.
    """
    rgb = rgb.astype(np.float32)
    mean, mean_alpha = box_mean(rgb, radius), box_mean(alpha, radius)
    cov = box_mean(rgb[..., :, None] * rgb[..., None, :], radius) - mean[..., :, None] * mean[..., None, :]
    cov[..., range(3), range(3)] += regular
    shared = box_mean(rgb * alpha[..., None], radius) - mean * mean_alpha[..., None]
    a = np.linalg.solve(cov, shared[..., None])[..., 0]
    b = mean_alpha - (a * mean).sum(axis=-1)
    return box_mean(a, radius), box_mean(b, radius)


def enlarged_alpha(alpha: np.ndarray, small: np.ndarray, rgb: np.ndarray, radius: int = 2) -> np.ndarray:
    """Alpha at a small size -> alpha at the photo's, sharp where the photo's own edges are sharp.

    alpha: (h, w), small: (h, w, 3) the photo at that size, rgb: (H, W, 3) -> (H, W). Where alpha is 0 or 1
    all around it stays so.
    """
    height, width = rgb.shape[:2]
    if alpha.shape == (height, width):
        return alpha.copy()
    a, b = linear_detail(alpha, small, radius)
    fine = resized(b, height, width)
    for channel in range(3):
        fine += resized(a[..., channel], height, width) * rgb[..., channel]
    grown = resized(alpha, height, width)
    border = box_mean(((alpha > 0.01) & (alpha < 0.99)).astype(np.float32), radius + 1) > 0
    edge = resized(border.astype(np.float32), height, width)
    fine = edge * fine + (1 - edge) * grown
    return np.clip(fine, 0.0, 1.0, out=fine)
