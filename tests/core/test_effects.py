from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layercli.core.composite import composite
from layercli.core.effects import EFFECTS_GROUP, effect_layers, with_effects
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize

LEVELS = hnp.arrays(np.uint8, (4, 5, 3))
FLOATS = hnp.arrays(np.float32, (4, 5, 3), elements=st.floats(0, 1, width=32))


def scene(background: np.ndarray, cat: np.ndarray) -> LayerStack:
    """An opaque background and a small half-transparent object on it."""
    opaque = np.concatenate([background, np.ones((4, 5, 1), dtype=np.float32)], axis=-1)
    return LayerStack(
        canvas=Size(5, 4),
        layers=(
            Layer(name="sofa", rgba=opaque),
            Layer(name="cat", rgba=cat, offset=Offset(1, 1), opacity=0.8),
        ),
    )


@given(FLOATS, hnp.arrays(np.float32, (3, 3, 4), elements=st.floats(0, 1, width=32)), FLOATS)
@settings(max_examples=200)
def test_the_file_shows_the_harmonised_picture(background, cat, harmonized):
    stack = with_effects(scene(background, cat), harmonized)
    shown = stack.flatten_quantized()
    assert np.abs(dequantize(shown[..., :3]) - harmonized).max() <= 1 / 255
    np.testing.assert_array_equal(shown[..., :3], quantize(harmonized))
    assert shown[..., 3].min() == 255


def test_every_pair_of_levels():
    """All 256 x 256 pairs of composite and harmonised level, black and white among them."""
    c, h = (dequantize(a.astype(np.uint8)) for a in np.mgrid[0:256, 0:256])
    c3, h3 = (np.repeat(a[..., None], 3, axis=-1) for a in (c, h))
    shadows, light = effect_layers(c3, h3)
    base = np.concatenate([c3, np.ones((256, 256, 1), dtype=np.float32)], axis=-1)
    exact = composite(composite(base, shadows.rgba, "multiply"), light.rgba, "screen")[..., :3]
    assert np.abs(exact - h3).max() <= 0.5 / 255 + 1e-6
    # A reader that rounds after each layer is at most one level off as well.
    stepwise = dequantize(quantize(composite(base, shadows.rgba, "multiply")))
    stepwise = quantize(composite(stepwise, light.rgba, "screen"))[..., :3]
    assert np.abs(stepwise.astype(int) - quantize(h3).astype(int)).max() <= 1


@given(LEVELS, LEVELS)
def test_effects_hold_8_bit_levels_and_are_neutral_where_nothing_changes(c, h):
    shadows, light = effect_layers(dequantize(c), dequantize(h))
    assert (shadows.blend, light.blend) == ("multiply", "screen")
    assert shadows.group == light.group == EFFECTS_GROUP
    for layer in (shadows, light):
        np.testing.assert_array_equal(dequantize(quantize(layer.rgba)), layer.rgba)
    for layer, used, neutral in ((shadows, (h < c).any(axis=-1), 1.0), (light, (h > c).any(axis=-1), 0.0)):
        assert (layer.rgba[used, 3] == 1).all()
        assert (layer.rgba[~used, :3] == neutral).all()


def test_effects_are_clear_away_from_what_they_change():
    c, h = np.full((2, 20, 20, 3), 0.5, dtype=np.float32)
    h[4, 4] = 0.2
    shadows, light = effect_layers(c, h)
    assert not light.rgba[..., 3].any()
    np.testing.assert_array_equal(np.argwhere(shadows.rgba[..., 3]).min(axis=0), (2, 2))
    np.testing.assert_array_equal(np.argwhere(shadows.rgba[..., 3]).max(axis=0), (6, 6))


def test_nothing_to_do_gives_clear_layers():
    rgb = np.random.default_rng(0).random((4, 5, 3), dtype=np.float32)
    for layer in effect_layers(rgb, rgb):
        assert not layer.rgba[..., 3].any()


def test_names_that_are_taken_are_not_taken_again():
    stack = scene(np.zeros((4, 5, 3), dtype=np.float32), np.zeros((3, 3, 4), dtype=np.float32))
    stack = stack.replace("cat", dataclasses.replace(stack.layer("cat"), name="light"))
    assert with_effects(stack, np.ones((4, 5, 3), dtype=np.float32)).names == (
        "sofa",
        "light",
        "shadows",
        "light 2",
    )


def test_effects_need_an_opaque_ground_of_the_same_size():
    stack = scene(np.zeros((4, 5, 3), dtype=np.float32), np.zeros((3, 3, 4), dtype=np.float32))
    with pytest.raises(LayercliError, match="harmonised"):
        with_effects(stack, np.zeros((5, 5, 3), dtype=np.float32))
    clear = dataclasses.replace(stack, layers=stack.layers[1:])
    with pytest.raises(LayercliError, match="transparent"):
        with_effects(clear, np.zeros((4, 5, 3), dtype=np.float32))
