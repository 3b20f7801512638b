"""Attention as tensors: probability maps, LayerFusion's priors and masks, blending, placing maps in boxes.

Source: LayerFusion (arXiv 2412.04460), section 3 and Algorithms 1 to 3. Shapes: B frames, H heads, N queries
(the positions of an h x w grid, row by row), M keys, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion.scaling import scaled

Grid = tuple[int, int]
"""Rows and columns of an attention map."""

Rectangle = tuple[float, float, float, float]
"""left, top, right, bottom of a frame on the canvas, as fractions of it; may reach beyond it."""

WHOLE: Rectangle = (0.0, 0.0, 1.0, 1.0)

_CHUNK = 512
_FLAT = 1e-6


def probabilities(query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ/√d): query (B, H, N, d), key (B, H, M, d) -> (B, H, N, M), in float32.

    bias: added to the logits, broadcastable to (B, H, N, M).
    """
    logits = query.float() @ key.float().transpose(-1, -2) * query.shape[-1] ** -0.5
    return torch.softmax(logits if bias is None else logits + bias.float(), dim=-1)


def minmax(values: Tensor) -> Tensor:
    """Stretch every map to [0, 1]: (B, N) -> (B, N); a flat map, which says nothing, becomes 0."""
    low, high = values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True)
    spread = high - low
    flat = spread <= _FLAT * high.abs().clamp_min(_FLAT)
    return torch.where(flat, torch.zeros_like(values), (values - low) / spread.clamp_min(1e-12))


def sparsity(attention: Tensor) -> Tensor:
    """s_i = 1/Σ_j m_ij² (section 3.2): head-mean self-attention (B, N, N) -> (B, N), from 1 to N."""
    return 1.0 / attention.square().sum(dim=-1)


def sparsity_of(query: Tensor, key: Tensor) -> Tensor:
    """`sparsity` of the head-mean map of query, key (B, H, N, d), never holding more than a strip of it."""
    strips = [
        sparsity(probabilities(query[:, :, start : start + _CHUNK], key).mean(dim=1))
        for start in range(0, query.shape[2], _CHUNK)
    ]
    return torch.cat(strips, dim=-1)


def structure_prior(s: Tensor) -> Tensor:
    """s' = 1 - minmax(s) (Algorithm 1): sparsity scores (B, N) -> (B, N) in [0, 1], high on the object."""
    return 1.0 - minmax(s)


def content_prior(attention: Tensor, summary: Tensor) -> Tensor:
    """c = head-mean cross-attention on the tokens that stand for the content (Algorithm 2).

    attention: (B, H, N, L) of the conditional branch; summary: (B, L) weights, 1 on the end-of-text token
    of a causal text encoder; tokens beyond its end stand for nothing -> (B, N).
    """
    summary = F.pad(summary, (0, attention.shape[-1] - summary.shape[-1]))
    return torch.einsum("bnl,bl->bn", attention.mean(dim=1), summary.to(attention))


def soft_mask(structure: Tensor | None, content: Tensor | None) -> Tensor:
    """mask_soft = minmax(s·c) (Algorithm 3): priors (B, N) -> (B, N) in [0, 1].

    One prior alone is the paper's ablation (Fig 8c); raises ValueError without any.
    """
    if structure is None and content is None:
        raise ValueError("a mask needs a structure prior or a content prior")
    if structure is None:
        return minmax(content)  # type: ignore[arg-type]
    return minmax(structure if content is None else structure * content)


def hard_mask(soft: Tensor, d: float = 10.0) -> Tensor:
    """mask_hard = σ(d(mask_soft - 0.5)) (Algorithm 3): d is the boundary coefficient of section 4.1.4."""
    return torch.sigmoid(d * (soft - 0.5))


def blend_in(blended: Tensor, foregrounds: Sequence[Tensor], soft: Sequence[Tensor]) -> Tensor:
    """Eq 1, once per foreground, back to front: a'_Bl = a_FG·soft + a_Bl(1-soft).

    blended, each foreground: (..., D) on one grid; each mask: (..., 1) -> a'_Bl.
    """
    result = blended
    for a_fg, mask in zip(foregrounds, soft, strict=True):
        result = torch.lerp(result, a_fg, mask)
    return result


def visibility(soft: Sequence[Tensor]) -> list[Tensor]:
    """What no later foreground covers: Π_{f>i} (1-soft_f) for every i; masks on one grid, back to front."""
    seen = [torch.ones_like(mask) for mask in soft]
    for index in reversed(range(len(soft) - 1)):
        seen[index] = seen[index + 1] * (1 - soft[index + 1])
    return seen


def feed_back(foreground: Tensor, blended: Tensor, hard: Tensor) -> Tensor:
    """Eq 2: a'_FG = a'_Bl·hard + a_FG(1-hard): (..., D) twice, hard (..., 1).

    Among several foregrounds, `hard` is weighed by `visibility`: what covers an object is no part of it.
    """
    return torch.lerp(foreground, blended, hard)


def resize_map(values: Tensor, grid: Grid, to: Grid) -> Tensor:
    """Resample maps (B, N) from one grid to another (B, N'), bilinearly, averaging where it shrinks."""
    if grid == to:
        return values
    picture = values.reshape(-1, 1, *grid)
    return scaled(picture, to).reshape(values.shape[0], -1)


def level_of(positions: int, latent: Grid) -> int:
    """How often the sides of the latents are halved, rounding up, in a layer with so many positions.

    Raises ValueError when no level fits.
    """
    level, grid = 0, latent
    while grid[0] * grid[1] > max(positions, 1):
        level += 1
        grid = grid_at(latent, level)
    if grid[0] * grid[1] != positions:
        raise ValueError(f"{positions} positions are no level of {latent[0]}x{latent[1]} latents")
    return level


