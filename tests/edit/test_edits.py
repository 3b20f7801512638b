"""Every edit without a model, on a scene with masks, shadow and light."""

from __future__ import annotations

import dataclasses
import re
import warnings

import numpy as np
import pytest

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import quantize, save_png
from layercli.edit._boxes import box_of
from layercli.edit._choose import NearName, choose
from layercli.edit._effects import is_effect, owned
from tests.edit import scenes
from tests.edit.test_laws import ask, assert_same_stack, done


def box(stack: LayerStack, name: str) -> tuple[int, int, int, int]:
    found = box_of(stack.layer(name))
    return found.left, found.top, found.width, found.height


def test_a_moved_object_takes_its_mask_shadow_and_light_along():
    before = scenes.lit()
    after = done(before, ask("move", "dog", by="-5,-3")).stack
    assert after.layer("dog").offset == Offset(23, 15)
    assert after.layer("dog").rgba is before.layer("dog").rgba
    assert after.layer("dog").mask is before.layer("dog").mask
    names = {layer.name for layer in after.layers if is_effect(layer)}
    assert names == {"shadows of cat", "light of cat", "shadows of dog", "light of dog"}
    parted, own = owned(before, "dog")
    for name in own:
        was, now = parted.layer(name).offset, after.layer(name).offset
        assert (now.left - was.left, now.top - was.top) == (-5, -3)
    alone = done(before, ask("move", "dog", by="-5,-3", alone="yes")).stack
    assert alone.layer("shadows").rgba is before.layer("shadows").rgba


def test_all_layers_at_once_go_with_all_of_their_shadows():
    for before in (scenes.lit(), scenes.one_object()):
        after = done(before, ask("move", "*", by="3,-2")).stack
        moved = dataclasses.replace(
            before,
            layers=tuple(
                dataclasses.replace(layer, offset=Offset(layer.offset.left + 3, layer.offset.top - 2))
                for layer in before.layers
            ),
        )
        np.testing.assert_array_equal(after.flatten_quantized(), moved.flatten_quantized())
        hidden = done(before, ask("hide", "*")).stack
        assert not any(layer.visible for layer in hidden.layers)


def test_shared_shadow_is_cut_between_objects_without_a_trace():
    before = scenes.lit()
    parted, own = owned(before, "cat")
    assert own == ("shadows of cat", "light of cat")
    np.testing.assert_array_equal(parted.flatten_quantized(), before.flatten_quantized())
    cat = box_of(before.layer("cat"))
    shadow = box_of(parted.layer("shadows of cat"))
    assert shadow.left < cat.right and shadow.right <= 30  # the dog stands at 28
    assert not owned(parted, "ground")[1]


def test_the_shadow_of_the_only_object_is_moved_as_it_is():
    before = scenes.one_object()
    after = done(before, ask("move", "cat", to="20,10")).stack
    assert box(after, "cat")[:2] == (20, 10)
    assert after.names == before.names
    assert after.layer("shadows").rgba is before.layer("shadows").rgba
    assert after.layer("shadows").offset == Offset(16, -4)


def test_deleting_or_hiding_an_object_leaves_no_ghost():
    before = scenes.lit()
    bare = scenes.lit(dataclasses.replace(scenes.plain(), layers=scenes.plain().layers[:2]))
    after = done(before, ask("delete", "dog")).stack
    assert not [name for name in after.names if "dog" in name]
    difference = np.abs(after.flatten() - bare.flatten())[:, :20]
    assert difference.max() < 0.02
    hidden = done(before, ask("hide", "dog")).stack
    np.testing.assert_array_equal(hidden.flatten_quantized(), after.flatten_quantized())
    assert_same_stack(before, done(before, ask("hide", "dog"), ask("show", "dog")).stack)


def test_the_last_layers_cannot_be_deleted():
    with pytest.raises(LayercliError, match="No layer would be left"):
        done(scenes.plain(), ask("delete", "*"))


