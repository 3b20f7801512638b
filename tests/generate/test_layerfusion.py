"""The method end to end on tiny models: the contract of a stack, sizes, places, switches."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.core.pixels import quantize
from layercli.generate.layerfusion import Options, generate
from layercli.models.family import Model
from tests import tiny
from tests.generate.asking import asked, same


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    if request.param == "embedded":
        return tiny.embedded(latents=8)
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def small() -> Model:
    """The embedded family at 128 px."""
    return tiny.embedded(latents=8)


@pytest.mark.parametrize("share", [(1.0, 1.0), (1.3, 1.0), (0.9, 1.2), (2.1, 1.7), (0.3, 0.4)])
def test_any_size_gives_layers_of_that_size(model: Model, share: tuple[float, float]) -> None:
    size = Size(round(model.native_size.width * share[0]) + 3, round(model.native_size.height * share[1]) + 1)
    stack = generate(asked(model, size=size, steps=2), model, Options())
    assert stack.canvas == size and stack.layers[0].size == size
    assert (stack.flatten()[..., 3] == 1).all()
    for name in ("a dog", "a ball"):
        layer = stack.layer(name)
        assert 0 <= layer.offset.left <= size.width and layer.size.width <= size.width


def test_effects_leave_the_layers_alone_and_flatten_to_the_harmonised_picture(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With transfer=all the harmonised picture is the network's own; the effects must reach it exactly."""
    request = asked(small)
    plain = generate(request.replace(harmonize="over"), small, Options())
    light = generate(request, small, Options())
    seen: list[torch.Tensor] = []
    decode = small.decode

    def watched(latents: torch.Tensor, kinds: Any) -> torch.Tensor:
        seen.append(decode(latents, kinds))
        return seen[-1]

    monkeypatch.setattr(small, "decode", watched)
    whole = generate(request, small, Options(transfer="all"))
    for stack in (light, whole):
        assert same(LayerStack(canvas=stack.canvas, layers=stack.layers[:3]), plain)
        assert [(layer.blend, layer.group) for layer in stack.layers[3:]] == [
            ("multiply", ("effects",)),
            ("screen", ("effects",)),
        ]
    harmonized = quantize(seen[-2][0, :3].permute(1, 2, 0).numpy())  # the last is what it was made from
    found = whole.flatten_quantized()[..., :3]
    assert np.abs(found.astype(int) - harmonized.astype(int)).max() <= 1
    changes = [np.abs(stack.flatten() - plain.flatten()).mean() for stack in (light, whole)]
    assert 0 < changes[0] < changes[1]


def test_effect_layers_are_smooth_whatever_lies_under_them(small: Model) -> None:
    stack = generate(asked(small), small, Options())
    for name, neutral in (("shadows", 1.0), ("light", 0.0)):
        layer = stack.placed(name)
        effect = layer[..., :3] * layer[..., 3:] + neutral * (1 - layer[..., 3:])
        steps = np.abs(np.diff(effect, axis=0)).max(), np.abs(np.diff(effect, axis=1)).max()
        assert max(steps) < 0.35
        assert np.abs(effect - neutral).max() < 1 - 2**-1.5 + 0.01


def test_none_draws_every_frame_by_itself(small: Model) -> None:
    alone = generate(asked(small, harmonize="none"), small, Options())
    single = generate(asked(small, harmonize="none", foregrounds=("a dog",)), small, Options())
    met = generate(asked(small, harmonize="over"), small, Options())
    # The frames in a batch change the last bits of a product on some processors, and nothing that is seen.
    assert np.abs(alone.layer("background").rgba - single.layer("background").rgba).max() < 1e-4
    assert np.abs(alone.layer("background").rgba - met.layer("background").rgba).max() > 1e-3


