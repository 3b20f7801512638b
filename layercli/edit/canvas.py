"""Make the canvas larger or smaller; layers keep their size, and the anchor says where they stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.edit._order import on_new_canvas

LAYERS: str = "none"
WORDS: tuple[str, ...] = ("size",)

_SHARES = {
    "centre": (0.5, 0.5), "top-left": (0.0, 0.0), "top": (0.5, 0.0), "top-right": (1.0, 0.0),
    "left": (0.0, 0.5), "right": (1.0, 0.5), "bottom-left": (0.0, 1.0), "bottom": (0.5, 1.0),
    "bottom-right": (1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """size: WxH in pixels; anchor: the point of the picture that keeps its place."""

    size: str
    anchor: Literal[
        "centre", "top-left", "top", "top-right", "left", "right", "bottom-left", "bottom", "bottom-right"
    ] = "centre"

    def __post_init__(self) -> None:
        Size.parse(self.size, "canvas 256x256")


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Give the stack another canvas; what lies beyond it stays in the layers."""
    size = Size.parse(options.size)
    across, down = _SHARES[options.anchor]
    left = round((size.width - stack.canvas.width) * across)
    top = round((size.height - stack.canvas.height) * down)
    return on_new_canvas(stack, size, left, top)