@pytest.mark.parametrize(("factor", "size"), [("200%", 30), ("0.5", 8), ("1.3", 20)])
def test_scaling_keeps_colour_and_the_point_it_is_about(factor, size):
    before = scenes.one_object()
    after = done(before, ask("scale", "cat", by=factor, about="foot", off_canvas="yes")).stack
    left, top, width, height = box(after, "cat")
    assert abs(width - size) <= 2 and abs(height - size) <= 2
    old = box(before, "cat")
    assert abs(left + width / 2 - (old[0] + old[2] / 2)) <= 1
    assert abs(top + height - (old[1] + old[3])) <= 1
    seen = after.layer("cat").rgba[after.layer("cat").rgba[..., 3] > 0.05]
    assert np.abs(seen[:, 0] / seen[:, 2] - 4.5).max() < 0.9  # 0.9 / 0.2, also at the soft edge: no fringe
    assert after.layer("shadows").size.width != before.layer("shadows").size.width


def test_scaling_to_a_size_and_its_mask():
    before = scenes.plain()
    after = done(before, ask("scale", "dog", to="26x20")).stack
    assert (
        box(after, "dog")[2:] == (26, 20) or np.abs(np.subtract(box(after, "dog")[2:], (26, 20))).max() <= 1
    )
    layer = after.layer("dog")
    assert layer.mask is not None and layer.mask.shape == layer.rgba.shape[:2]
    assert layer.mask[2, 5] == pytest.approx(0.2, abs=0.02)
    assert layer.mask[-2, 5] == pytest.approx(1.0, abs=0.02)


def test_scaling_by_one_changes_nothing():
    before = scenes.lit()
    assert_same_stack(before, done(before, ask("scale", "cat", by="100%")).stack)


def test_turning_keeps_the_middle_and_the_mass():
    before = scenes.one_object()
    after = done(before, ask("rotate", "cat", by="33")).stack
    was, now = before.layer("cat"), after.layer("cat")
    assert now.rgba[..., 3].sum() == pytest.approx(was.rgba[..., 3].sum(), rel=0.01)
    middle = [np.average(np.indices(a.shape), axis=(1, 2), weights=a) for a in
              (before.placed("cat")[..., 3], after.placed("cat")[..., 3])]  # fmt: skip
    assert np.abs(middle[0] - middle[1]).max() < 0.3
    lit_side = after.placed("cat")[14:29, 4:19]
    assert lit_side[3, 10, 0] > lit_side[11, 4, 0] + 0.05  # the light of the top went clockwise


def test_a_quarter_turn_is_clockwise():
    rgba = np.zeros((2, 3, 4), dtype=np.float32)
    rgba[..., 3] = 1
    rgba[0, 0, 0] = 1
    stack = LayerStack(canvas=Size(9, 9), layers=(Layer(name="a", rgba=rgba, offset=Offset(3, 3)),))
    turned = done(stack, ask("rotate", "a", by="90")).stack.layer("a").rgba
    assert turned.shape[:2] == (3, 2)
    assert turned[0, 1, 0] == 1 and turned[..., 0].sum() == 1


def test_looks():
    after = done(
        scenes.plain(), ask("opacity", "cat", to="60%"), ask("blend", "dog", to="multiply"),
        ask("rename", "cat", to="tiger"), ask("opacity", "d*", to="0.25"),
    ).stack  # fmt: skip
    assert after.names == ("ground", "tiger", "dog")
    assert after.layer("tiger").opacity == 0.6
    assert (after.layer("dog").opacity, after.layer("dog").blend) == (0.25, "multiply")


def test_the_shadow_keeps_the_name_of_its_object():
    after = done(scenes.lit(), ask("move", "cat", by="1,0"), ask("rename", "cat", to="tiger")).stack
    assert {"shadows of tiger", "light of tiger", "shadows of dog"} <= set(after.names)
    assert owned(after, "tiger")[1] == ("shadows of tiger", "light of tiger")


def test_shared_shadows_are_still_found_by_their_name():
    edited = done(scenes.lit(), ask("move", "cat", by="1,0"), ask("opacity", "shadows", to="50%"))
    assert edited.chosen[1] == ("shadows of cat", "shadows of dog")


