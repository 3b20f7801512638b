"""Cutting without a net: colour models of the thing and of what is around it, smoothed along edges.

The idea of GrabCut (Rother, Kolmogorov & Blake 2004) with the random walker (Grady 2006) in place of the
graph cut, which gives a soft answer from one linear system; the start is what is far from the picture's
border by the geodesic distance (Wei et al. 2012).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph, linalg

from layercli.vision.grids import resized, scaled

CUT_PIXELS = 40_000
"""The size at which things are cut; matting refines the outline at a larger one."""
COMPONENTS = 5
"""Gaussians in a colour model, as in GrabCut."""


def standing_out(rgb: np.ndarray) -> np.ndarray:
    """What stands out of a picture: (H, W, 3) in [0, 1] -> (H, W) in [0, 1]."""
    small = scaled(rgb, CUT_PIXELS)
    if min(small.shape[:2]) < 4 or is_even(small):
        return np.zeros(rgb.shape[:2], dtype=np.float32)
    far = border_distance(small)
    far /= max(float(np.percentile(far, 99)), 1e-6)
    height, width = far.shape
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    centre = np.exp(-1.5 * (rows**2 + columns**2)).astype(np.float32)
    start = np.clip(far, 0, 1) * (0.4 + 0.6 * centre)
    prior = np.clip(start / max(float(np.percentile(start, 98)), 1e-6), 0.02, 0.98)
    return resized(cut(small, prior), *rgb.shape[:2])


def is_even(rgb: np.ndarray) -> bool:
    """Whether a picture (H, W, 3) is of one colour all over, so that nothing can stand out."""
    return float(np.ptp(rgb.reshape(-1, 3), axis=0).max()) < 0.02


def border_distance(rgb: np.ndarray) -> np.ndarray:
    """The least change of colour on any way to the picture's border: (H, W, 3) -> (H, W)."""
    height, width, _ = rgb.shape
    smooth = ndimage.gaussian_filter(_lab(rgb), (1, 1, 0))
    number = np.arange(height * width).reshape(height, width)
    rows, columns, steps = [], [], []
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        change = np.linalg.norm(smooth[a] - smooth[b], axis=-1)
        # Small changes are texture and light; without a threshold they add up over a long way.
        steps.append(np.maximum(change - np.percentile(change, 60), 1e-4).ravel())
        rows.append(number[a].ravel())
        columns.append(number[b].ravel())
    shape = (number.size, number.size)
    graph = sparse.coo_matrix(
        (np.concatenate(steps), (np.concatenate(rows), np.concatenate(columns))), shape=shape
    ).tocsr()
    # The lower edge counts for little: things often stand on it.
    border = np.unique(
        np.concatenate([number[0], number[: height * 3 // 4, 0], number[: height * 3 // 4, -1]])
    )
    distance = csgraph.dijkstra(graph, directed=False, indices=border, min_only=True)
    return distance.reshape(height, width).astype(np.float32)


def cut(
    rgb: np.ndarray,
    prior: np.ndarray,
    *,
    inside: np.ndarray | None = None,
    outside: np.ndarray | None = None,
    rounds: int = 4,
) -> np.ndarray:
    """Sharpen a guess by colour and edges: rgb (H, W, 3), prior (H, W) in (0, 1) -> (H, W) in [0, 1].

    inside, outside: (H, W) bool, what surely belongs and what surely does not.
    """
    lab = _lab(rgb)
    guess = prior.astype(np.float64)
    fixed = np.zeros(prior.shape)
    if inside is not None:
        guess = np.where(inside, 1.0, guess)
        fixed = np.where(inside, 1.0, fixed)
    if outside is not None:
        guess = np.where(outside, 0.0, guess)
        fixed = np.where(outside, 1.0, fixed)
    laplacian = _edges(lab)
    for _ in range(rounds):
        thing, rest = guess > 0.5, guess <= 0.5
        if min(int(thing.sum()), int(rest.sum())) < 4 * COMPONENTS:
            break
        ratio = _likelihood(lab, lab[thing]) - _likelihood(lab, lab[rest])
        odds = np.clip(ratio, -4, 4) + np.log(np.clip(prior, 0.02, 0.98) / (1 - np.clip(prior, 0.02, 0.98)))
        wanted = 1 / (1 + np.exp(-np.clip(odds, -6, 6)))
        pull = np.abs(wanted - 0.5) * 0.4 + 0.005
        target = np.where(fixed > 0, guess > 0.5, wanted).ravel()
        weight = np.where(fixed > 0, 1e3, pull).ravel()
        matrix = laplacian + sparse.diags(weight)
        scale = sparse.diags(1 / matrix.diagonal())
        solved, _ = linalg.cg(matrix, weight * target, x0=target, rtol=1e-4, maxiter=300, M=scale)
        guess = np.clip(solved, 0, 1).reshape(prior.shape)
    # The walker's values sit close to the middle: its border is what counts.
    return np.clip((guess - 0.5) * 3 + 0.5, 0, 1).astype(np.float32)


def _edges(lab: np.ndarray) -> sparse.csr_matrix:
    """The random walker's Laplacian: neighbours of one colour hold together (Grady 2006, Eq 1)."""
    height, width = lab.shape[:2]
    number = np.arange(height * width).reshape(height, width)
    rows, columns, weights = [], [], []
    views: tuple[tuple[Any, Any, float], ...] = (
        (np.s_[:, 1:], np.s_[:, :-1], 1.0),
        (np.s_[1:], np.s_[:-1], 1.0),
        (np.s_[1:, 1:], np.s_[:-1, :-1], 0.7),
        (np.s_[1:, :-1], np.s_[:-1, 1:], 0.7),
    )
    changes = [((lab[a] - lab[b]) ** 2).sum(axis=-1) for a, b, _ in views]
    beta = 1 / max(2 * float(np.mean(np.concatenate([change.ravel() for change in changes]))), 1e-8)
    for (a, b, near), change in zip(views, changes, strict=True):
        rows.append(number[a].ravel())
        columns.append(number[b].ravel())
        weights.append((near * np.exp(-beta * change) + 1e-4).ravel())
    shape = (number.size, number.size)
    joined = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    half = sparse.coo_matrix(joined, shape=shape).tocsr()
    return csgraph.laplacian(half + half.T).tocsr()


def _likelihood(lab: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """The logarithm of a colour model's density at every pixel: (H, W, 3), (N, 3) -> (H, W)."""
    rng = np.random.default_rng(0)
    if len(sample) > 5000:
        sample = sample[rng.choice(len(sample), 5000, replace=False)]
    centres = sample[rng.choice(len(sample), COMPONENTS, replace=False)]
    for _ in range(8):
        nearest = ((sample[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)
        centres = np.stack(
            [
                sample[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k]
                for k in range(COMPONENTS)
            ]
        )
    logs = []
    flat = lab.reshape(-1, 3)
    for k in range(COMPONENTS):
        part = sample[nearest == k]
        if len(part) < 8:
            continue
        cov = np.cov(part.T) + 4e-4 * np.eye(3)
        apart = flat - centres[k]
        power = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(cov), apart)
        logs.append(np.log(len(part) / len(sample)) - 0.5 * (power + np.linalg.slogdet(cov)[1]))
    # A floor, so that a colour neither model knows tells nothing.
    floor = np.full(flat.shape[0], -12.0)
    return np.logaddexp.reduce([*logs, floor], axis=0).reshape(lab.shape[:2])


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab / 100 of sRGB (IEC 61966-2-1, D65): (H, W, 3) -> (H, W, 3) float64."""
    rgb = rgb.astype(np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness, a, b = 1.16 * f[..., 1] - 0.16, 5 * (f[..., 0] - f[..., 1]), 2 * (f[..., 1] - f[..., 2])
    return np.stack([lightness, a, b], axis=-1)