def grid_at(latent: Grid, level: int) -> Grid:
    """The grid of a level: the sides of the latents halved so often, rounding up."""
    return -(-latent[0] // 2**level), -(-latent[1] // 2**level)


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Resampling between k frames of a grid (h, w) and their rectangles on a canvas of a grid (y, x).

    Cells are averaged by area. down (k, y, h) and across (k, x, w) take frames to the canvas, up (k, h, y)
    and back (k, w, x) return; coverage: (k, y, x, 1) in [0, 1]; whole: every frame is the canvas itself;
    cells: by frame the rows and columns of the canvas that it covers.
    """

    down: Tensor
    across: Tensor
    up: Tensor
    back: Tensor
    coverage: Tensor
    whole: bool
    cells: tuple[tuple[slice, slice], ...]

    @classmethod
    def of(
        cls, rectangles: Sequence[Rectangle], frame: Grid, canvas: Grid, device: torch.device
    ) -> Placement:
        """The placement of frames in rectangles of a canvas."""
        covers = [
            (_overlaps(canvas[0], frame[0], top, bottom), _overlaps(canvas[1], frame[1], left, right))
            for left, top, right, bottom in rectangles
        ]
        down, across = (torch.stack(parts).to(device) for parts in zip(*covers, strict=True))
        rows, columns = down.sum(-1, keepdim=True), across.sum(-1, keepdim=True)
        returns = [
            (
                _complete(_overlaps(frame[0], canvas[0], *_seen_from(top, bottom))),
                _complete(_overlaps(frame[1], canvas[1], *_seen_from(left, right))),
            )
            for left, top, right, bottom in rectangles
        ]
        up, back = (torch.stack(parts).to(device) for parts in zip(*returns, strict=True))
        return cls(
            down=down / rows.clamp_min(1e-6),
            across=across / columns.clamp_min(1e-6),
            up=up,
            back=back,
            coverage=(rows * columns.transpose(1, 2))[..., None],
            whole=frame == canvas and all(rectangle == WHOLE for rectangle in rectangles),
            cells=tuple(
                (_span(low[:, 0]), _span(left[:, 0]))
                for low, left in zip(rows.cpu(), columns.cpu(), strict=True)
            ),
        )

    def place(self, frames: Tensor) -> Tensor:
        """Frames' features on the canvas: (..., k, h, w, D) -> (..., k, y, x, D), 0 where nothing is covered.

        A cell that is covered in part holds the features of that part; weigh it by coverage.
        """
        return frames if self.whole else _resample(frames, self.down, self.across)

    def lift(self, canvas: Tensor) -> Tensor:
        """What the canvas holds in each rectangle: (..., k or 1, y, x, D) -> (..., k, h, w, D).

        Where a rectangle reaches beyond the canvas the nearest covered cells are repeated.
        """
        return canvas if self.whole else _resample(canvas, self.up, self.back)

    def place_one(self, frame: int, values: Tensor) -> Tensor:
        """`place` of one frame on its `cells` alone, outside of which it is 0: (..., h, w, D) -> (..., D)."""
        if self.whole:
            return values
        rows, columns = self.cells[frame]
        one = slice(frame, frame + 1)
        return _resample(values.unsqueeze(-4), self.down[one, rows], self.across[one, columns]).squeeze(-4)

    def lift_one(self, frame: int, values: Tensor) -> Tensor:
        """`lift` of one frame from its `cells` of a canvas: (..., rows, columns, D) -> (..., h, w, D)."""
        if self.whole:
            return values
        rows, columns = self.cells[frame]
        one = slice(frame, frame + 1)
        return _resample(values.unsqueeze(-4), self.up[one, :, rows], self.back[one, :, columns]).squeeze(-4)


def _resample(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows (k, i, y) and columns (k, j, x) on values (..., k or 1, y, x, D) -> (..., k, i, j, D)."""
    tall = rows.to(values.dtype) @ values.flatten(-2)
    return columns.to(values.dtype)[:, None] @ tall.unflatten(-1, values.shape[-2:])


def _span(covered: Tensor) -> slice:
    """From the first to the last cell of an axis that a frame covers: shares (cells) -> a slice."""
    cells = covered.nonzero().flatten()
    return slice(int(cells[0]), int(cells[-1]) + 1) if len(cells) else slice(0, 0)


def _seen_from(start: float, end: float) -> tuple[float, float]:
    """Where the unit interval lies in the coordinates of [start, end]."""
    length = max(end - start, 1e-6)
    return -start / length, (1 - start) / length


def _overlaps(cells: int, sources: int, start: float, end: float) -> Tensor:
    """Share of every cell of a unit axis covered by every source cell, the sources spanning [start, end].

    -> (cells, sources); a row sums to the covered share of its cell.
    """
    edges = start + (end - start) * torch.arange(sources + 1, dtype=torch.float64) / sources
    low = torch.arange(cells, dtype=torch.float64)[:, None] / cells
    covered = torch.minimum(edges[None, 1:], low + 1 / cells) - torch.maximum(edges[None, :-1], low)
    return (covered.clamp_min(0) * cells).float()


def _complete(weights: Tensor) -> Tensor:
    """Rows scaled to sum to one; an empty row takes the nearest row that is not."""
    sums = weights.sum(dim=1)
    full = (sums > 1e-6).nonzero().flatten()
    if len(full) == 0:
        return torch.full_like(weights, 1 / weights.shape[1])
    every = torch.arange(len(sums))
    nearest = full[(every[:, None] - full[None, :]).abs().argmin(dim=1)]
    return (weights / sums.clamp_min(1e-6)[:, None])[nearest]