def test_reordering_enters_the_group_it_goes_to():
    before = scenes.lit()
    after = done(before, ask("reorder", "cat", above="shadows")).stack
    assert after.names == ("ground", "dog", "shadows", "cat", "light")
    assert after.layer("cat").group == ("effects",)
    after = done(before, ask("reorder", "dog", below="cat")).stack
    assert after.names[:3] == ("ground", "dog", "cat")
    assert done(before, ask("reorder", "shadows", to="front")).stack.layer("shadows").group == ()


def test_groups():
    before = scenes.lit()
    after = done(before, ask("group", "cat", "dog", name="pets")).stack
    assert [layer.group for layer in after.layers] == [(), ("pets",), ("pets",), ("effects",), ("effects",)]
    assert after.names == before.names
    np.testing.assert_array_equal(after.flatten_quantized(), before.flatten_quantized())
    both = done(before, ask("group", "shadows", name="deep")).stack
    assert both.layer("shadows").group == ("effects", "deep")
    across = done(before, ask("group", "ground", "shadows", name="mixed")).stack
    assert across.names == ("cat", "dog", "light", "ground", "shadows")
    assert [layer.group for layer in across.layers[2:]] == [("effects",), ("mixed",), ("mixed",)]
    assert [layer.group for layer in done(after, ask("group", "pets", out="yes")).stack.layers][:3] == [
        ()
    ] * 3
    moved = done(after, ask("move", "pets", by="2,0"))
    assert moved.chosen == (("cat", "dog"),)


def test_masks(tmp_path):
    white = np.ones((40, 48, 4), dtype=np.float32)
    white[:, :12, :3] = 0
    save_png(tmp_path / "m.png", white)
    before = scenes.plain()
    after = done(before, ask("mask", "cat", picture=str(tmp_path / "m.png"))).stack
    mask = after.layer("cat").mask
    assert mask is not None and set(np.unique(mask)) == {0, 1}
    assert not mask[:, :8].any() and mask[:, 8:].all()
    assert after.layer("cat").rgba is before.layer("cat").rgba
    turned = done(after, ask("mask", "cat", invert="yes")).stack
    np.testing.assert_array_equal(turned.layer("cat").mask, 1 - mask)
    boxed = done(before, ask("mask", "cat", box="12,0,100,100")).stack
    np.testing.assert_array_equal(boxed.layer("cat").mask, mask)
    for name in ("cat", "dog"):
        applied = done(after, ask("mask", name, apply="yes")).stack
        assert applied.layer(name).mask is None
        np.testing.assert_allclose(applied.flatten(), after.flatten(), atol=1e-6)
    assert done(before, ask("mask", "dog", remove="yes")).stack.layer("dog").mask is None


def test_crop_and_canvas_move_everything_and_lose_nothing():
    before = scenes.lit()
    edited = done(before, ask("crop", to="8,6,30,20"))
    after = edited.stack
    assert after.canvas == Size(30, 20)
    np.testing.assert_array_equal(after.flatten_quantized(), before.flatten_quantized()[6:26, 8:38])
    assert edited.moved == Offset(-8, -6)
    assert _outside(before, edited) == 0
    back = done(before, ask("crop", to="8,6,30,20"), ask("canvas", size="48x40", anchor="top-left")).stack
    placed = dict(zip(back.names, back.layers, strict=True))
    assert placed["cat"].offset == Offset(4 - 8, 14 - 6)
    assert placed["cat"].rgba is before.layer("cat").rgba
    wide = done(before, ask("canvas", size="60x40")).stack
    np.testing.assert_array_equal(wide.flatten_quantized()[:, 6:54], before.flatten_quantized())
    tight = done(before, ask("crop", layer="cat", margin="2")).stack
    assert tight.canvas == Size(19, 19)


def _outside(before, edited):
    from layercli.edit._chain import changed_outside

    return changed_outside(before.flatten_quantized(), edited, edited.stack.flatten_quantized())


