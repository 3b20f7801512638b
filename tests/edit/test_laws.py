"""Laws of edits: chains of random moves keep what they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layercli.core import registry
from layercli.core.edit_requests import EditRequest
from layercli.core.layers import LayerStack
from layercli.edit import _chain
from layercli.edit._effects import is_effect
from tests.edit import scenes

SCENES = {"plain": scenes.plain(), "lit": scenes.lit(), "one object": scenes.one_object()}
FEW = settings(max_examples=40)


def ask(edit: str, *layers: str, **options: str) -> EditRequest:
    return EditRequest(edit=edit, layers=layers, options=options)


def done(stack: LayerStack, *requests: EditRequest) -> _chain.Edited:
    return _chain.run(stack, _chain.plan(requests))


def fields(layer: Any) -> tuple[Any, ...]:
    return layer.name, layer.offset, layer.opacity, layer.blend, layer.visible, layer.prompt, layer.group


def assert_same_stack(before: LayerStack, after: LayerStack) -> None:
    """Every layer, but for shadow and light which may be cut into those of single objects."""
    assert after.canvas == before.canvas
    kept = [layer for layer in before.layers if not is_effect(layer)]
    found = [layer for layer in after.layers if not is_effect(layer)]
    assert [fields(layer) for layer in found] == [fields(layer) for layer in kept]
    for was, now in zip(kept, found, strict=True):
        np.testing.assert_array_equal(now.rgba, was.rgba)
        assert (now.mask is None) == (was.mask is None)
        if was.mask is not None:
            np.testing.assert_array_equal(now.mask, was.mask)
    np.testing.assert_array_equal(after.flatten_quantized(), before.flatten_quantized())


def shift(x: int, y: int) -> str:
    return f"{x},{y}"


PLACES = st.tuples(st.integers(-60, 60), st.integers(-60, 60))
OBJECTS = st.sampled_from(["cat", "dog"])


@pytest.fixture(params=sorted(SCENES))
def stack(request: pytest.FixtureRequest) -> LayerStack:
    return SCENES[request.param]


@FEW
@given(scene=st.sampled_from(sorted(SCENES)), way=st.lists(PLACES, min_size=1, max_size=4))
def test_there_and_back_is_the_identity(scene: str, way: list[tuple[int, int]]):
    there = [ask("move", "cat", by=shift(x, y), off_canvas="yes") for x, y in way]
    back = [ask("move", "cat", by=shift(-x, -y), off_canvas="yes") for x, y in reversed(way)]
    before = SCENES[scene]
    assert_same_stack(before, done(before, *there, *back).stack)


@FEW
@given(
    scene=st.sampled_from(["plain", "lit"]),
    moves=st.lists(st.tuples(OBJECTS, PLACES), min_size=1, max_size=5),
)
def test_moves_change_nothing_outside_what_moves(scene: str, moves: list[tuple[str, tuple[int, int]]]):
    before = SCENES[scene]
    edited = done(before, *(ask("move", name, by=shift(*by), off_canvas="yes") for name, by in moves))
    shown = edited.stack.flatten_quantized()
    assert _chain.changed_outside(before.flatten_quantized(), edited, shown) == 0


@FEW
@given(scene=st.sampled_from(sorted(SCENES)), by=PLACES, name=st.sampled_from(["", "tiger"]))
def test_delete_after_duplicate_is_the_identity(scene: str, by: tuple[int, int], name: str):
    before = SCENES[scene]
    named = {"name": name} if name else {}
    copy = name or "cat copy"
    after = done(
        before, ask("duplicate", "cat", by=shift(*by), off_canvas="yes", **named), ask("delete", copy)
    ).stack
    assert_same_stack(before, after)
    if scene != "lit":  # shared shadows are cut before one of them is copied
        assert after.names == before.names


TURNS = st.sampled_from(["-360", "-90", "0", "90", "180", "270", "37.5"])
CHAINS = st.lists(
    st.one_of(
        st.builds(lambda n, by: ask("move", n, by=shift(*by), off_canvas="yes"), OBJECTS, PLACES),
        st.builds(lambda n, a: ask("flip", n, axis=a), OBJECTS, st.sampled_from(["horizontal", "vertical"])),
        st.builds(lambda n, t: ask("rotate", n, by=t, off_canvas="yes"), OBJECTS, TURNS),
        st.builds(lambda n, p: ask("opacity", n, to=f"{p}%"), OBJECTS, st.integers(0, 100)),
        st.builds(lambda n: ask("hide", n), OBJECTS),
        st.builds(lambda n: ask("show", n), OBJECTS),
        st.builds(lambda n, b: ask("blend", n, to=b), OBJECTS, st.sampled_from(["normal", "multiply"])),
    ),
    max_size=6,
)  # fmt: skip


@FEW
@given(chain=CHAINS)
def test_order_names_and_groups_are_kept(chain: list[EditRequest]):
    before = SCENES["lit"]
    edited = done(before, *chain)
    things = [layer for layer in edited.stack.layers if not is_effect(layer)]
    assert [layer.name for layer in things] == ["ground", "cat", "dog"]
    assert [layer.group for layer in things] == [(), (), ()]
    origins = dict(zip(edited.stack.names, edited.origins, strict=True))
    assert all(origins[name] == name for name in ("ground", "cat", "dog"))
    np.testing.assert_array_equal(edited.stack.layer("ground").rgba, before.layer("ground").rgba)
    assert edited.stack.layer("ground").rgba is before.layer("ground").rgba  # so its bytes stay in a file


@pytest.mark.parametrize("angle", [90, 180, -90, 270])
def test_turns_and_flips_undo_themselves(stack, angle):
    there, back = ask("rotate", "cat", by=str(angle)), ask("rotate", "cat", by=str(-angle))
    assert_same_stack(stack, done(stack, there, back).stack)
    assert_same_stack(stack, done(stack, *[ask("rotate", "cat", by="90")] * 4).stack)
    for axis in ("horizontal", "vertical"):
        assert_same_stack(stack, done(stack, *[ask("flip", "cat", axis=axis)] * 2).stack)


@FEW
@given(
    order=st.lists(st.tuples(st.sampled_from(["cat", "dog", "ground"]), st.sampled_from(["front", "back"])),
                   max_size=6)
)  # fmt: skip
def test_reordering_keeps_the_others_in_order_and_groups_whole(order: list[tuple[str, str]]):
    stack = SCENES["lit"]
    for name, to in order:
        before = [other for other in stack.names if other != name]
        stack = done(stack, ask("reorder", name, to=to)).stack
        assert [other for other in stack.names if other != name] == before
    runs = [layer.group for layer in stack.layers]
    places = [index for index, group in enumerate(runs) if group == ("effects",)]
    assert places == list(range(places[0], places[0] + 2))


@pytest.mark.parametrize("name", sorted(registry.plugins("layercli.edit")))
def test_every_edit_says_what_it_is(name):
    module = registry.load("layercli.edit", name)
    assert registry.plugins("layercli.edit")[name].endswith(".")
    assert module.edit.__doc__
    assert getattr(module, "LAYERS", "many") in {"many", "one", "any", "none"}
    assert set(getattr(module, "WORDS", ())) <= set(registry.outline("layercli.edit", name))
