"""A small scene as `generate` leaves it: a ground, two soft objects, shadow and light over both."""

from __future__ import annotations

import dataclasses

import numpy as np

from layercli.core.effects import with_effects
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize

CANVAS = Size(48, 40)


def disc(radius: int, colour: tuple[float, float, float]) -> np.ndarray:
    """A soft disc in 8-bit levels, (2r+1, 2r+1, 4), lit from above."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    rgba = np.empty((*x.shape, 4), dtype=np.float32)
    rgba[..., :3] = np.asarray(colour, dtype=np.float32) * (0.8 - 0.2 * y / radius)[..., None]
    rgba[..., 3] = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return dequantize(quantize(np.clip(rgba, 0, 1)))


def ground() -> np.ndarray:
    """An opaque gradient of the canvas' size."""
    rgba = np.ones((CANVAS.height, CANVAS.width, 4), dtype=np.float32)
    rgba[..., 0] = np.linspace(0.3, 0.9, CANVAS.width, dtype=np.float32)
    rgba[..., 1] = np.linspace(0.8, 0.4, CANVAS.height, dtype=np.float32)[:, None]
    return dequantize(quantize(rgba))


def plain() -> LayerStack:
    """The ground, a cat at the left, a dog at the right with a mask of its own."""
    mask = np.ones((13, 13), dtype=np.float32)
    mask[:4] = 0.2
    return LayerStack(
        canvas=CANVAS,
        layers=(
            Layer(name="ground", rgba=ground(), prompt="a meadow"),
            Layer(name="cat", rgba=disc(7, (0.9, 0.5, 0.2)), offset=Offset(4, 14), prompt="a cat"),
            Layer(name="dog", rgba=disc(6, (0.3, 0.3, 0.6)), offset=Offset(28, 18), mask=mask, opacity=0.8),
        ),
    )


def lit(stack: LayerStack | None = None) -> LayerStack:
    """The same with shadow under and light on every object, in the two layers that all of them share."""
    stack = plain() if stack is None else stack
    picture = stack.flatten()[..., :3]
    y, x = np.mgrid[0 : CANVAS.height, 0 : CANVAS.width].astype(np.float32)
    for layer in stack.layers[1:]:
        cx, foot = layer.offset.left + layer.size.width / 2, layer.offset.top + layer.size.height
        near = np.exp(-(((x - cx) / 6) ** 2) - ((y - foot) / 2.5) ** 2)
        shine = np.exp(-(((x - cx) / 4) ** 2) - ((y - layer.offset.top - 3) / 3) ** 2)
        picture = picture * (1 - 0.5 * near)[..., None] + (1 - picture) * (0.3 * shine)[..., None]
    return with_effects(stack, picture.astype(np.float32))


def one_object() -> LayerStack:
    """The ground and the cat alone, with shadow and light."""
    stack = plain()
    return lit(dataclasses.replace(stack, layers=stack.layers[:2]))
