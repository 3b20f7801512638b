"""The order of layers; groups stay in one piece."""

from __future__ import annotations

import dataclasses

from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer, LayerStack


def in_front_of(stack: LayerStack, name: str, layer: Layer) -> LayerStack:
    """The stack with a new layer right in front of the one that is named."""
    index = stack.index(name) + 1
    return dataclasses.replace(stack, layers=(*stack.layers[:index], layer, *stack.layers[index:]))


def on_new_canvas(stack: LayerStack, canvas: Size, left: int, top: int) -> LayerStack:
    """The stack on another canvas, its old corner at left, top of the new one."""
    layers = tuple(
        dataclasses.replace(layer, offset=Offset(layer.offset.left + left, layer.offset.top + top))
        for layer in stack.layers
    )
    return dataclasses.replace(stack, canvas=canvas, layers=layers)
