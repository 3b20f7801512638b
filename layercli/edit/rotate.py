"""Turn layers clockwise about their middle; shadow and light turn with their object."""

from __future__ import annotations

from dataclasses import dataclass

from layercli.core.layers import Layer, LayerStack
from layercli.edit._boxes import Box
from layercli.edit._each import each, on_canvas
from layercli.edit._resample import turned

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("by",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """by: degrees clockwise; alone: leave shadow and light as they are; off_canvas: allow that nothing of
    it is left on the canvas.
    """

    by: float
    alone: bool = False
    off_canvas: bool = False


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Resample layers with their masks; quarter turns keep every pixel. Raises LayercliError."""

    def change(layer: Layer, box: Box) -> Layer:
        return turned(layer, options.by, box)

    after = each(stack, names, change, alone=options.alone)
    return on_canvas(stack, after, names, options.off_canvas)
