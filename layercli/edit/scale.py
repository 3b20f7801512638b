"""Scale layers about a point of theirs; shadow and light are scaled with their object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.edit._boxes import Box
from layercli.edit._each import each, on_canvas
from layercli.edit._resample import scaled
from layercli.edit._values import share

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("by",)

_POINTS = {
    "centre": (0.5, 0.5), "foot": (0.5, 1.0), "top": (0.5, 0.0), "left": (0.0, 0.5), "right": (1.0, 0.5)
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """by: 150% or 1.5; to: the size of what is seen, WxH; about: the point that stays where it is; alone:
    leave shadow and light as they are; off_canvas: allow that nothing of it is left on the canvas.
    """

    by: str | None = None
    to: str | None = None
    about: Literal["centre", "foot", "top", "left", "right"] = "centre"
    alone: bool = False
    off_canvas: bool = False

    def __post_init__(self) -> None:
        if (self.by is None) == (self.to is None):
            raise LayercliError("scale needs either a factor or --to.", "Try: scale LAYER 150%")
        if self.by is not None and not 0.001 <= share(self.by, "scale LAYER 150%") <= 1000:
            raise LayercliError(
                f"A factor of {self.by} is not from 0.1% to 100000%.", "Try: scale LAYER 150%"
            )
        if self.to is not None:
            Size.parse(self.to, "scale LAYER --to 80x60")

    def factors(self, box: Box) -> tuple[float, float]:
        """How much wider and higher what lies in a box becomes."""
        if self.by is not None:
            return (share(self.by, ""),) * 2
        size = Size.parse(self.to or "")
        return size.width / box.width, size.height / box.height


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Resample layers with their masks; raises LayercliError for empty ones and for sides over 30,000."""
    across, down = _POINTS[options.about]

    def change(layer: Layer, box: Box) -> Layer:
        pivot = (box.left + across * box.width, box.top + down * box.height)
        return scaled(layer, *options.factors(box), pivot)

    after = each(stack, names, change, alone=options.alone)
    return on_canvas(stack, after, names, options.off_canvas)
