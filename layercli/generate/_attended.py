"""Where a network's own self-attention looks: the masks of self-attention guidance (SAG).

Hong et al. 2023 (ICCV), section 4.2: the guidance that LayerDiff holds its self-mask guidance against.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion.attention import Grid, grid_at, level_of, probabilities
from layercli.models.hooks import AttentionCall, edited_attention

PSI = 1.0
"""ψ: how much more than the mean a position must be looked at (their default)."""


class Attended:
    """Reads, and changes nothing: how much every position of the middle block is looked at."""

    def __init__(self) -> None:
        self._seen: Tensor | None = None

    def __call__(self, call: AttentionCall) -> Tensor:
        """The edit of an attention layer."""
        if call.layer.name.startswith("mid_block") and not call.layer.cross:
            query, key, _ = call.heads()
            self._seen = probabilities(query, key).mean(dim=1).sum(dim=1)  # heads, then who looks: (B, N)
        return call.output()

    def masks(self, rows: int, grid: Grid) -> Tensor:
        """1 where the last rows of the last call were looked at more than by chance: (rows, 1, h, w)."""
        if self._seen is None:
            raise RuntimeError("the network was not asked")
        seen = self._seen[-rows:].float()
        marked = (seen > PSI * seen.mean(dim=1, keepdim=True)).float()
        small = grid_at(grid, level_of(seen.shape[1], grid))
        return F.interpolate(marked.unflatten(1, small)[:, None], size=grid, mode="nearest")


@contextmanager
def attended(unet: Any) -> Iterator[Attended]:
    """Watch a network while the body runs."""
    edit = Attended()
    with edited_attention(unet, edit):
        yield edit
