"""Where what is seen of a layer lies on the canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer

SEEN = 0.5 / 255
"""Alpha from here on is at least one level in an 8-bit file."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of whole pixels: its corner and, beyond its last pixels, right and bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def meets(self, canvas: Size) -> bool:
        """Whether any of it lies on the canvas."""
        return self.left < canvas.width and self.top < canvas.height and self.right > 0 and self.bottom > 0


def alpha_of(layer: Layer) -> np.ndarray:
    """Alpha with the mask in it, (H, W) on the layer's own pixels."""
    alpha: np.ndarray = layer.rgba[..., 3]
    return alpha if layer.mask is None else alpha * layer.mask


def seen_box(layer: Layer) -> Box | None:
    """The box of what is seen of a layer, on the canvas or beyond it; None for an empty one."""
    seen = alpha_of(layer) >= SEEN
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if rows.size == 0:
        return None
    return Box(
        left=layer.offset.left + int(columns[0]),
        top=layer.offset.top + int(rows[0]),
        right=layer.offset.left + int(columns[-1]) + 1,
        bottom=layer.offset.top + int(rows[-1]) + 1,
    )


def corner_of(layer: Layer) -> Box:
    """The box of what is seen of a layer, or one pixel at the corner of an empty one."""
    left, top = layer.offset.left, layer.offset.top
    return seen_box(layer) or Box(left=left, top=top, right=left + 1, bottom=top + 1)


def box_of(layer: Layer) -> Box:
    """The box of what is seen of a layer; raises LayercliError for an empty one."""
    box = seen_box(layer)
    if box is None:
        raise LayercliError(f'"{layer.name}" has no pixels.', "Name a layer that shows something.")
    return box