def test_locality_counts_what_should_not_have_changed():
    before = scenes.plain()
    edited = done(before, ask("move", "cat", by="3,0"))
    spoilt = edited.stack.flatten_quantized().copy()
    spoilt[0, :5] ^= 1
    from layercli.edit._chain import changed_outside

    assert changed_outside(before.flatten_quantized(), edited, spoilt) == 5


@pytest.mark.parametrize(("fit", "size"), [("inside", (15, 8)), ("fill", (15, 15)), ("size", (30, 16))])
def test_replacing_by_a_picture(tmp_path, fit, size):
    picture = np.zeros((20, 34, 4), dtype=np.float32)
    picture[2:18, 2:32] = (0, 1, 0, 1)
    save_png(tmp_path / "new.png", picture)
    before = scenes.plain()
    after = done(before, ask("replace", "cat", picture=str(tmp_path / "new.png"), fit=fit)).stack
    layer = after.layer("cat")
    assert (layer.size.width, layer.size.height) == size
    assert quantize(layer.rgba).reshape(-1, 4).tolist() == [[0, 255, 0, 255]] * (size[0] * size[1])
    left, top, width, height = box(before, "cat")
    if fit != "size":
        assert layer.offset.top + size[1] == top + height
    assert abs(layer.offset.left + size[0] / 2 - left - width / 2) <= 0.5


def test_exporting_gives_what_is_seen_of_a_layer():
    edited = done(scenes.plain(), ask("export", "dog"), ask("export", "dog", whole="yes"))
    small, whole = edited.pictures[1, "dog"], edited.pictures[2, "dog"]
    assert small.shape == (13, 13, 4)
    assert small[3, 6, 3] == pytest.approx(0.2, abs=0.01)
    np.testing.assert_array_equal(whole, scenes.plain().placed("dog"))
    assert_same_stack(scenes.plain(), edited.stack)


def called(*names: str):
    """One pixel a layer, those called shadows and light being shadow and light."""
    pixel = np.ones((1, 1, 4), dtype=np.float32)
    effects = {name: ("multiply", ("effects",)) for name in names if name.startswith(("shadows", "light"))}
    looks = [(name, *effects.get(name, ("normal", ()))) for name in names]
    layers = [Layer(name=name, rgba=pixel, blend=blend, group=group) for name, blend, group in looks]
    return dataclasses.replace(scenes.plain(), layers=tuple(layers))


@pytest.mark.parametrize(
    ("pattern", "names", "meant"),
    [
        ("cat", ("a sofa", "a cat", "shadows", "light"), "a cat"),
        ("shadow", ("a sofa", "a cat", "shadows", "light"), "shadows"),
        ("Sofa", ("a blue sofa", "cat"), "a blue sofa"),
        ("cat", ("a catalogue", "a black cat"), "a black cat"),  # whole words before parts
        ("cat", ("a cat", "a dog", "shadows of a cat", "light of a cat"), "a cat"),
        ("shadows of a", ("a cat", "shadows of a cat", "light of a cat"), "shadows of a cat"),
        ("猫 2", ("大きい 猫 2", "猫"), "大きい 猫 2"),
    ],
)
def test_a_part_of_one_name_is_enough(pattern, names, meant):
    with pytest.warns(NearName, match=f'"{re.escape(pattern)}" was read as "{meant}".'):
        assert choose(called(*names), [pattern], one=True) == (meant,)


