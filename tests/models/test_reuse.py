"""What is computed once: deep features, keys and values of texts; and what is no more: unseen frames."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.generate._joint import Sampling, sample_frames
from layercli.generate.layerfusion import Options
from layercli.models.hooks import AttentionCall, edited_attention, identity
from layercli.models.reuse import TREND, deep_features_reused, deep_parts
from tests import tiny

X = {"embedded": (12, 16, 16), "sd15": (4, 16, 16), "sdxl": (4, 16, 16)}


@pytest.fixture(params=tiny.FAMILIES, scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


def asking(model: Any, frames: int = 1) -> Any:
    """The network as a function of latents' seed and time."""
    text = model.encode_text(["a cat"] * frames, ["global"] * frames, model.native_size)
    denoise = model.denoiser(text)

    def ask(seed: int, t: int) -> Tensor:
        x = torch.randn(frames, *X[model.name], generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            answer: Tensor = denoise(x, torch.full((frames,), t))
        return answer

    return ask


def calls_of(part: torch.nn.Module, counted: list[int]) -> Any:
    return part.register_forward_pre_hook(lambda *_: counted.append(1))


def test_the_deep_parts_run_in_some_steps_and_the_outer_ones_in_all(model: Any) -> None:
    ask, deep, outer = asking(model), list[int](), list[int]()
    hooks = [
        calls_of(model.unet.mid_block.resnets[0], deep),
        calls_of(model.unet.up_blocks[-1].resnets[-1], outer),
    ]
    times = [990, 950, 900, 700, 500, 300, 100, 50]
    plain = [ask(step, t) for step, t in enumerate(times)]
    deep.clear(), outer.clear()  # type: ignore[func-returns-value]
    with deep_features_reused(model.unets, 3):
        seen, found = [], []
        for step, t in enumerate(times):
            before = len(deep)
            found.append(ask(step, t))
            seen.append(len(deep) > before)
    for hook in hooks:
        hook.remove()
    assert seen == [True, True, True, True, False, True, False, True] and len(outer) == len(times)
    for full, one, two in zip(seen, plain, found, strict=True):
        assert torch.equal(one, two) == full
        assert two.isfinite().all()


def test_what_is_reused_lies_on_the_line_of_the_last_two_answers(model: Any) -> None:
    """Where the outer layers are blind to the time, and the picture stays the same."""
    ask, part = asking(model), model.unet.mid_block
    told: dict[int, Tensor] = {}

    def note(time: int) -> Any:
        return part.register_forward_hook(lambda module, given, answer: told.__setitem__(time, answer))

    with deep_features_reused(model.unets, 2):
        for t in (760, 660, 600):
            hook = note(t)
            ask(0, t)
            hook.remove()
    torch.testing.assert_close(told[600], told[660] + TREND * (told[660] - told[760]) * 60 / 100)
    assert not torch.equal(told[600], told[660])


def test_the_same_answer_twice_is_given_a_third_time(model: Any) -> None:
    """With the same latents, and no time anywhere, a reusing step answers as the two before."""
    ask = asking(model)
    weights = [weight for name, weight in model.unet.named_parameters() if ".time_emb_proj." in name]
    kept = [weight.clone() for weight in weights]
    try:
        torch._foreach_zero_(weights)
        with deep_features_reused(model.unets, 2):
            answers = [ask(0, t) for t in (760, 660, 600)]
    finally:
        torch._foreach_copy_(weights, kept)
    assert torch.equal(answers[0], answers[1])
    torch.testing.assert_close(answers[2], answers[1], atol=1e-6, rtol=1e-5)


def test_a_walk_reuses_nothing_of_the_one_before_and_other_shapes_are_computed(model: Any) -> None:
    ask, more = asking(model), asking(model, 2)
    plain = ask(1, 800)
    with deep_features_reused(model.unets, 2):
        ask(0, 760), ask(0, 660), ask(0, 600)  # type: ignore[func-returns-value]
        assert torch.equal(ask(1, 800), plain)
        ask(0, 600), ask(0, 500)  # type: ignore[func-returns-value]
        assert torch.equal(more(3, 400), asking(model, 2)(3, 400))


def test_calls_of_one_step_are_kept_apart(model: Any) -> None:
    one, two = asking(model), asking(model, 2)
    with deep_features_reused(model.unets, 2):
        for t in (760, 660):
            one(0, t), two(1, t)  # type: ignore[func-returns-value]
        assert one(0, 600).shape[0] == 1 and two(1, 600).shape[0] == 2


def test_the_networks_are_themselves_again(model: Any) -> None:
    ask = asking(model)
    before = ask(0, 500)
    parts = deep_parts(model.unet)
    assert parts and len({id(part) for part in parts}) == len(parts)
    with pytest.raises(RuntimeError, match="in the body"), deep_features_reused(model.unets, 2):
        ask(0, 900)
        raise RuntimeError("in the body")
    assert all("forward" not in vars(part) for part in parts)
    assert not model.unet._forward_pre_hooks
    assert torch.equal(ask(0, 500), before)
    mid = model.unet.mid_block
    own = mid.forward
    mid.forward = functools.partial(own)  # as tools do that move weights between devices
    kept = mid.forward
    with deep_features_reused(model.unets, 2):
        assert torch.equal(ask(0, 500), before) and mid.forward is not kept
    assert mid.forward is kept
    del mid.forward
    with deep_features_reused(model.unets, 1):
        assert torch.equal(ask(0, 500), before) and all("forward" not in vars(part) for part in parts)
    for wrong in (0, -1):
        with pytest.raises(LayercliError), deep_features_reused(model.unets, wrong):
            pass
        with pytest.raises(LayercliError):
            Options(fast=wrong)


def by_hand(call: AttentionCall) -> Tensor:
    return call.project(call.attend(*call.heads(), call.bias()))


@torch.no_grad()
def test_keys_and_values_of_a_text_are_computed_once_a_run(model: Any) -> None:
    layer = next(name for name in model.unet.attn_processors if "attn2" in name).removesuffix(".processor")
    reader, counted = model.unet.get_submodule(layer).to_k, list[int]()
    anew = [asking(model)(0, t) for t in (900, 500)]
    own = reader.forward
    reader.forward = lambda text: (counted.append(1), own(text))[1]
    kept = vars(reader)["forward"]
    try:
        ask = asking(model)
        assert all(torch.equal(one, ask(0, t)) for one, t in zip(anew, (900, 500), strict=True))
        with edited_attention(model.unet, by_hand):
            assert all(torch.equal(one, ask(0, t)) for one, t in zip(anew, (900, 500), strict=True))
        assert len(counted) == 1 and vars(reader)["forward"] is kept
        asking(model, 2)(0, 900)  # another text
        assert len(counted) == 2
    finally:
        del reader.forward
    ask(0, 900)
    assert "forward" not in vars(reader) and len(counted) == 2


def test_texts_that_learn_are_never_remembered(model: Any) -> None:
    text = model.encode_text(["a cat"], ["global"], model.native_size)
    x, t = torch.zeros(1, *X[model.name]), torch.tensor([400])
    text.tokens.requires_grad_(True)
    for edit in (identity, by_hand):
        denoise = model.denoiser(text)
        with edited_attention(model.unet, edit):
            with torch.no_grad():
                denoise(x, t)
            denoise(x, t).square().mean().backward()
        assert text.tokens.grad is not None and text.tokens.grad.abs().sum() > 0
        text.tokens.grad = None
    text.tokens.requires_grad_(False)


def test_the_blended_frame_is_left_out_below_the_times_at_which_frames_meet(tmp_path: Path) -> None:
    model = tiny.sd15(tmp_path)
    rows: list[int] = []
    hook = model.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    scene = tiny.scene(model.native_size, (0.0, 0.0, 1.0, 1.0))
    sampling = Sampling(seed=0, steps=4, guidance=3.0)  # at 751, 501, 251 and 1
    found = {}
    for low in (0, 400):
        rows.clear()
        rules = Options(exchange=(low, 1000)).rules(model)
        found[low] = sample_frames(model, scene, sampling, rules), list(rows)
    hook.remove()
    assert found[0][1] == [6] * 4 and found[400][1] == [6, 6, 4, 4]
    # What happens while frames meet is the same, and goes on without the blended frame.
    torch.testing.assert_close(found[0][0].steps[1][0].x, found[400][0].steps[1][0].x)
    assert found[400][0].foregrounds.isfinite().all() and found[400][0].background.shape[0] == 1
