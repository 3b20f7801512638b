"""What both halves of guidance share is computed once, and is what it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.generate._joint import Sampling, sample_frames
from layercli.generate.layerfusion import Options
from layercli.models import once
from layercli.models.hooks import AttentionCall, edited_attention, identity
from tests import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.sd15(tmp_path_factory.mktemp("sd15"))


def asking(model: Any) -> Callable[..., Tensor]:
    """Guided predictions for two frames, and the rows that the first ResNet and self-attention are given."""
    empty, text = (
        model.encode_text(words, ["global"] * 2, model.native_size)
        for words in (["", ""], ["a cat", "a sofa"])
    )
    denoise = model.guided(empty, text, 3.0)
    x = torch.randn(2, *model.latent_shape(model.native_size), generator=torch.Generator().manual_seed(0))

    def ask() -> Tensor:
        with torch.no_grad():
            answer: Tensor = denoise(x, torch.full((2,), 500))
        return answer

    return ask


def crossing(call: AttentionCall) -> Tensor:
    """Frames that attend to the tokens of both frames of their half, as methods do."""
    query, key, value = call.heads()
    if call.layer.cross:
        return call.project(call.attend(query, key, value, call.bias()))
    k, v = (x.unflatten(0, (2, 2)).flip(1).flatten(0, 1) for x in (key, value))
    return call.project(call.attend(query, torch.cat([key, k], 2), torch.cat([value, v], 2)))


EDITS = {"none": None, "identity": identity, "crossing": crossing}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_the_prediction_stays_and_early_parts_see_half_the_rows(
    model: Any, edit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, unet = asking(model), model.unet
    convolution, resnet, attention = once.early_parts(unet)
    rows: dict[str, int] = {}

    def seen(name: str) -> Any:
        return lambda module, given, settings: rows.__setitem__(name, len((*given, *settings.values())[0]))

    watched = {"resnet": resnet.conv1, "attention": attention.to_q, "later": unet.mid_block.resnets[0]}
    hooks = [part.register_forward_pre_hook(seen(name), with_kwargs=True) for name, part in watched.items()]
    with edited_attention(unet, edit) if edit else nullcontext():
        short = ask()
        assert rows == {"resnet": 2, "attention": 2, "later": 4}
        monkeypatch.setattr(once, "early_parts", lambda unet: [])
        whole = ask()
        assert rows == dict.fromkeys(watched, 4)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)
    assert not any("forward" in vars(part) for part in (convolution, resnet, attention))


def test_halves_that_differ_are_computed(model: Any) -> None:
    unet, x = model.unet, torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    twice, times = torch.cat([x[:2], x[:2]]), torch.full((4,), 500)
    other = torch.tensor([500, 500, 499, 500])
    for latents, t, replaced in ((twice, times, True), (x, times, False), (twice, other, False)):
        with torch.no_grad(), once.halves_begin_alike(unet, latents, t, None):
            assert ("forward" in vars(unet.conv_in)) is replaced
        assert "forward" not in vars(unet.conv_in)
    with once.halves_begin_alike(unet, twice, times, None):  # gradients flow
        assert "forward" not in vars(unet.conv_in)


def test_what_is_added_behind_the_input_is_looked_at(model: Any) -> None:
    """As an adapter adds mask latents: the same in both halves, or not."""
    ask, unet = asking(model), model.unet
    added = torch.randn(4, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    for more in (added, torch.cat([added[:2], added[:2]])):
        handle = unet.conv_in.register_forward_hook(lambda module, given, answer, more=more: answer + more)
        short = ask()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(once, "early_parts", lambda unet: [])
            whole = ask()
        handle.remove()
        torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)


def test_networks_that_read_texts_beside_the_time_are_left_alone(tmp_path: Path) -> None:
    assert once.early_parts(tiny.sdxl_unet()) == [] == once.early_parts(tiny.embedded_unet())


def test_frames_that_meet_are_drawn_as_before(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = tiny.scene(model.native_size, (0.1, 0.1, 0.9, 0.9))

    def drawn() -> Tensor:
        sampled = sample_frames(model, scene, Sampling(seed=0, steps=4, guidance=3.0), Options().rules(model))
        return torch.cat([sampled.foregrounds, sampled.background])

    short = drawn()
    monkeypatch.setattr(once, "early_parts", lambda unet: [])
    torch.testing.assert_close(short, drawn(), atol=1e-4, rtol=1e-4)
