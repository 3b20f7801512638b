"""The adapter on real networks: nothing at first, nothing left behind, layers that see their own picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.models.family import Model
from layercli.models.frames import LayerPrompts
from layercli.models.layerdiff import LayerDiff, Rules, Settings
from layercli.models.layerdiff_text import (
    layer_denoiser,
    layer_masks,
    layer_text,
    negative_texts,
)
from tests import tiny

CAT = LayerPrompts(
    background="a meadow", foregrounds=("a cat", "a red ball"), whole="a cat on a meadow", style="flat"
)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


def fresh(model: Model) -> LayerDiff:
    torch.manual_seed(0)
    return LayerDiff(model.unet, Settings(masks=not model.alpha, width=8, heads=2, rank=2, tune=2))


def trained(model: Model) -> LayerDiff:
    """Every parameter somewhere else than where it began."""
    adapter = fresh(model)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return adapter


def noisy(model: Model, adapter: LayerDiff, count: int) -> Tensor:
    channels, *grid = model.latent_shape(model.native_size)
    shape = (count, channels * (1 if adapter.masks is None else 2), *grid)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def asked(model: Model, adapter: LayerDiff, rules: Rules | None = None) -> tuple[Tensor, Tensor]:
    """The network's answer without and with an adapter, each layer at a time of its own."""
    channels = model.latent_shape(model.native_size)[0]
    with torch.no_grad():
        text = layer_text(model, adapter, [CAT, LayerPrompts.empty(2)], model.native_size, rules)
        x, times = noisy(model, adapter, 6), torch.tensor([10, 300, 999, 500, 500, 500])
        plain = model.denoiser(text.conditioning)(x[:, :channels], times)
        with adapter.injected(model.unet, rules) as injection:
            return plain, layer_denoiser(model, injection, text)(x, times)


def test_a_fresh_adapter_leaves_the_network_bit_equal(model: Model) -> None:
    adapter = fresh(model)
    plain, adapted = asked(model, adapter)
    assert torch.equal(plain, adapted[:, : plain.shape[1]])
    if adapter.masks is not None:  # the masks' output begins as the pictures'
        assert torch.equal(adapted[:, plain.shape[1] :], plain)


def test_the_network_is_itself_again_also_when_the_body_raises(model: Model) -> None:
    adapter = trained(model)
    plain, adapted = asked(model, adapter)
    assert not torch.allclose(plain, adapted[:, : plain.shape[1]])
    with pytest.raises(RuntimeError, match="in the body"), adapter.injected(model.unet):
        raise RuntimeError("in the body")
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.unet.modules())
    assert torch.equal(asked(model, adapter)[0], plain)


@pytest.mark.parametrize(
    "rule", [{"inter": False}, {"intra": False}, {"feed": False}, {"enhance": "self"}, {"enhance": "none"}]
)
def test_every_rule_can_be_switched_off(model: Model, rule: dict[str, Any]) -> None:
    adapter = trained(model)
    _, whole = asked(model, adapter)
    _, without = asked(model, adapter, dataclasses.replace(Rules(), **rule))
    assert not torch.allclose(whole, without)


def test_mask_latents_enter_by_the_scalar_alone(model: Model) -> None:
    adapter = trained(model)
    _, injected = asked(model, adapter)
    _, closed = asked(model, adapter, Rules(inject=False))
    if adapter.masks is None:
        assert model.alpha and torch.equal(injected, closed)
        return
    assert not torch.allclose(injected, closed)
    with torch.no_grad():
        adapter.masks.scalar.zero_()
    assert torch.equal(asked(model, adapter)[1], closed)


def test_layers_of_a_picture_see_each_other_and_no_other_picture(model: Model) -> None:
    adapter = trained(model)
    with torch.no_grad(), adapter.injected(model.unet) as injection:
        text = layer_text(model, adapter, [CAT, CAT], model.native_size)
        x, times = noisy(model, adapter, 6), torch.full((6,), 500)
        denoise = layer_denoiser(model, injection, text)
        first, other = denoise(x, times), x.clone()
        other[3:] = 0
        assert torch.allclose(denoise(other, times)[:3], first[:3], atol=1e-5)
        other = x.clone()
        other[2] = 0
        assert not torch.allclose(denoise(other, times)[0], first[0], atol=1e-5)
    with torch.no_grad(), adapter.injected(model.unet, Rules(inter=False)) as injection:
        denoise = layer_denoiser(model, injection, text)
        assert torch.allclose(denoise(other, times)[0], denoise(x, times)[0], atol=1e-5)


