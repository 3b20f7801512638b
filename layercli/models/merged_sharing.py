"""Attention sharing multiplied out: a layer's low-rank parts and chains of projections as single products.

The same function as SharingUnit's (Zhang and Agrawala 2024), for sampling alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layercli.diffusion.among_frames import attention_among, positions_first, positions_last
from layercli.diffusion.dot_product import dot_product_attention

Weights = tuple[Tensor, Tensor | None]
"""(frames, D, D') and (frames, 1, D') or None: what each frame's features are multiplied with, and added."""


_ROWS = 2**15


class MergedUnit:
    """A SharingUnit with all that is linear multiplied out beforehand.

    A frame's weights are the base's with its low-rank part added, those across frames W_q·W_i, W_k·W_i and
    W_v·W_i in one. Frames come first in every tensor, so that each is one product with weights of its own.
    """

    def __init__(self, unit: Any, base: Any, cross: bool) -> None:
        self._unit, self._heads = unit, base.heads
        query, key, value = (
            _merged(projection, parts)
            for projection, parts in (
                (base.to_q, unit.to_q_lora), (base.to_k, unit.to_k_lora), (base.to_v, unit.to_v_lora),
            )
        )  # fmt: skip
        self._asks = query if cross else _side_by_side(query, key, value)
        self._tells = _side_by_side(key, value) if cross else None
        self._answers = _merged(base.to_out[0], unit.to_out_lora)
        first = unit.temporal_i
        wide = [layer.weight.float() for layer in (unit.temporal_q, unit.temporal_k, unit.temporal_v)]
        narrow = [layer.bias.float() for layer in (unit.temporal_q, unit.temporal_k, unit.temporal_v)]
        weight = torch.cat([w @ first.weight.float() for w in wide])
        bias = torch.cat([w @ first.bias.float() + b for w, b in zip(wide, narrow, strict=True)])
        self._across = weight.to(first.weight), bias.to(first.weight)

    def read(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a text (P, frames, L, E): (frames, P, L, D) each."""
        assert self._tells is not None
        key, value = _products(text.transpose(0, 1), self._tells).chunk(2, dim=-1)
        return key, value

    def __call__(self, x: Tensor, read: tuple[Tensor, Tensor] | None, bias: Tensor | None) -> Tensor:
        """What the unit adds to x (P, frames, N, D); read: of the text, None for self-attention.

        bias: as the unit's own.
        """
        y = x.transpose(0, 1).contiguous()
        asked = _products(y, self._asks)
        query, key, value = asked.chunk(3, dim=-1) if read is None else (asked, *read)
        seen = None if bias is None else bias.transpose(0, 1)
        own = _products(attended(query, key, value, self._heads, seen), self._answers)
        seen_by_all = self._unit.temporal_n(y + own).flatten(0, 1)
        across = positions_last(seen_by_all, *self._across).unflatten(0, y.shape[:2])
        by_head = across.unflatten(2, (3, self._heads, -1)).transpose(0, 1)  # (P, frames, 3, H, d, N)
        met = attention_among(*by_head.unbind(2)).flatten(2, 3)
        last = self._unit.temporal_o
        back = positions_first(met.flatten(0, 1), last.weight, last.bias).unflatten(0, met.shape[:2])
        return own.transpose(0, 1) + back


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Multi-head attention along the last but one axis: (A, B, N, D) and (A, B, M, D) twice -> (A, B, N, D).

    A and B become one on the way: torch has fast attention for four axes alone, and on a GPU for no more
    than 65,535 rows at a time.
    """
    q, k, v = (x.flatten(0, 1).unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    rows = [slice(start, start + _ROWS) for start in range(0, len(q), _ROWS)]
    seen: list[Tensor | None] = (
        [None] * len(rows) if bias is None else [bias.flatten(0, 1)[part] for part in rows]
    )
    parts = [
        dot_product_attention(q[part], k[part], v[part], mask) for part, mask in zip(rows, seen, strict=True)
    ]
    mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
    return mixed.transpose(1, 2).flatten(2).unflatten(0, query.shape[:2])


def _merged(layer: nn.Linear, parts: Any) -> Weights:
    """The base's projection with each frame's low-rank part added, W + up·down."""
    like = parts[0].up.weight
    own = torch.stack([part.added_to(layer.weight) for part in parts])
    bias = None if layer.bias is None else layer.bias.to(like).expand(len(parts), 1, -1)
    return own.transpose(1, 2).contiguous().to(like.dtype), bias


def _side_by_side(*weights: Weights) -> Weights:
    """Several projections of the same features as one."""
    biases = [bias for _, bias in weights if bias is not None]
    return torch.cat([weight for weight, _ in weights], dim=-1), torch.cat(biases, dim=-1) if biases else None


def _products(x: Tensor, weights: Weights) -> Tensor:
    """Each frame's features through its own weights: (frames, P, N, D) -> (frames, P, N, D')."""
    weight, bias = weights
    flat = x.flatten(1, 2)
    result = torch.bmm(flat, weight) if bias is None else torch.baddbmm(bias, flat, weight)
    return result.unflatten(1, x.shape[1:3])