@pytest.mark.parametrize(
    ("pattern", "names", "meant"),
    [
        ("cat", ("cat", "a cat"), ["cat"]),
        ("CAT", ("cat", "a cat"), ["cat"]),
        ("*cat", ("a cat", "the cat"), ["a cat", "the cat"]),
        ("effects", ("an effects layer", "shadows", "light"), ["shadows", "light"]),
    ],
)
def test_names_globs_and_groups_come_first(pattern, names, meant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose(called(*names), [pattern]) == tuple(meant)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("cat", '"cat" may be "a cat", "the cat".'),
        ("a", 'No layer "a".'),
        ("at", 'No layer "at".'),
        ("ca?z", 'No layer matches "ca?z".'),
    ],
)
def test_a_part_of_several_names_or_of_none_is_refused(pattern, told):
    with pytest.raises(LayercliError, match=re.escape(told)):
        choose(called("a cat", "the cat", "shadows"), [pattern])


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (ask("move", "fox", by="1,1"), 'No layer "fox". Layers: ground, cat, dog, shadows, light.'),
        (ask("hide", "fo*"), 'No layer matches "fo*".'),
        (ask("rename", "*o*", to="x"), '"*o*" means 3 layers: "ground", "dog", "shadows".'),
        (ask("rename", "cat", to="dog"), 'There is a layer "dog" already.'),
        (ask("rename", "cat", to=" "), "A layer cannot have an empty name."),
        (ask("move", "cat"), "move needs either --by or --to."),
        (ask("move", by="1,1"), "move needs a layer."),
        (ask("move", "cat", by="50,0"), '"cat" would lie outside the canvas of 48x40, at 54,14.'),
        (ask("scale", "cat", by="fat"), '"fat" is no share.'),
        (ask("scale", "cat", by="0"), "A factor of 0 is not from"),
        (ask("scale", "ground", by="100000%"), "30,000 is the most"),
        (ask("scale", "cat", to="0x5"), "A picture cannot be 0x5"),
        (ask("rotate", "cat", by="nan"), "is not a number"),
        (ask("opacity", "cat", to="120%"), "An opacity of 120% is not from 0% to 100%."),
        (ask("opacity", "cat"), 'opacity needs the option "to".'),
        (ask("blend", "cat", to="dissolve"), 'to="dissolve" is not one of normal'),
        (ask("reorder", "cat"), "reorder needs one of"),
        (ask("reorder", "cat", above="cat"), '"cat" cannot go in front of or behind itself.'),
        (ask("duplicate", "cat", name="dog"), 'There is a layer "dog" already.'),
        (ask("duplicate", "cat", by="90,90"), "would lie outside the canvas"),
        (ask("mask", "cat", invert="yes"), '"cat" has no mask.'),
        (ask("mask", "cat", picture="none.png"), 'There is no file "none.png".'),
        (ask("mask", "cat"), "mask needs one of"),
        (ask("crop", to="40,0,20,20"), "The box 40,0,20,20 is not on the canvas of 48x40."),
        (ask("crop", "cat", to="0,0,20,20"), 'crop takes no layer, but was given "cat".'),
        (ask("crop"), "crop needs either a box or --layer."),
        (ask("canvas", size="big"), '"big" is not a size.'),
        (ask("replace", "cat", picture="none.png"), 'There is no file "none.png".'),
        (ask("move", "cat", by="1,1", speed="2"), 'move has no option "speed".'),
        (ask("paint", "cat"), 'There is no "paint" in edit.'),
        (ask("group", "cat", name=""), "A group cannot have an empty name."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(request_, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LayercliError) as caught:
        done(scenes.lit(), request_)
    assert told in caught.value.message
    with pytest.raises(LayercliError, match=rf"^Step 2, {request_.edit}: "):
        done(scenes.lit(), ask("hide", "cat"), request_)


def test_an_empty_layer_cannot_be_scaled_but_moved():
    empty = Layer(name="empty", rgba=np.zeros((1, 1, 4), dtype=np.float32))
    stack = dataclasses.replace(scenes.plain(), layers=(*scenes.plain().layers, empty))
    with pytest.raises(LayercliError, match='"empty" has no pixels'):
        done(stack, ask("scale", "empty", by="2"))
    assert done(stack, ask("move", "empty", to="3,4")).stack.layer("empty").offset == Offset(3, 4)


def test_shadows_that_show_nothing_stay():
    stack = scenes.lit()
    shadows = stack.layer("shadows")
    clear = dataclasses.replace(shadows, rgba=shadows.rgba * np.float32([1, 1, 1, 0]))
    after = done(stack.replace("shadows", clear), ask("move", "cat", by="1,0")).stack
    assert "shadows" in after.names and "light of cat" in after.names
