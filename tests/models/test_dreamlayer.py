"""The adapter on real networks: nothing at first, nothing left behind, every equation against a plain sum."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.diffusion.attention import minmax, probabilities
from layercli.diffusion.context import carry, context_loss, context_map, layout_loss, span_attention
from layercli.models.dreamlayer import DreamLayer, Rules, Settings, context_level
from layercli.models.dreamlayer_text import layered_denoiser, layered_text, written
from layercli.models.family import Model
from layercli.models.frames import Frames, LayerPrompts
from tests import tiny

CAT = LayerPrompts(
    background="a meadow", foregrounds=("a cat", "a red ball"), whole="a cat and a red ball, a meadow"
)
SMALL = Settings(rank=4, width=16, heads=2, refiners=1, tune=2)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


def noisy(model: Model, frames: Frames, seed: int = 0) -> Tensor:
    shape = model.latent_shape(model.native_size)
    count = frames.pictures * frames.each
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed))


def trained(adapter: DreamLayer) -> DreamLayer:
    """Every parameter somewhere else than where it began."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return adapter


def asked(model: Model, adapter: DreamLayer, t: int, rules: Rules | None = None) -> tuple[Tensor, Tensor]:
    """The network's answer without and with an adapter, for the same text."""
    with torch.no_grad():
        text = layered_text(model, adapter, [CAT, LayerPrompts.empty(2)], model.native_size)
        x, times = noisy(model, text.frames), torch.full((8,), t)
        plain = model.denoiser(text.conditioning)(x, times)
        with adapter.injected(model.unet, rules) as injection:
            return plain, layered_denoiser(model, injection, text)(x, times)


@pytest.mark.parametrize("t", [100, 900])
def test_a_fresh_adapter_leaves_the_network_bit_equal(model: Model, t: int) -> None:
    plain, adapted = asked(model, DreamLayer(model.unet, SMALL), t)
    assert torch.equal(plain, adapted)


@pytest.mark.parametrize("rules", [Rules(), Rules(extra=False)])
def test_multiplied_out_it_is_the_same_function(model: Model, rules: Rules) -> None:
    """Where nothing learns, the added keys and values are part of the base's projections."""
    adapter = trained(DreamLayer(model.unet, SMALL))
    apart = asked(model, adapter, 900, rules)[1]
    together = asked(model, adapter.requires_grad_(False), 900, rules)[1]
    assert not torch.equal(together, apart)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-4)


def test_the_network_is_itself_again_also_when_the_body_raises(model: Model) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    before = dict(model.unet.attn_processors)  # type: ignore[arg-type]
    weights = [parameter.clone() for parameter in model.unet.parameters()]
    plain, adapted = asked(model, adapter, 900)
    assert not torch.allclose(plain, adapted)
    with pytest.raises(RuntimeError, match="in the body"), adapter.injected(model.unet):
        raise RuntimeError("in the body")
    assert torch.equal(asked(model, adapter, 900)[0], plain)
    assert all(model.unet.attn_processors[name] is before[name] for name in before)  # type: ignore[index]
    assert all(torch.equal(a, b) for a, b in zip(weights, model.unet.parameters(), strict=True))


@pytest.mark.parametrize("rule", ["refine", "share", "carry", "extra"])
def test_every_rule_can_be_switched_off(model: Model, rule: str) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    _, whole = asked(model, adapter, 900)
    _, without = asked(model, adapter, 900, dataclasses.replace(Rules(), **{rule: False}))
    assert not torch.allclose(whole, without)


def test_features_are_carried_above_the_threshold_alone(model: Model) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    for t, same in ((849, True), (850, False)):
        _, carried = asked(model, adapter, t)
        _, not_carried = asked(model, adapter, t, Rules(carry=False))
        assert torch.equal(carried, not_carried) == same


def test_features_are_carried_without_sharing_too(model: Model) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    for t, same in ((849, True), (850, False)):
        _, carried = asked(model, adapter, t, Rules(share=False))
        _, neither = asked(model, adapter, t, Rules(share=False, carry=False))
        assert torch.equal(carried, neither) == same


