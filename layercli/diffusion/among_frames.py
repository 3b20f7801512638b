"""Attention among a few frames, at every position by itself.

To torch's own attention each position would be a sequence of two or three tokens, for which it is slow. Here
positions lie last in memory and are computed side by side; products put them there, so that nothing is
copied. Shapes: P pictures, F frames, H heads of d channels, N positions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def positions_last(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map whose answer has positions last: x (B, N, D), weight (D', D) -> (B, D', N).

    bias: (D') or (B, D').
    """
    return torch.baddbmm(bias[..., None], weight.expand(len(x), -1, -1), x.transpose(1, 2))


def positions_first(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map of what has positions last: x (B, D', N), weight (D, D'), bias (D) -> (B, N, D)."""
    return torch.baddbmm(bias, x.transpose(1, 2), weight.t().expand(len(x), -1, -1))


def attention_among(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(QKᵀ/√d) V over the frames of each position: (P, F, H, d, N) three times -> the same."""
    mixed = []
    for q in query.unbind(1):  # one frame's, (P, H, d, N)
        logits = (q[:, None] * key).sum(dim=3, keepdim=True) * q.shape[2] ** -0.5  # (P, F, H, 1, N)
        mixed.append((torch.softmax(logits, dim=1) * value).sum(dim=1))
    return torch.stack(mixed, dim=1)
