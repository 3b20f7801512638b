"""Attention itself, on every device.

Apple's GPUs hold the logits of all queries at once: where these take more than 4 GiB, many versions of their
system end the program. There queries take turns; each one's answer is its own, so that nothing changes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOST = 1 << 30
"""Bytes of logits that are held at once on a device that holds them."""


def dot_product_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d + bias) V of every head: (B, H, N, d), twice (B, H, M, d) -> (B, H, N, d).

    bias: broadcast to (B, H, N, M), or None; bool leaves out what is False.
    """
    if query.device.type != "mps":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return in_turns(query, key, value, bias)


def in_turns(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same, of so many queries at a time that their logits take no more than MOST bytes."""
    each = query.shape[0] * query.shape[1] * key.shape[2] * query.element_size()
    parts = query.split(max(1, MOST // each), dim=2)
    biases = [bias] * len(parts)
    if bias is not None and bias.shape[-2] > 1:
        biases = list(bias.split(parts[0].shape[2], dim=-2))
    answers = [
        F.scaled_dot_product_attention(part, key, value, attn_mask=own)
        for part, own in zip(parts, biases, strict=True)
    ]
    return answers[0] if len(answers) == 1 else torch.cat(answers, dim=2)
