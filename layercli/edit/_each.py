"""An edit of objects: each with its mask, its shadow and its light."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.edit._boxes import Box, box_of, corner_of, seen_box
from layercli.edit._effects import together


def each(
    stack: LayerStack,
    names: Sequence[str],
    change: Callable[[Layer, Box], Layer],
    *,
    alone: bool = False,
    empty: bool = False,
) -> LayerStack:
    """Change every layer that is named and, unless it goes alone, its shadow and light with it.

    change: (a layer, the box of what is seen of the one that was named) -> the layer changed. empty: allow
    layers without pixels, whose box is their corner; else they raise LayercliError.
    """
    stack, groups = (stack, tuple((name, ()) for name in names)) if alone else together(stack, names)
    for name, effects in groups:
        box = corner_of(stack.layer(name)) if empty else box_of(stack.layer(name))
        for each_name in (name, *effects):
            stack = stack.replace(each_name, change(stack.layer(each_name), box))
    return stack


def on_canvas(before: LayerStack, after: LayerStack, names: Sequence[str], allowed: bool) -> LayerStack:
    """The stack after an edit, unless a layer has left the canvas by it; raises LayercliError then."""
    for name in names:
        if not allowed and name in after.names:  # a shared shadow is in parts by then
            check_place(before.layer(name), after.layer(name), after.canvas)
    return after


def check_place(was: Layer, now: Layer, canvas: Size) -> None:
    """Refuse that a layer which lay on the canvas lies beyond it; raises LayercliError."""
    old, new = seen_box(was), seen_box(now)
    if old is None or new is None or not old.meets(canvas) or new.meets(canvas):
        return
    raise LayercliError(
        f'"{now.name}" would lie outside the canvas of {canvas}, at {new.left},{new.top}.',
        "Choose a place on the canvas, or add --off-canvas.",
    )


def looks(stack: LayerStack, names: Sequence[str], **changes: object) -> LayerStack:
    """The stack with some fields of some layers set to one value."""
    for name in names:
        stack = stack.replace(name, dataclasses.replace(stack.layer(name), **changes))  # type: ignore[arg-type]
    return stack


def switched(stack: LayerStack, names: Sequence[str], visible: bool, *, alone: bool) -> LayerStack:
    """The stack with layers shown or hidden and, unless they go alone, their shadow and light."""
    stack, groups = (stack, tuple((name, ()) for name in names)) if alone else together(stack, names)
    for name, effects in groups:
        stack = looks(stack, (name, *effects), visible=visible)
    return stack
