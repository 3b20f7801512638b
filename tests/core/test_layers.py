from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from layercli.core.composite import composite
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 4), dtype=np.float32)


def test_a_good_layer_is_kept_as_it_is():
    rgba = picture(3, 5)
    layer = Layer(name="cat", rgba=rgba, group=("animals", "pets"))
    assert layer.rgba is rgba
    assert layer.size == Size(5, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.name = "dog"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rgba": np.zeros((2, 2, 4))}, "float64"),
        ({"rgba": np.zeros((2, 2, 4), dtype=np.uint8)}, "uint8"),
        ({"rgba": [[0.0]]}, "list"),
        ({"rgba": np.zeros((2, 2, 3), dtype=np.float32)}, "2x2x3"),
        ({"rgba": np.zeros((0, 2, 4), dtype=np.float32)}, "0x2x4"),
        ({"rgba": np.full((2, 2, 4), np.nan, dtype=np.float32)}, "not numbers"),
        ({"rgba": np.full((2, 2, 4), 1.01, dtype=np.float32)}, "1.01"),
        ({"rgba": np.full((2, 2, 4), -0.5, dtype=np.float32)}, "-0.5"),
        ({"mask": np.zeros((2, 1), dtype=np.float32)}, "mask of shape 2x1, not 2x2"),
        ({"mask": np.full((2, 2), 2, dtype=np.float32)}, "mask"),
        ({"opacity": 1.5}, "opacity"),
        ({"opacity": float("nan")}, "opacity"),
        ({"blend": "dissolve"}, "dissolve"),
        ({"group": ["effects"]}, "group"),
        ({"group": ("",)}, "group"),
        ({"group": "effects"}, "group"),
    ],
)
def test_a_bad_value_is_refused_with_the_layers_name(changes, words):
    good = {"name": "lantern", "rgba": np.zeros((2, 2, 4), dtype=np.float32)}
    with pytest.raises(LayercliError) as caught:
        Layer(**(good | changes))
    assert "lantern" in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


def test_a_layer_without_a_name_is_refused():
    with pytest.raises(LayercliError, match="no name"):
        Layer(name="", rgba=picture(1, 1))


def test_names_are_unique_and_found():
    a, b = Layer(name="a", rgba=picture(1, 1)), Layer(name="b", rgba=picture(1, 1))
    stack = LayerStack(canvas=Size(2, 2), layers=(a, b))
    assert stack.names == ("a", "b")
    assert stack.layer("b") is b
    with pytest.raises(LayercliError, match='No layer "c"'):
        stack.layer("c")
    with pytest.raises(LayercliError, match='called "a"'):
        LayerStack(canvas=Size(2, 2), layers=(a, a))
    with pytest.raises(LayercliError, match='called "a"'):
        stack.replace("b", a)
    swapped = stack.replace("b", dataclasses.replace(b, opacity=0.5))
    assert (swapped.layer("b").opacity, stack.layer("b").opacity) == (0.5, 1.0)


def test_placed_cuts_at_the_canvas_and_carries_mask_and_opacity():
    mask = picture(4, 6, 1)[..., 0]
    layer = Layer(name="a", rgba=picture(4, 6), offset=Offset(-2, 3), opacity=0.5, mask=mask)
    stack = LayerStack(canvas=Size(5, 5), layers=(layer,))
    placed = stack.placed("a")
    assert placed.shape == (5, 5, 4)
    np.testing.assert_array_equal(placed[3:, :4, :3], layer.rgba[:2, 2:, :3])
    np.testing.assert_allclose(placed[3:, :4, 3], layer.rgba[:2, 2:, 3] * mask[:2, 2:] * 0.5)
    assert not placed[:3].any()
    assert not placed[:, 4:].any()
    far = LayerStack(canvas=Size(5, 5), layers=(dataclasses.replace(layer, offset=Offset(50, -50)),))
    assert not far.placed(0).any()


def test_flatten_lays_visible_layers_back_to_front():
    layers = (
        Layer(name="ground", rgba=picture(5, 7)),
        Layer(name="hidden", rgba=picture(5, 7, 1), visible=False),
        Layer(name="shade", rgba=picture(3, 3, 2), offset=Offset(3, -1), blend="multiply", opacity=0.3),
        Layer(
            name="top",
            rgba=picture(2, 9, 3),
            offset=Offset(-1, 2),
            group=("g",),
            mask=picture(2, 9, 4)[..., 0],
        ),
    )
    stack = LayerStack(canvas=Size(7, 5), layers=layers)
    wanted = np.zeros((5, 7, 4), dtype=np.float32)
    for layer in (layers[0], layers[2], layers[3]):
        wanted = composite(wanted, stack.placed(layer.name), layer.blend)
    np.testing.assert_allclose(stack.flatten(), wanted, atol=1e-5)


def test_an_empty_stack_flattens_to_transparency():
    stack = LayerStack(canvas=Size(3, 2), layers=())
    assert stack.flatten().shape == (2, 3, 4)
    assert not stack.flatten().any()


def test_flatten_quantized_is_the_flatten_of_quantised_layers():
    layers = tuple(
        Layer(name=str(i), rgba=picture(40, 30, i), offset=Offset(i, -i), opacity=0.6, blend=blend)
        for i, blend in enumerate(("normal", "multiply", "screen", "overlay"))
    )
    stack = LayerStack(canvas=Size(30, 40), layers=layers)
    rounded = dataclasses.replace(
        stack,
        layers=tuple(
            dataclasses.replace(
                layer,
                rgba=dequantize(quantize(layer.rgba)),
                opacity=round(layer.opacity * 255) / 255,
            )
            for layer in layers
        ),
    )
    found = stack.flatten_quantized()
    assert found.dtype == np.uint8
    difference = np.abs(found.astype(int) - quantize(rounded.flatten()).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001  # float noise at a rounding border only