def test_inter_layer_attention_stays_at_its_position() -> None:
    """What one position of one layer holds reaches the same position of the others, and no other."""
    torch.manual_seed(0)
    unet = tiny.sd15_unet()
    adapter = LayerDiff(unet, Settings(width=8, heads=2, rank=2))
    block = adapter.blocks[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        from layercli.models.frames import Frames

        frames = Frames(pictures=1, foregrounds=2, whole=False)
        width = block.norm_inter.normalized_shape[0]
        x, text = torch.randn(3, 5, width), torch.randn(3, 4, 16)
        base = unet.get_submodule(f"{adapter.places[0]}.attn2")
        rules, told = Rules(intra=False, feed=False), block.reads(text, base)
        before, changed = block(x, frames, told, base, rules), x.clone()
        changed[2, 3] += torch.randn(width)
        moved = (block(changed, frames, told, base, rules) - before).abs().sum(dim=-1) > 1e-6
    assert moved[:, 3].all() and not moved[:, [0, 1, 2, 4]].any()


def test_gradients_reach_every_parameter(model: Model) -> None:
    adapter = trained(model)
    text = layer_text(model, adapter, [CAT], model.native_size)
    with adapter.injected(model.unet) as injection:
        out = layer_denoiser(model, injection, text)(noisy(model, adapter, 3), torch.tensor([10, 500, 900]))
    out.square().mean().backward()
    unreached = {
        name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    }
    assert unreached == set()
    assert all(p.grad is None for p in model.unet.parameters())


def test_the_enhancer_reads_the_whole_and_ignores_padding(model: Model) -> None:
    adapter = trained(model)
    with torch.no_grad():
        one = layer_text(model, adapter, [CAT], model.native_size)
        other = layer_text(model, adapter, [dataclasses.replace(CAT, whole="a dog")], model.native_size)
        assert not torch.allclose(one.tokens, other.tokens)
        assert torch.equal(one.conditioning.tokens, other.conditioning.tokens)
        self_only = Rules(enhance="self")
        one = layer_text(model, adapter, [CAT], model.native_size, self_only)
        other = layer_text(
            model, adapter, [dataclasses.replace(CAT, whole="a dog")], model.native_size, self_only
        )
        assert torch.equal(one.tokens, other.tokens)
        whole = layer_text(model, adapter, [CAT], model.native_size, own_text="whole")
        assert torch.equal(whole.conditioning.tokens[0], whole.conditioning.tokens[1])


def test_an_adapter_comes_back_from_its_folder(model: Model, tmp_path: Path) -> None:
    adapter = trained(model)
    loaded = LayerDiff.load(adapter.save(tmp_path), model.unet)
    assert loaded.settings == adapter.settings
    for (name, one), (_, two) in zip(adapter.named_parameters(), loaded.named_parameters(), strict=True):
        assert torch.allclose(one, two, atol=2e-3), name
    from layercli.models.dreamlayer import DreamLayer

    with pytest.raises(LayercliError, match="of the kind layerdiff"):
        DreamLayer.load(tmp_path, model.unet)


def test_the_real_shapes_keep_to_what_a_repository_takes() -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from layercli.models.embedded_network import embedded_unet

    with torch.device("meta"):
        sd15 = UNet2DConditionModel(
            cross_attention_dim=768, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=8
        )
        for unet in (sd15, embedded_unet(12, (96, 160, 192))):
            adapter = LayerDiff(unet, Settings(masks=unet is sd15))
            assert 2 * sum(p.numel() for p in adapter.parameters()) < 16 * 2**20


def test_masks_come_from_alpha_or_from_their_own_latents(model: Model) -> None:
    channels, *grid = model.latent_shape(model.native_size)
    if model.alpha:
        pictures = torch.zeros(3, 4, model.native_size.height, model.native_size.width)
        pictures[0, 3] = pictures[2, 3, :, : model.native_size.width // 2] = 1
        found = layer_masks(model, model.encode(pictures), channels)
        assert found.shape == (3, *grid)
    else:
        found = layer_masks(model, torch.randn(3, 2 * channels, *grid), channels)
        assert found.shape == (3, model.native_size.height, model.native_size.width)
    assert torch.equal(found.sum(dim=0), torch.ones(found.shape[1:]))


def test_what_a_layer_shall_not_show_is_what_the_others_show() -> None:
    negative = negative_texts(CAT, "blur")
    assert negative.background == negative.whole == "a cat and a red ball, blur"
    assert negative.foregrounds == ("a meadow, blur",) * 2
    assert negative_texts(CAT).foregrounds == ("a meadow",) * 2
