"""Copy a layer, right in front of it, with its shadow and light; the copy may be moved at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from layercli.core.effects import free_name
from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset
from layercli.core.layers import Layer, LayerStack
from layercli.edit._each import check_place
from layercli.edit._effects import effect_name, owned
from layercli.edit._order import in_front_of

LAYERS: str = "one"
WORDS: tuple[str, ...] = ("name",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """name: of the copy, "LAYER copy" where none is given; by: pixels to the right and down; alone: copy no
    shadow and no light; off_canvas: allow that nothing of the copy lies on the canvas.
    """

    name: str = ""
    by: tuple[int, int] = (0, 0)
    alone: bool = False
    off_canvas: bool = False


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Add a copy of a layer; raises LayercliError where its name is taken."""
    [name] = names
    copy = options.name or free_name(f"{name} copy", stack.names)
    if copy in stack.names:
        raise LayercliError(f'There is a layer "{copy}" already.', "Choose another name.")
    stack, effects = (stack, ()) if options.alone else owned(stack, name)
    across, down = options.by

    def copied(layer: Layer, called: str) -> Layer:
        offset = Offset(layer.offset.left + across, layer.offset.top + down)
        return dataclasses.replace(layer, name=free_name(called, stack.names), offset=offset)

    original, made = stack.layer(name), copied(stack.layer(name), copy)
    if not options.off_canvas:
        check_place(original, made, stack.canvas)
    stack = in_front_of(stack, name, made)
    for effect in effects:
        layer = stack.layer(effect)
        stack = in_front_of(stack, effect, copied(layer, effect_name(layer, copy)))
    return stack
