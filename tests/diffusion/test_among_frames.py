"""Attention among frames: the same function as torch's own on positions as sequences."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from layercli.diffusion.among_frames import attention_among, positions_first, positions_last


@pytest.mark.parametrize(("frames", "heads"), [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_every_position_attends_to_itself_in_all_frames(frames: int, heads: int) -> None:
    torch.manual_seed(frames)
    pictures, positions, width, channels = 2, 9, 10, 4 * heads
    x = torch.randn(pictures * frames, positions, width)
    told, answer = torch.nn.Linear(width, 3 * channels), torch.nn.Linear(channels, width)

    def by_position(features: torch.Tensor) -> torch.Tensor:  # (P·F, N, D) -> (P·N, H, F, d)
        apart = features.unflatten(0, (pictures, frames)).transpose(1, 2).flatten(0, 1)
        return apart.unflatten(-1, (heads, -1)).transpose(1, 2)

    wanted = F.scaled_dot_product_attention(*map(by_position, told(x).chunk(3, dim=-1)))
    wanted = wanted.transpose(1, 2).flatten(2).unflatten(0, (pictures, positions)).transpose(1, 2)
    last = positions_last(x, told.weight, told.bias).unflatten(0, (pictures, frames))
    mixed = attention_among(*last.unflatten(2, (3, heads, -1)).unbind(2))
    assert mixed.shape == (pictures, frames, heads, 4, positions)
    found = positions_first(mixed.flatten(0, 1).flatten(1, 2), answer.weight, answer.bias)
    torch.testing.assert_close(found, answer(wanted).flatten(0, 1), atol=1e-5, rtol=1e-5)
