"""Attention sharing of SD1.5: the published order and names, the published equations, and no trace left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.models.attention_sharing import AttentionSharing, Settings, check_frames
from layercli.models.hooks import edited_attention
from layercli.models.ldm_names import block_names
from layercli.models.published import sd15_unet
from tests import tiny
from tests.models.test_transparency import saved

CONTROL = Settings(frames=2, rank=4, control=(4, 8))


def sharing_for(unet: Any, settings: Settings) -> AttentionSharing:
    torch.manual_seed(5)
    sharing = AttentionSharing(unet, settings).eval().requires_grad_(False)
    for parameter in sharing.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return sharing


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny.sd15_unet()


def ask(unet: Any, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    x = torch.randn(frames, 4, 16, 16, generator=generator)
    text = torch.randn(frames, 7, 16, generator=generator)
    with torch.no_grad():
        return unet(x, torch.full((frames,), 300), text).sample


def test_layers_are_counted_down_up_and_then_the_middle() -> None:
    with torch.device("meta"):
        unet = sd15_unet()
        sharing = AttentionSharing(unet, Settings())
    blocks = block_names(unet)
    places = [blocks[place.partition(".transformer_blocks")[0]] for place in sharing.places]
    numbers = [f"input_blocks.{n}.1" for n in (1, 2, 4, 5, 7, 8)]
    numbers += [f"output_blocks.{n}.1" for n in range(3, 12)] + ["middle_block.1"]
    assert places == [number for number in numbers for _ in range(2)]
    assert all(place.endswith(f"0.attn{i % 2 + 1}") for i, place in enumerate(sharing.places))


def by_the_equations(
    sharing: AttentionSharing, number: int, base: Any, h: Tensor, text: Any, control: Any
) -> Tensor:
    """One layer as the published code states it: frame by frame, with the weights added up beforehand."""
    unit: Any = sharing.hookers.layers[number]  # type: ignore[index, union-attr]
    frames, heads = sharing.settings.frames, base.heads

    def merged(layer: Any, own: Any, x: Tensor) -> Tensor:
        return F.linear(x, layer.weight + own.up.weight @ own.down.weight, layer.bias)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (z.reshape(*z.shape[:2], heads, -1).permute(0, 2, 1, 3) for z in (q, k, v))
        weights = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1)
        return (weights @ v).permute(0, 2, 1, 3).flatten(2)

    out = []
    for f in range(frames):
        x = h[f::frames]
        if control is not None:
            x = x + unit.control_convs[f](control).flatten(2).transpose(1, 2)
        source = x if text is None else text[f::frames]
        mixed = attend(
            merged(base.to_q, unit.to_q_lora[f], x),
            merged(base.to_k, unit.to_k_lora[f], source),
            merged(base.to_v, unit.to_v_lora[f], source),
        )
        out.append(x + merged(base.to_out[0], unit.to_out_lora[f], mixed))
    y = torch.stack(out, dim=1).flatten(0, 1)
    z = unit.temporal_i(unit.temporal_n(y))
    z = z.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)
    z = unit.temporal_o(attend(unit.temporal_q(z), unit.temporal_k(z), unit.temporal_v(z)))
    z = z.unflatten(0, (-1, h.shape[1])).transpose(1, 2).flatten(0, 1)
    return y + z - h


@pytest.mark.parametrize("settings", [Settings(rank=4), Settings(frames=3, rank=4), CONTROL])
@torch.no_grad()
def test_a_layer_is_what_the_published_code_computes(unet: Any, settings: Settings) -> None:
    sharing = sharing_for(unet, settings)
    given = torch.rand(1, 3, 32, 32) if settings.control else None
    signals = (
        {} if given is None else {a.shape[2] * a.shape[3]: a for a in sharing.kwargs_encoder(given * 2 - 1)}
    )  # type: ignore[misc]
    seen: list[str] = []

    def compare(name: str) -> Any:
        def hook(module: Any, args: Any, given: Any, output: Tensor) -> None:
            h, text = args[0], given.get("encoder_hidden_states")
            wanted = by_the_equations(
                sharing, sharing.places.index(name), module, h, text, signals.get(h.shape[1])
            )
            torch.testing.assert_close(output, wanted, atol=2e-4, rtol=2e-4)
            seen.append(name)

        return hook

    handles = [
        unet.get_submodule(name).register_forward_hook(compare(name), with_kwargs=True)
        for name in sharing.places
    ]
    with edited_attention(unet, sharing.edit(unet, given)):
        ask(unet, 2 * settings.frames)
    for handle in handles:
        handle.remove()
    assert sorted(seen) == sorted(sharing.places)


@pytest.mark.parametrize("settings", [Settings(rank=4), Settings(frames=3, rank=4), CONTROL])
def test_multiplied_out_it_is_the_same_function(unet: Any, settings: Settings) -> None:
    sharing = sharing_for(unet, settings)
    for parameter in sharing.parameters():
        parameter.mul_(0.3)
    given = torch.rand(1, 3, 32, 32) if settings.control else None
    x, text = torch.randn(2 * settings.frames, 4, 16, 16), torch.randn(2 * settings.frames, 7, 16)
    read = torch.ones(len(x), 7)
    read[0, 4:] = 0  # a prompt that is shorter
    found = []
    for as_trained in (True, False):
        with edited_attention(unet, sharing.edit(unet, given)), torch.set_grad_enabled(as_trained):
            for _ in range(2):  # the second time what was made of the text is remembered
                t = torch.full((len(x),), 300)
                found.append(unet(x, t, text, encoder_attention_mask=read).sample.detach())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-5, rtol=1e-5)


def test_frames_of_a_picture_meet_and_pictures_do_not(unet: Any) -> None:
    sharing = sharing_for(unet, Settings(frames=3, rank=4))
    x, text = torch.randn(6, 4, 16, 16), torch.randn(6, 7, 16)
    other = text.clone()
    other[1] += 1
    with torch.no_grad(), edited_attention(unet, sharing.edit(unet)):
        one = unet(x, torch.full((6,), 300), text).sample
        two = unet(x, torch.full((6,), 300), other).sample
    assert not torch.allclose(one[0], two[0], atol=1e-4) and not torch.allclose(one[2], two[2], atol=1e-4)
    torch.testing.assert_close(one[3:], two[3:])


def test_a_given_picture_changes_every_frame(unet: Any) -> None:
    sharing = sharing_for(unet, CONTROL)
    answers = []
    for given in (torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)):
        with edited_attention(unet, sharing.edit(unet, given)):
            answers.append(ask(unet, 2))
    assert not torch.allclose(answers[0][0], answers[1][0]) and not torch.allclose(
        answers[0][1], answers[1][1]
    )


def test_the_network_is_itself_again(unet: Any) -> None:
    before, processors = ask(unet, 2), dict(unet.attn_processors)
    sharing = sharing_for(unet, Settings(frames=2, rank=4))
    shared = sharing.shared(lambda x, t: ask(unet, len(x)), unet)
    assert not torch.equal(shared(torch.ones(2), torch.ones(2)), before)
    assert all(unet.attn_processors[name] is processors[name] for name in processors)
    with pytest.raises(ValueError, match="3 is no multiple of 2"):
        shared(torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match="takes a given picture"):
        sharing.edit(unet, torch.ones(1, 3, 8, 8))
    assert all(unet.attn_processors[name] is processors[name] for name in processors)
    assert torch.equal(ask(unet, 2), before)


@pytest.mark.parametrize("settings", [Settings(rank=4), Settings(frames=3, rank=4), CONTROL])
def test_files_are_read_as_they_are_published(unet: Any, settings: Settings, tmp_path: Path) -> None:
    sharing = sharing_for(unet, settings)
    keys = set(sharing.state_dict())
    last = settings.frames - 1
    assert (
        f"hookers.layers.7.to_out_lora.{last}.up.weight" in keys
        and "hookers.layers.0.temporal_n.bias" in keys
    )
    assert (f"hookers.layers.3.control_convs.{last}.2.weight" in keys) == bool(settings.control)
    assert ("kwargs_encoder.blocks_3.2.bias" in keys) == bool(settings.control)
    read = AttentionSharing.load(saved(sharing.state_dict(), tmp_path / "s.safetensors"), unet)
    assert read.settings == settings
    assert all(torch.equal(v, sharing.state_dict()[n].half().float()) for n, v in read.state_dict().items())


def test_other_files_are_refused_by_name(unet: Any, tmp_path: Path) -> None:
    tensors = sharing_for(unet, CONTROL).state_dict()
    path, lora = tmp_path / "s.safetensors", "hookers.layers.2.to_k_lora.1"
    swapped = tensors | {f"{lora}.up.weight": tensors[f"{lora}.down.weight"]}
    swapped |= {f"{lora}.down.weight": tensors[f"{lora}.up.weight"]}
    with pytest.raises(LayercliError, match=r"layers\.2\.to_k_lora\.1\..*up and down are swapped"):
        AttentionSharing.load(saved(swapped, path), unet)
    name = "hookers.layers.5.temporal_v.bias"
    with pytest.raises(LayercliError, match=f"has no {name}"):
        AttentionSharing.load(saved({n: v for n, v in tensors.items() if n != name}, path), unet)
    with pytest.raises(LayercliError, match=r"called hookers\.layers\.9\.x"):
        AttentionSharing.load(saved(tensors | {"hookers.layers.9.x": torch.ones(1)}, path), unet)
    with pytest.raises(LayercliError, match="has no hookers"):
        AttentionSharing.load(saved(tensors, path), tiny.embedded_unet())
    sharing = AttentionSharing.load(saved(tensors, path), unet)
    check_frames(sharing, path, 2, control=True)
    with pytest.raises(LayercliError, match="for 2 frames and a given picture; this needs 3 frames without"):
        check_frames(sharing, path, 3, control=False)
