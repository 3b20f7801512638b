"""Move layers by some pixels, or to a place; shadow and light go with their object."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset
from layercli.core.layers import Layer, LayerStack
from layercli.edit._boxes import Box
from layercli.edit._each import each, on_canvas

LAYERS: str = "many"


@dataclass(frozen=True, kw_only=True)
class Options:
    """by: pixels to the right and down; to: where the upper left corner of what is seen goes; alone: leave
    shadow and light where they are; off_canvas: allow that nothing of it is left on the canvas.
    """

    by: tuple[int, int] | None = None
    to: tuple[int, int] | None = None
    alone: bool = False
    off_canvas: bool = False

    def __post_init__(self) -> None:
        if (self.by is None) == (self.to is None):
            raise LayercliError("move needs either --by or --to.", "Try: move LAYER --by 40,0")


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Change the offset of layers; their pixels stay to the bit.

    Raises LayercliError for a layer that would leave the canvas.
    """

    def change(layer: Layer, box: Box) -> Layer:
        if options.by is not None:
            across, down = options.by
        else:
            across, down = (
                place - at for place, at in zip(options.to or (), (box.left, box.top), strict=True)
            )
        offset = Offset(layer.offset.left + across, layer.offset.top + down)
        return dataclasses.replace(layer, offset=offset)

    after = each(stack, names, change, alone=options.alone, empty=True)
    return on_canvas(stack, after, names, options.off_canvas)
