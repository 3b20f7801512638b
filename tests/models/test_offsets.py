"""Offsets of SDXL's weights: every name maps, the namings agree, the base stays, wrong files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.models.layerdiffuse_shapes import Shapes, low_rank_offsets, whole_offsets
from layercli.models.ldm_names import parameter_names
from layercli.models.offsets import covered, offsets_in, read_offsets, with_offsets
from layercli.models.published import SD15_UNET, SDXL_UNET, sd15_unet, sdxl_unet
from tests import tiny
from tests.models.test_transparency import saved

HERE = Path("file.safetensors")


@pytest.mark.parametrize(("build", "settings"), [(sd15_unet, SD15_UNET), (sdxl_unet, SDXL_UNET)])
def test_every_parameter_has_the_name_that_diffusers_converts(build: Any, settings: Any) -> None:
    with torch.device("meta"):
        unet = build()
    names = parameter_names(unet)
    assert sorted(names.values()) == sorted(unet.state_dict()) and len(set(names.values())) == len(names)
    marks = {f"model.diffusion_model.{theirs}": torch.tensor(i) for i, theirs in enumerate(names)}
    config = {"layers_per_block": 2, "class_embed_type": None, "addition_embed_type": None} | dict(settings)
    converted = convert_ldm_unet_checkpoint(marks, config)
    assert {name: int(mark) for name, mark in converted.items()} == {
        ours: i for i, ours in enumerate(names.values())
    }


def test_the_published_names_are_among_them() -> None:
    with torch.device("meta"):
        unet = sdxl_unet()
    keys = low_rank_offsets(unet)
    assert keys["diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight::lora::0"] == (
        640,
        256,
    )
    assert keys["diffusion_model.output_blocks.2.1.transformer_blocks.9.attn2.to_k.weight::lora::1"] == (
        256,
        2048,
    )
    assert len(keys) == 2 * 8 * 70
    assert (
        whole_offsets(unet, "convolutions", given=1)["diffusion_model.input_blocks.0.0.weight::diff::0"][1]
        == 8
    )
    assert whole_offsets(unet, "all", given=2)["diffusion_model.input_blocks.0.0.weight::diff::0"][1] == 12


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny.sdxl_unet().requires_grad_(False)


def random(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def renamed(tensors: dict[str, Tensor], unet: Any, spelling: str) -> dict[str, Tensor]:
    """Low-rank offsets under another converter's names; spelling: with {layer}, {part} and {place}."""
    names, renamed = parameter_names(unet), {}
    for key, value in tensors.items():
        theirs, way = key.removeprefix("diffusion_model.").split("::", 1)
        layer, _, part = names[theirs].removesuffix(".weight").rpartition(".to_")
        up = way == "lora::0"
        renamed[
            spelling.format(
                layer=layer, part=part, short=part[:3], place="up" if up else "down", letter="BA"[not up]
            )
        ] = value
    return renamed


def ask(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, unet.config.in_channels, 16, 16, generator=generator)
    text = torch.randn(2, 7, 32, generator=generator)
    added = {"text_embeds": torch.ones(2, 16), "time_ids": torch.ones(2, 6)}
    with torch.no_grad():
        return unet(x, torch.tensor([500, 500]), text, added_cond_kwargs=added).sample


def test_low_rank_offsets_are_added_and_the_base_stays(unet: Any) -> None:
    before = ask(unet)
    tensors = random(low_rank_offsets(unet, rank=3))
    offsets = offsets_in(tensors, unet, HERE)
    assert offsets.covers == "attention" and offsets.channels == 4
    network = with_offsets(unet, offsets)
    name = "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k.weight"
    theirs = "diffusion_model.input_blocks.3.1.transformer_blocks.1.attn2.to_k.weight"
    product = tensors[f"{theirs}::lora::0"] @ tensors[f"{theirs}::lora::1"]
    torch.testing.assert_close(network.get_parameter(name), unet.get_parameter(name) + product)
    assert not torch.allclose(ask(network), before, atol=1e-3)
    assert torch.equal(ask(unet), before)
    touched = set(covered(unet, "attention"))
    state = network.state_dict()
    for ours, tensor in unet.state_dict().items():
        same = tensor.data_ptr() == state[ours].data_ptr()
        assert same != (ours in touched), ours


