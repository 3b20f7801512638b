"""Queries that take turns give what all of them give at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion import dot_product
from layercli.diffusion.dot_product import dot_product_attention, in_turns

BIASES = {
    "none": None,
    "of keys": torch.randn(2, 1, 1, 11, generator=torch.Generator().manual_seed(4)),
    "of each query": torch.randn(1, 1, 7, 11, generator=torch.Generator().manual_seed(5)),
    "left out": torch.arange(11)[None, None, None] < 8,
}


@pytest.mark.parametrize("bias", BIASES.values(), ids=BIASES)
@pytest.mark.parametrize("most", [1, 2 * 3 * 11 * 4 * 3, 1 << 30])
def test_turns_change_nothing(bias: Tensor | None, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (
        torch.randn(2, 3, rows, 4, generator=torch.Generator().manual_seed(rows + number))
        for number, rows in enumerate((7, 11, 11))
    )
    whole = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    assert torch.equal(dot_product_attention(query, key, value, bias), whole)
    asked: list[int] = []
    plain = F.scaled_dot_product_attention

    def watched(part: Tensor, *more: Tensor, **settings: Tensor) -> Tensor:
        asked.append(part.shape[2])
        return plain(part, *more, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    monkeypatch.setattr(dot_product, "MOST", most)
    torch.testing.assert_close(in_turns(query, key, value, bias), whole)
    assert asked == {1: [1] * 7, 792: [3, 3, 1]}.get(most, [7])
