"""Attention edits: the identity is bit-equal, the tensors are the layer's own, and nothing stays behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.models.hooks import (
    AttentionCall,
    AttentionLayer,
    attention_layers,
    edited_attention,
    identity,
    last_self_attention,
)
from layercli.models.small_unet import SmallUNet
from layercli.models.small_unet_blocks import attend
from tests import tiny


@pytest.fixture(params=tiny.FAMILIES, scope="module")
def unet(request: pytest.FixtureRequest) -> Any:
    return tiny.UNETS[request.param]()


def ask(unet: Any, masked: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    config = unet.config
    x = torch.randn(2, config.in_channels, 16, 16, generator=generator)
    text = torch.randn(2, 7, config.cross_attention_dim, generator=generator)
    extra: dict[str, Any] = {}
    if config.num_class_embeds:
        extra["class_labels"] = torch.tensor([0, 2])
    if config.addition_embed_type == "text_time":
        extra["added_cond_kwargs"] = {"text_embeds": torch.ones(2, 16), "time_ids": torch.ones(2, 6)}
    if masked:
        if isinstance(unet, SmallUNet):
            pytest.skip("it reads every place of a text")
        extra["encoder_attention_mask"] = torch.tensor([[1] * 7, [1] * 3 + [0] * 4])
    with torch.no_grad():
        return unet(x, torch.tensor([500, 500]), text, **extra).sample


def by_hand(call: AttentionCall) -> Tensor:
    """Attention computed from the tensors an edit gets, without diffusers' processor."""
    query, key, value = call.heads()
    return call.project(call.attend(query, key, value, call.bias()))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("edit", [identity, by_hand])
def test_edits_that_change_nothing_are_bit_equal(unet: Any, edit: Any, masked: bool) -> None:
    before = ask(unet, masked)
    with edited_attention(unet, edit):
        assert torch.equal(ask(unet, masked), before)
    assert torch.equal(ask(unet, masked), before)


def test_an_edit_that_changes_something_is_seen_and_gone_afterwards(unet: Any) -> None:
    before = ask(unet)
    with edited_attention(unet, lambda call: call.output() * 0.5):
        assert not torch.allclose(ask(unet), before)
    assert torch.equal(ask(unet), before)


def test_the_very_processors_come_back_also_when_the_body_raises(unet: Any) -> None:
    before = dict(unet.attn_processors)
    with pytest.raises(RuntimeError, match="in the body"), edited_attention(unet, identity):
        assert all(p not in (*before.values(), attend) for p in unet.attn_processors.values())
        raise RuntimeError("in the body")
    after = unet.attn_processors
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_the_very_processors_come_back_when_an_edit_raises(unet: Any) -> None:
    before = dict(unet.attn_processors)

    def broken(call: AttentionCall) -> Tensor:
        raise RuntimeError(call.layer.name)

    with pytest.raises(RuntimeError, match="attn1"), edited_attention(unet, broken):
        ask(unet)
    assert all(unet.attn_processors[name] is before[name] for name in before)


def test_edits_nest(unet: Any) -> None:
    with edited_attention(unet, lambda call: call.output() * 0.25):
        expected = ask(unet)
    with edited_attention(unet, lambda call: call.output() * 0.5):
        with edited_attention(unet, lambda call: call.output() * 0.5):
            assert torch.equal(ask(unet), expected)
        inner_gone = ask(unet)
    assert not torch.allclose(inner_gone, expected)


def test_layers_are_listed_in_the_order_they_run(unet: Any) -> None:
    seen: list[AttentionLayer] = []

    def note(call: AttentionCall) -> Tensor:
        seen.append(call.layer)
        assert (call.text is not None) == call.layer.cross
        return call.output()

    with edited_attention(unet, note) as layers:
        ask(unet)
    assert tuple(seen) == layers == attention_layers(unet)
    assert [layer.index for layer in layers] == list(range(len(layers)))
    assert [layer.cross for layer in layers] == [False, True] * (len(layers) // 2)
    assert [layer.block for layer in layers] == [i // 2 for i in range(len(layers))]
    last = last_self_attention(layers)
    assert last.name.startswith("up_blocks") and last.index == len(layers) - 2