@pytest.mark.parametrize(
    "spelling",
    [
        "unet.{layer}.processor.to_{short}_lora.{place}.weight",
        "unet.{layer}.to_{part}.lora.{place}.weight",
        "{layer}.to_{part}.lora_{letter}.weight",
        "model.diffusion_model",
        "whole",
    ],
)
def test_all_published_namings_mean_the_same(unet: Any, spelling: str, tmp_path: Path) -> None:
    original = {name: value.half().float() for name, value in random(low_rank_offsets(unet, rank=3)).items()}
    offsets = offsets_in(original, unet, HERE)
    if spelling == "whole":
        other = {name: offset.tensor(torch.device("cpu")) for name, offset in offsets.by_name.items()}
        # the published file has the biases of to_out too
        other |= {n: torch.zeros_like(v) for n, v in unet.state_dict().items() if n.endswith("to_out.0.bias")}
        again = offsets_in(other, unet, HERE)
    elif spelling == "model.diffusion_model":
        again = offsets_in({f"model.{name}": value for name, value in original.items()}, unet, HERE)
    else:
        again = read_offsets(saved(renamed(original, unet, spelling), tmp_path / "o.safetensors"), unet)
    torch.testing.assert_close(
        ask(with_offsets(unet, again)), ask(with_offsets(unet, offsets)), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("covers", "given"), [("all", 0), ("convolutions", 1), ("convolutions", 2), ("all", 2)]
)
def test_whole_offsets_widen_the_first_convolution(unet: Any, covers: Any, given: int) -> None:
    tensors = random(whole_offsets(unet, covers, given))
    offsets = offsets_in(tensors, unet, HERE)
    assert offsets.covers == covers and offsets.channels == 4 * (1 + given)
    network = with_offsets(unet, offsets)
    assert network.config.in_channels == 4 * (1 + given) and unet.config.in_channels == 4
    entry = tensors["diffusion_model.input_blocks.0.0.weight::diff::0"]
    weight = network.conv_in.weight
    torch.testing.assert_close(weight[:, :4], unet.conv_in.weight + entry[:, :4])
    assert torch.equal(weight[:, 4:], entry[:, 4:])
    assert ask(network).shape == (2, 4, 16, 16)
    ours = {name.removeprefix("diffusion_model.").removesuffix("::diff::0"): v for name, v in tensors.items()}
    converted = {parameter_names(unet)[name]: value for name, value in ours.items()}
    again = with_offsets(unet, offsets_in(converted, unet, HERE))
    assert torch.equal(ask(again), ask(network))


def test_other_files_are_refused_by_name(unet: Any) -> None:
    low, whole = random(low_rank_offsets(unet, rank=3)), random(whole_offsets(unet, "convolutions", 1))
    for theirs in (
        "output_blocks.1.1.transformer_blocks.0.attn1.to_v",
        "middle_block.1.transformer_blocks.1.attn2.to_k",
    ):
        up, down = (f"diffusion_model.{theirs}.weight::lora::{i}" for i in (0, 1))
        with pytest.raises(LayercliError, match=f"{up} is 3x.*up and down are swapped"):
            offsets_in(low | {up: low[down], down: low[up]}, unet, HERE)
        for gone in (up, down):
            with pytest.raises(LayercliError, match=f"it has no {gone}"):
                offsets_in({name: value for name, value in low.items() if name != gone}, unet, HERE)
        with pytest.raises(LayercliError, match=f"it has no {up[:-3]}"):
            offsets_in({n: v for n, v in low.items() if n not in (up, down)}, unet, HERE)
    for extra in (
        "diffusion_model.input_blocks.9.0.weight::diff::0",
        "te.layer.weight",
        "diffusion_model.out.2.bias",
    ):
        with pytest.raises(LayercliError, match=f"nothing in it is called {extra}"):
            offsets_in(low | {extra: torch.ones(1)}, unet, HERE)
    bias = "diffusion_model.output_blocks.1.0.in_layers.2.bias::diff::0"
    with pytest.raises(LayercliError, match=f"convolution offsets: it has no {bias}"):
        offsets_in({name: value for name, value in whole.items() if name != bias}, unet, HERE)
    time = "diffusion_model.time_embed.0.bias::diff::0"
    with pytest.raises(LayercliError, match=f"nothing in it is called {time}"):
        offsets_in(whole | {time: torch.ones(64)}, unet, HERE)
    entry = "diffusion_model.input_blocks.0.0.weight::diff::0"
    with pytest.raises(LayercliError, match=f"{entry} is 16x7x3x3, not 16x4x3x3"):
        offsets_in(whole | {entry: whole[entry][:, :7]}, unet, HERE)
