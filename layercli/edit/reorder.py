"""Move layers in front of another one, behind it, or all the way to the front or back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.edit._choose import choose

LAYERS: str = "many"


@dataclass(frozen=True, kw_only=True)
class Options:
    """above, below: the layer to go in front of or behind, into its group; to: front or back, out of all
    groups.
    """

    above: str | None = None
    below: str | None = None
    to: Literal["front", "back"] | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.above, self.below, self.to)) != 1:
            raise LayercliError(
                "reorder needs one of --above, --below and --to.", "Try: reorder LAYER --above OTHER"
            )


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Change the order; the layers that move keep theirs among themselves, as do those that stay."""
    moving = [layer for layer in stack.layers if layer.name in names]
    staying = [layer for layer in stack.layers if layer.name not in names]
    beside = options.above if options.above is not None else options.below
    group: tuple[str, ...] = ()
    place = 0 if options.to == "back" else len(staying)
    if beside is not None:
        [name] = choose(stack, [beside], one=True)
        if name in names:
            raise LayercliError(f'"{name}" cannot go in front of or behind itself.', "Name another layer.")
        index = [layer.name for layer in staying].index(name)
        group = staying[index].group
        place = index + 1 if options.above is not None else index
    moved = [layer if layer.group == group else dataclasses.replace(layer, group=group) for layer in moving]
    return dataclasses.replace(stack, layers=(*staying[:place], *moved, *staying[place:]))
