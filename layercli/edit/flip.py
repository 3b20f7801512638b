"""Mirror layers left to right or top to bottom, where they stand; shadow and light with their object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layercli.core.layers import Layer, LayerStack
from layercli.edit._boxes import Box
from layercli.edit._each import each
from layercli.edit._resample import mirrored

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("axis",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """axis: horizontal (left to right) or vertical; alone: leave shadow and light as they are."""

    axis: Literal["horizontal", "vertical"] = "horizontal"
    alone: bool = False


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Mirror layers with their masks; every pixel is kept. Raises LayercliError for empty ones."""

    def change(layer: Layer, box: Box) -> Layer:
        return mirrored(layer, options.axis, box)

    return each(stack, names, change, alone=options.alone)