def drawn(path: Path, size: Size) -> str:
    """A mask picture, white on the left lower quarter."""
    pixels = np.zeros((size.height, size.width), np.uint8)
    pixels[size.height // 2 :, : size.width // 2] = 255
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_mask_holds_its_foreground(model: Model, tmp_path: Path) -> None:
    """Held to the end, the visible object lies where the mask is; let go early, the mask is a hint."""
    mask = drawn(tmp_path / "m.png", model.native_size)
    request = asked(model, masks={"dog": mask}, harmonize="over")
    held = generate(request, model, Options(hold=0))
    alpha = held.placed("a dog")[..., 3]
    height, width = alpha.shape
    inside = alpha[height // 2 :, : width // 2].sum()
    outside = alpha.sum() - inside
    assert inside > (0 if model.alpha else outside)
    free = generate(request, model, Options(hold=1000))
    assert not same(held, free)


def test_a_mask_of_another_size_is_refused(small: Model, tmp_path: Path) -> None:
    mask = drawn(tmp_path / "m.png", Size(50, 40))
    with pytest.raises(LayercliError, match="50x40"):
        generate(asked(small, masks={"dog": mask}), small, Options())


CHANGES: dict[str, Any] = {
    "fast": 4,
    "d": 1.0, "prior": "structure", "prior_pass": True, "blend": False, "feedback": False, "share": False,
    "shield": False, "exchange": (0, 300), "blended_text": "background", "window": (600, 900),
    "fuse": "latents", "transfer": "all", "smooth": 0.1, "reach": 0.0, "strongest": 0.05, "colour": 1.0,
    "contact": 0.0, "against": False,
    "eta": 1.0, "rescale": 1.0, "tint": 0.5, "levels": (0.3, 0.6),
}  # fmt: skip


def test_every_option_is_tried() -> None:
    assert set(CHANGES) | {"hold", "specks", "whole"} == {field.name for field in dataclasses.fields(Options)}


@pytest.fixture(scope="module")
def default_stack(small: Model) -> LayerStack:
    return generate(asked(small, steps=4), small, Options())


@pytest.mark.parametrize("name", CHANGES)
def test_every_option_changes_the_picture(small: Model, default_stack: LayerStack, name: str) -> None:
    stack = generate(asked(small, steps=4), small, Options(**{name: CHANGES[name]}))
    assert not same(stack, default_stack)


def test_loose_pieces_are_cleared(small: Model) -> None:
    request = asked(small, harmonize="none")
    stacks = [generate(request, small, Options(levels=(0.7, 0.75), specks=share)) for share in (0.0, 0.9)]
    seen = [float(stack.layer("a dog").rgba[..., 3].sum()) for stack in stacks]
    assert seen[1] < seen[0]


@pytest.mark.parametrize(
    "wrong",
    [{"window": (600, 400)}, {"exchange": (0, 2000)}],
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LayercliError):
        Options(**wrong)


def test_a_model_without_alpha_cannot_give_it(tmp_path: Path) -> None:
    model = tiny.sd15(tmp_path)
    with pytest.raises(LayercliError, match="alpha"):
        generate(asked(model), model, Options(prior="alpha"))


def test_guidance_one_and_one_step_work(small: Model) -> None:
    stack = generate(asked(small, guidance=1.0, steps=1), small, Options())
    assert stack.names == ("background", "a dog", "a ball", "shadows", "light")


def test_the_words_of_style_and_negative_count(small: Model) -> None:
    plain = generate(asked(small), small, Options())
    assert not same(plain, generate(asked(small, style="flat"), small, Options()))
    assert not same(plain, generate(asked(small, negative="a red car"), small, Options()))


def test_names_are_the_requests_also_when_they_collide(small: Model) -> None:
    request = asked(small, foregrounds=("background", "a cat", "a cat"), harmonize="none")
    stack = generate(request, small, Options())
    assert stack.names == ("background 2", "background", "a cat", "a cat 2")


def test_half_precision_networks_give_a_stack_too() -> None:
    model = tiny.embedded(latents=8, dtype=torch.bfloat16)
    stack = generate(asked(model, steps=2), model, Options())
    assert np.isfinite(stack.flatten()).all()
