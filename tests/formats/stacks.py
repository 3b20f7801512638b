"""Stacks and comparisons that the tests of all formats share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from layercli.core.composite import BLENDS
from layercli.core.layers import Layer, LayerStack, Offset, Size, opacity_level
from layercli.core.pixels import dequantize, quantize
from layercli.core.receipt import Receipt
from layercli.formats import psd

RECEIPT = Receipt(
    request={"foregrounds": ["a łódź <&> \u2028 \U0001f600"], "seed": 7, "boxes": {"cat": [0.1, 0.4]}},
    versions={"layercli": "0.1.0"},
    weights={"unet": "ab" * 32},
    seconds=1.5,
    device="cpu",
    command='layercli generate --fg "a cat" --seed 7',
)


def noise(height: int, width: int, seed: int = 0, channels: int = 4) -> np.ndarray:
    """8-bit levels as floats, alpha at 0, 255 and between."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (height, width, channels))
    alpha = rng.integers(-120, 376, (height, width)).clip(0, 255)
    if channels == 4:
        levels[..., 3] = alpha
    return dequantize(levels.astype(np.uint8))


def sample_stack(side: int = 24) -> LayerStack:
    """An opaque ground, a hidden layer, soft things over the edges, a mask, groups and every blend mode."""
    ground = noise(side, side, 1)
    ground[..., 3] = 1
    layers = [
        Layer(name="ground", rgba=ground, prompt="a sofa"),
        Layer(name="hidden", rgba=noise(5, 7, 2), offset=Offset(3, 4), visible=False),
        Layer(name="soft", rgba=noise(9, 6, 3), offset=Offset(-2, 6), opacity=204 / 255, group=("things",)),
        Layer(
            name="masked", rgba=noise(8, 8, 4), offset=Offset(side - 5, side - 6), group=("things", "inner"),
            mask=np.ascontiguousarray(noise(8, 8, 5)[..., 3]), prompt='a "cat"\nin <two> lines',
        ),
        *(
            Layer(
                name=f"{blend} light", rgba=noise(side - 8, side - 4, 10 + i), offset=Offset(2, 3),
                blend=blend, opacity=(255 - 60 * i) / 255, group=("effects",),
            )
            for i, blend in enumerate(BLENDS)
        ),
    ]  # fmt: skip
    return LayerStack(canvas=Size(side, side), layers=tuple(layers), receipt=RECEIPT)


@st.composite
def stacks(draw: st.DrawFn) -> LayerStack:
    """Small stacks of everything a stack may hold; groups are made of runs of layers, as files need it."""
    canvas = Size(draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=4, min_size=1))
    layers = []
    for index, name in enumerate(names):
        height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        seed = draw(st.integers(0, 99))
        rgba = noise(height, width, seed)
        clear = draw(st.sampled_from(["", "margin", "all"]))
        if clear == "all":
            rgba[..., 3] = 0
        elif clear:
            rgba[:2, ..., 3] = 0
        mask = np.ascontiguousarray(noise(height, width, seed + 1)[..., 3]) if draw(st.booleans()) else None
        layers.append(
            Layer(
                name=name,
                rgba=rgba,
                offset=Offset(draw(st.integers(-15, 15)), draw(st.integers(-15, 15))),
                opacity=draw(st.integers(0, 255)) / 255,
                blend=draw(st.sampled_from(BLENDS)),
                visible=draw(st.booleans()),
                prompt=draw(st.sampled_from(["", "a cat & <dog>", "zwei\nZeilen"])),
                mask=mask,
                group=draw(st.sampled_from([(), (f"g{index // 2}",), (f"g{index // 2}", "in")])),
            )
        )
    return LayerStack(canvas=canvas, layers=tuple(layers))


def assert_same(stack: LayerStack, again: LayerStack) -> None:
    """All of a stack came back: properties, and pixels to the last bit wherever something is seen."""
    assert again.canvas == stack.canvas
    assert again.names == stack.names
    for layer, found in zip(stack.layers, again.layers, strict=True):
        for key in ("blend", "visible", "prompt", "group"):
            assert getattr(found, key) == getattr(layer, key), f"{key} of {layer.name}"
        assert opacity_level(found.opacity) == opacity_level(layer.opacity)
        assert_same_pixels(layer, found)
    np.testing.assert_array_equal(again.flatten_quantized(), stack.flatten_quantized())


def assert_same_pixels(layer: Layer, found: Layer) -> None:
    """The same colours, alpha and mask at the same places, on and off the canvas; the box may be another."""
    left = min(layer.offset.left, found.offset.left)
    top = min(layer.offset.top, found.offset.top)
    wide = Size(
        max(each.offset.left + each.size.width for each in (layer, found)) - left,
        max(each.offset.top + each.size.height for each in (layer, found)) - top,
    )

    def shown(each: Layer, **change: object) -> np.ndarray:
        place = Offset(each.offset.left - left, each.offset.top - top)
        moved = dataclasses.replace(each, offset=place, opacity=1.0, **change)  # type: ignore[arg-type]
        return quantize(LayerStack(canvas=wide, layers=(moved,)).placed(0))

    before, after = shown(layer, mask=None), shown(found, mask=None)
    seen = before[..., 3] > 0
    np.testing.assert_array_equal(after[..., 3], before[..., 3], err_msg=f"alpha of {layer.name}")
    np.testing.assert_array_equal(after[seen], before[seen], err_msg=f"colour of {layer.name}")
    np.testing.assert_array_equal(shown(found)[..., 3], shown(layer)[..., 3], err_msg=f"mask of {layer.name}")
    assert (found.mask is None) == (layer.mask is None)


def edited(stack: LayerStack, path: Path) -> LayerStack:
    """Edit the PSD that a stack was written to, in place; returns the stack that it holds now.

    All but the back layer move; one of them is drawn anew, the front one gets another name and opacity.
    """
    kept = psd.opened(path)
    drawn = noise(kept.stack.layers[1].size.height, kept.stack.layers[1].size.width, 7)
    files, ours = list(kept.stack.layers), list(stack.layers)
    ours[1] = files[1]  # as it is cut in the file
    for layers in (files, ours):
        for index, layer in enumerate(layers[1:], 1):
            place = Offset(layer.offset.left + 1, layer.offset.top - 1)
            layers[index] = dataclasses.replace(layer, offset=place)
        layers[1] = dataclasses.replace(layers[1], rgba=drawn)
        layers[-1] = dataclasses.replace(layers[-1], name="neu", opacity=0.4)
    kept.write(dataclasses.replace(kept.stack, layers=tuple(files)), kept.stack.names, path)
    return dataclasses.replace(stack, layers=tuple(ours))