def test_context_maps_are_read_at_another_level() -> None:
    model = tiny.embedded()
    adapter = trained(DreamLayer(model.unet, SMALL))
    own = asked(model, adapter, 900, Rules(refine=False))[1]
    assert torch.equal(asked(model, adapter, 900, Rules(refine=False, level=1))[1], own)
    coarse = asked(model, adapter, 900, Rules(level=2))[1]
    assert not torch.allclose(coarse, own)
    assert torch.equal(asked(model, adapter, 900, Rules(refine=False, level=2))[1], coarse)
    with pytest.raises(LayercliError, match="at level 0") as caught:
        asked(model, adapter, 900, Rules(level=0))
    assert "There are: 1, 2." in caught.value.hint


def test_pictures_of_a_batch_do_not_see_each_other(model: Model) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    with torch.no_grad(), adapter.injected(model.unet) as injection:
        text = layered_text(model, adapter, [CAT, CAT], model.native_size)
        x, times = noisy(model, text.frames), torch.full((8,), 900)
        denoise = layered_denoiser(model, injection, text)
        first, other = denoise(x, times), x.clone()
        other[4:] = 0
        assert torch.allclose(denoise(other, times)[:4], first[:4], atol=1e-5)
        other = x.clone()
        other[1] = 0  # but frames of one picture do
        assert not torch.allclose(denoise(other, times)[0], first[0], atol=1e-5)


def test_gradients_reach_every_parameter(model: Model) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    text = layered_text(model, adapter, [CAT], model.native_size)
    x = noisy(model, text.frames)
    with adapter.injected(model.unet) as injection:
        out = layered_denoiser(model, injection, text)(x, torch.full((4,), 900))
        l_c, l_layout = injection.losses(torch.rand(1, 2, *x.shape[2:]))
    (out.square().mean() + l_c + l_layout).backward()
    unreached = {
        name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    }
    assert unreached == set()
    assert adapter.gates.grad is not None and adapter.gates.grad.abs().min() > 0
    assert adapter.assign.grad is not None
    assert (adapter.assign.grad.abs().sum(dim=1) > 0).tolist() == [True] * 3 + [False] * 4
    assert all(p.grad is None for p in model.unet.parameters())


def test_the_losses_begin_to_fall(model: Model) -> None:
    """A few steps on one picture bring the context maps nearer to the alphas."""
    torch.manual_seed(0)
    adapter = DreamLayer(model.unet, SMALL)
    side = model.latent_shape(model.native_size)[1:]
    alphas = torch.zeros(1, 2, *side)
    alphas[:, 0, : side[0] // 2], alphas[:, 1, :, side[1] // 2 :] = 1, 1
    optimizer = torch.optim.Adam(adapter.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        text = layered_text(model, adapter, [CAT], model.native_size)
        with adapter.injected(model.unet) as injection:
            layered_denoiser(model, injection, text)(noisy(model, text.frames), torch.full((4,), 500))
            loss = sum(injection.losses(alphas))
        losses.append(loss.item())  # type: ignore[union-attr]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_an_adapter_comes_back_from_its_folder(model: Model, tmp_path: Path) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    loaded = DreamLayer.load(adapter.save(tmp_path / "a"), model.unet)
    assert loaded.settings == SMALL
    for (name, one), (_, two) in zip(adapter.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.allclose(one, two, atol=2e-3), name
    file = tmp_path / "a" / "adapter.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LayercliError, match=r"adapter\.safetensors"):
        DreamLayer.load(tmp_path / "a", model.unet)


def test_an_adapter_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = DreamLayer(tiny.embedded_unet(), SMALL).save(tmp_path / "a")
    with pytest.raises(LayercliError, match="another network"):
        DreamLayer.load(folder, tiny.sd15_unet())
    with pytest.raises(LayercliError) as caught:
        DreamLayer.load(tmp_path / "none", tiny.sd15_unet())
    assert "layercli train dreamlayer" in caught.value.hint


def test_the_real_shapes_keep_to_what_a_repository_takes() -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from layercli.models.embedded_network import embedded_unet

    with torch.device("meta"):
        sd15 = UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=768,
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=8,
        )
        shapes = {"sd15": sd15, "embedded": embedded_unet(12, (96, 160, 192))}
        for unet in shapes.values():
            assert 2 * sum(p.numel() for p in DreamLayer(unet).parameters()) < 16 * 2**20
    assert {name: context_level(unet) for name, unet in shapes.items()} == {"sd15": 2, "embedded": 1}


def test_equation_4_sums_words_and_heads_and_stretches() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 2, n, 3, generator=generator) for n in (5, 4))
    attention = probabilities(query, key)[:, None]
    spans = torch.tensor([[[0.0, 1, 1, 0], [0, 0, 0, 0]]])
    summed = span_attention(attention, spans)
    by_hand = torch.stack([sum(attention[0, 0, j, n, s] for j in range(2) for s in (1, 2)) for n in range(5)])
    assert torch.allclose(summed[0, 0], by_hand)
    found = context_map(summed)
    assert torch.allclose(found[0, 0], (by_hand - by_hand.min()) / (by_hand.max() - by_hand.min()))
    assert torch.equal(found[0, 1], torch.zeros(5))


