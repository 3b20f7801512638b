"""Edits that draw, on tiny models of every family: what is not edited is held to the bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from layercli.core.edit_requests import EditRequest
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.requests import GenerateRequest
from layercli.diffusion.schedule import Schedule
from layercli.edit import _chain
from layercli.edit._drawing import box_in, frame_of, objects_of
from layercli.edit._effects import is_effect, own_effects
from layercli.edit._redraw import share_of_times
from layercli.generate import layerfusion
from layercli.generate._joint import Sampling, Scene, beginning, held, sample_frames
from tests import tiny
from tests.edit.scenes import disc
from tests.edit.test_laws import ask, done

FEW = {"steps": "4"}


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def model(request, tmp_path_factory):
    return tiny.model(request.param, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def embedded():
    return tiny.embedded(latents=4)


@pytest.fixture(scope="module")
def picture() -> LayerStack:
    """A scene of 64 x 64 pixels with two things, as large as the tiny embedded model draws."""
    ground = np.ones((64, 64, 4), dtype=np.float32)
    ground[..., 1] = np.linspace(0.2, 0.8, 64, dtype=np.float32)[:, None]
    layers = (
        Layer(name="sofa", rgba=ground, prompt="a sofa"),
        Layer(name="cat", rgba=disc(11, (0.9, 0.5, 0.2)), offset=Offset(6, 30), prompt="a cat"),
        Layer(name="ball", rgba=disc(7, (0.2, 0.5, 0.9)), offset=Offset(40, 40)),
    )
    return LayerStack(canvas=Size(64, 64), layers=layers)


def drawn(stack: LayerStack, model, *requests: EditRequest) -> _chain.Edited:
    return _chain.run(stack, _chain.plan(requests), model)


def assert_held(before: LayerStack, after: LayerStack, *changed: str) -> None:
    """Every layer but the changed ones, and shadow and light, is the very one that was there."""
    for layer in before.layers:
        if layer.name not in changed and not is_effect(layer):
            assert after.layer(layer.name).rgba is layer.rgba
            assert after.layer(layer.name).offset == layer.offset
    kept = [layer.name for layer in after.layers if not is_effect(layer)]
    assert kept == list(before.names)


@pytest.mark.parametrize("edit", ["regenerate", "restyle"])
def test_a_thing_is_drawn_again_in_its_place(model, picture, edit):
    edited = drawn(picture, model, ask(edit, "cat", prompt="a dog", **FEW))
    after = edited.stack
    assert_held(picture, after, "cat")
    layer = after.layer("cat")
    assert layer.prompt == "a dog"
    assert layer.rgba is not picture.layer("cat").rgba
    if layer.rgba[..., 3].max() > 0.1:
        old, new = box_in(picture, picture.layer("cat")), box_in(after, layer)
        assert new[3] == pytest.approx(old[3], abs=0.04)
        assert new[0] >= old[0] - 0.04 and new[2] <= old[2] + 0.04
    shown = after.flatten_quantized()
    assert _chain.changed_outside(picture.flatten_quantized(), edited, shown) == 0


def test_another_background_behind_the_same_things(model, picture):
    after = drawn(picture, model, ask("background", prompt="a beach", **FEW)).stack
    assert_held(picture, after, "sofa")
    ground = after.layer("sofa")
    assert (ground.prompt, ground.size) == ("a beach", picture.canvas)
    assert ground.rgba[..., 3].min() == 1
    assert np.abs(ground.rgba - picture.layer("sofa").rgba).max() > 0.05


def test_a_new_thing_goes_in_front_with_light_of_its_own(model, picture):
    lit = drawn(picture, model, ask("harmonize", **FEW)).stack
    edited = drawn(lit, model, ask("add", fg="a bird", box="0.5,0,1,0.5", **FEW))
    after = edited.stack
    names = [layer.name for layer in after.layers if not is_effect(layer)]
    assert names == ["sofa", "cat", "ball", "a bird"]
    for name in ("sofa", "cat", "ball"):
        assert after.layer(name).rgba is picture.layer(name).rgba
    alpha = after.placed("a bird")[..., 3]
    assert alpha[33:].sum() + alpha[:, :31].sum() <= 0.05 * alpha.sum()
    assert _chain.changed_outside(lit.flatten_quantized(), edited, after.flatten_quantized()) == 0
    if objects_of(after)[-1].name == "a bird":
        assert own_effects(after, ("a bird",)) == ("shadows of a bird", "light of a bird")


def test_harmonising_gives_fresh_shadow_and_light(model, picture):
    edited = drawn(picture, model, ask("harmonize", **FEW))
    assert_held(picture, edited.stack)
    assert edited.stack.names[-2:] == ("shadows", "light")
    moved = drawn(edited.stack, model, ask("move", "cat", by="8,-4"), ask("harmonize", **FEW)).stack
    assert moved.names == edited.stack.names
    assert not np.array_equal(moved.layer("shadows").rgba, edited.stack.layer("shadows").rgba)
    alone = drawn(edited.stack, model, ask("harmonize", "ball", **FEW)).stack
    assert own_effects(alone, ("ball",)) == ("shadows of ball", "light of ball")
    before = own_effects(done(edited.stack, ask("move", "cat", by="0,0")).stack, ("cat",))
    assert own_effects(alone, ("cat",)) == before


def test_drawing_repeats_from_its_seed(embedded, picture):
    one, again, other = (
        drawn(picture, embedded, ask("regenerate", "cat", prompt="a dog", seed=seed, **FEW)).stack
        for seed in ("1", "1", "2")
    )
    np.testing.assert_array_equal(one.flatten(), again.flatten())
    assert not np.array_equal(one.flatten(), other.flatten())


def test_the_others_matter_for_what_is_drawn(embedded, picture):
    red = picture.layer("sofa").rgba.copy()
    red[..., :3] = (1, 0, 0)
    other = picture.replace("sofa", dataclasses.replace(picture.layer("sofa"), rgba=red))
    request = ask("regenerate", "cat", prompt="a dog", light="no", **FEW)
    one, two = (drawn(stack, embedded, request).stack.layer("cat") for stack in (picture, other))
    assert one.rgba.shape != two.rgba.shape or np.abs(one.rgba - two.rgba).max() > 1e-4


def test_a_weak_restyle_stays_near_and_a_strong_one_does_not(embedded, picture):
    frame = frame_of(picture, picture.layer("cat"), embedded)
    assert frame.clean is not None
    shape, size = embedded.latent_shape(embedded.native_size), embedded.native_size
    scene = Scene(
        foregrounds=["a dog"], background="a sofa", blended=None, negative="",
        rectangles=[frame.rectangle], guides={}, size=size, frame=size, known={0: frame.clean},
    )  # fmt: skip
    away = []
    for strength in (0.1, 0.5, 1.0):
        sampling = Sampling(seed=0, steps=20, guidance=2.0, strength=strength)
        latents = sample_frames(embedded, scene, sampling, None).foregrounds[0]
        assert latents.shape == shape
        away.append(float((latents - frame.clean).square().mean()))
    assert away[0] < away[1] < away[2]


def test_a_held_frame_ends_where_it_was(model):
    torch.manual_seed(0)
    size = model.native_size
    clean = {row: torch.randn(model.latent_shape(size)) for row in (0, 2)}
    scene = Scene(
        foregrounds=["a cat", "a dog"], background="a sofa", blended="a cat and a dog, a sofa", negative="",
        rectangles=[(0.0, 0.0, 0.5, 0.5), (0.4, 0.4, 1.0, 1.0)],
        guides={row: held(model, latents) for row, latents in clean.items()}, size=size, frame=size,
        known=clean,
    )  # fmt: skip
    rules = layerfusion.Options().rules(model)
    sampled = sample_frames(model, scene, Sampling(seed=0, steps=3, guidance=2.0), rules)
    noise = (1 - model.schedule.final_alpha) ** 0.5  # what a schedule leaves at its end
    for found, wanted in ((sampled.foregrounds[0], clean[0]), (sampled.background[0], clean[2])):
        torch.testing.assert_close(found, wanted, atol=1e-4 + 6 * noise, rtol=1e-4)
    assert (sampled.foregrounds[1] - clean[0]).abs().max() > 6 * noise + 0.1


def test_where_a_walk_begins():
    schedule = tiny.embedded().schedule
    path = schedule.path(10)
    assert beginning(path, 1.0, schedule) == path[0]
    assert beginning(path, 0.8, schedule) == max(t for t in path if t < 800)
    assert beginning(path, 0.001, schedule) == path[-2]


def test_a_strength_means_as_much_noise_as_on_sd15():
    usual, cosine = Schedule.scaled_linear(), tiny.embedded().schedule
    for strength in (0.1, 0.3, 0.5, 0.8, 0.95, 1.0):
        assert beginning(usual.path(40), share_of_times(usual, strength), usual) == beginning(
            usual.path(40), strength, usual
        )
    every = cosine.path(1000)
    for strength in (0.1, 0.3, 0.5, 0.8, 0.95):
        t = beginning(every, share_of_times(cosine, strength), cosine)
        wanted = usual.alpha(round(strength * 1000) - 1)
        assert cosine.alpha(t) >= wanted > cosine.alpha(t + 1)
    assert beginning(every, share_of_times(cosine, 0.8), cosine) == 874
    assert beginning(every, share_of_times(cosine, 1.0), cosine) == every[0]


def test_a_background_where_there_is_none(embedded):
    cat = Layer(name="cat", rgba=disc(11, (0.9, 0.5, 0.2)), offset=Offset(6, 30))
    stack = LayerStack(canvas=Size(64, 64), layers=(cat,))
    after = drawn(stack, embedded, ask("background", prompt="a beach", **FEW)).stack
    assert after.names[:2] == ("background", "cat")
    bare = LayerStack(canvas=Size(50, 40), layers=(dataclasses.replace(cat, visible=False),))
    weak = drawn(bare, embedded, ask("background", prompt="a beach", strength="0.5", **FEW)).stack
    assert weak.layer("background").size == Size(50, 40)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (ask("harmonize", "sofa"), '"sofa" is a visible thing'),
        (ask("restyle", "cat", prompt=" "), "The prompt is empty."),
        (ask("restyle", "cat", prompt="x", strength="0"), "A strength of 0 is not"),
        (ask("regenerate", "c*", "ball"), "means 2 layers"),
        (ask("regenerate", "cat", steps="0"), "steps 0 is not from 1 to 1000."),
        (ask("regenerate", "cat", seed="-1"), "seed -1 is not from 0"),
        (ask("regenerate", "cat", guidance="200"), "guidance 200 is not"),
        (ask("add", fg="a bird", box="0.5,0,0.2,1"), "The box is not inside the canvas."),
        (ask("add", fg="a bird", name="cat"), 'There is a layer "cat" already.'),
        (ask("background", prompt="x" * 3000), "has more than 2000 characters"),
        (ask("background", "cat", prompt="x"), "background takes no layer"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(embedded, picture, request_, told):
    with pytest.raises(LayercliError) as caught:
        drawn(picture, embedded, request_)
    assert told in caught.value.message


def test_defaults_are_those_of_generate():
    from layercli.edit.regenerate import Options

    assert (Options().steps, Options().guidance) == (GenerateRequest.steps, GenerateRequest.guidance)
