"""Cut the canvas to a box, L,T,W,H, or to what is seen of a layer; no pixel of a layer is lost."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.edit._boxes import Box, box_of
from layercli.edit._choose import choose
from layercli.edit._order import on_new_canvas

LAYERS: str = "none"
WORDS: tuple[str, ...] = ("to",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """to: left, top, width and height in pixels; layer: cut to what is seen of this one instead; margin:
    pixels around it.
    """

    to: tuple[int, int, int, int] | None = None
    layer: str | None = None
    margin: int = 0

    def __post_init__(self) -> None:
        if (self.to is None) == (self.layer is None):
            raise LayercliError("crop needs either a box or --layer.", "Try: crop 0,0,200,100")


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Change the canvas to a part of it; raises LayercliError for a box that is not on it."""
    canvas = stack.canvas
    if options.layer is not None:
        [name] = choose(stack, [options.layer], one=True)
        seen = box_of(stack.layer(name))
        box = Box(
            left=max(0, seen.left - options.margin), top=max(0, seen.top - options.margin),
            right=min(canvas.width, seen.right + options.margin),
            bottom=min(canvas.height, seen.bottom + options.margin),
        )  # fmt: skip
    else:
        left, top, width, height = options.to or (0, 0, 0, 0)
        box = Box(left=left, top=top, right=left + width, bottom=top + height)
    inside = box.left >= 0 and box.top >= 0 and box.right <= canvas.width and box.bottom <= canvas.height
    empty = box.width < 1 or box.height < 1
    if empty and options.layer is not None:
        raise LayercliError(
            f'Nothing of the canvas is left around "{name}" with a margin of {options.margin}.',
            "Name a layer that lies on the canvas, or leave out --margin.",
        )
    if empty or not inside:
        raise LayercliError(
            f"The box {box.left},{box.top},{box.width},{box.height} is not on the canvas of {canvas}.",
            f"Try: crop 0,0,{canvas.width},{canvas.height}",
        )
    return on_new_canvas(dataclasses.replace(stack), Size(box.width, box.height), -box.left, -box.top)