def test_equations_6_and_7_against_plain_numbers() -> None:
    whole = torch.tensor([[[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])
    truth = torch.tensor([[[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]])
    assert context_loss(whole, truth, torch.ones(1, 2)).item() == pytest.approx(0.5 + 1.0)
    assert context_loss(whole, truth, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.5)
    assert layout_loss(whole, truth, torch.ones(1, 2)).item() == pytest.approx(1.5)
    assert layout_loss(whole, whole, torch.ones(1, 2)).item() == 0


def test_equation_9_takes_the_whole_where_the_map_is() -> None:
    front, whole = torch.zeros(1, 2, 3, 2), torch.ones(1, 1, 3, 2)
    weights = torch.tensor([[[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]]])
    assert torch.equal(carry(front, whole, weights), weights[..., None].expand(-1, -1, -1, 2))
    assert torch.equal(minmax(weights), weights)


@pytest.mark.parametrize(
    ("whole", "layers", "room", "expected"),
    [
        ([1, 2, 9, 3], [[3], [1, 2]], 8, [(1, 0), (1, 1), (-1, 2), (0, 0)]),  # both are found
        ([9, 2], [[3], [1, 2]], 8, [(-1, 0), (-1, 1), (1, 0), (1, 1), (0, 0)]),  # "1 2" is no part of "9 2"
        ([1, 1], [[], [1], [1]], 8, [(1, 0), (2, 0)]),  # the same words twice: each its own place
        ([9, 9, 1, 2], [[3], [1, 2]], 3, [(1, 0), (1, 1), (0, 0)]),  # the whole's own words go first
        ([], [[3, 4], [1, 2, 5]], 4, [(1, 0), (1, 1), (0, 0), (0, 1)]),  # then the end of the longest
        ([], [[], []], 4, []),
    ],
)
def test_layers_words_are_written_into_the_wholes(whole: Any, layers: Any, room: int, expected: Any) -> None:
    assert written(whole, layers, room) == expected


def test_the_wholes_text_holds_the_layers_own_tokens(model: Model) -> None:
    adapter = trained(DreamLayer(model.unet, SMALL))
    text = layered_text(model, adapter, [CAT], model.native_size)
    tokens = text.conditioning.tokens
    assert text.spans.sum(dim=-1).min() > 0
    for index in range(2):
        in_whole = tokens[3][text.spans[0, index] > 0]
        alone = tokens[1 + index][text.own[0, index] > 0]
        assert torch.equal(in_whole, alone[: len(in_whole)])
    plain = model.encode_text(["a cat"], ["foreground"], model.native_size).tokens[0]
    changed = (tokens[1, : len(plain)] != plain).any(dim=-1)
    assert torch.equal(changed, text.own[0, 0, : len(plain)] > 0)
    assert not text.own[0, 0, len(plain) :].any()


def test_empty_texts_stay_empty(model: Model) -> None:
    adapter = DreamLayer(model.unet, SMALL)
    text = layered_text(model, adapter, [LayerPrompts.empty(2)], model.native_size)
    plain = model.encode_text([""] * 4, text.frames.kinds, model.native_size)
    assert torch.equal(text.conditioning.tokens, plain.tokens) and not text.spans.any() and not text.own.any()
