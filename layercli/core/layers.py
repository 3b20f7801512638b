"""The document: layers and stacks of layers, checked where they are born."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from layercli.core import composite
from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset, Size
from layercli.core.pixels import quantize, quantize_planes
from layercli.core.receipt import Receipt

__all__ = ["WHOLE", "Layer", "LayerStack", "Offset", "Size", "opacity_level", "quantized_source"]

WHOLE = "the whole picture"
"""The hidden layer that keeps the frame of the whole picture, where a method was asked to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One picture of a stack.

    rgba: (H, W, 4) float32 sRGB in [0, 1], straight alpha, of any size and place; mask: (H, W) float32 of the
    same size, multiplied into alpha; group: names of the groups around it, outermost first.
    Raises LayercliError, with the layer's name, for a value that breaks this.
    """

    name: str
    rgba: np.ndarray
    offset: Offset = Offset()
    opacity: float = 1.0
    blend: str = "normal"
    visible: bool = True
    prompt: str = ""
    mask: np.ndarray | None = None
    group: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise LayercliError("A layer has no name.", "Give every layer a name.")
        _check_pixels(self.name, "pixels", self.rgba, (None, None, 4))
        if self.mask is not None:
            _check_pixels(self.name, "mask", self.mask, self.rgba.shape[:2])
        if not 0.0 <= self.opacity <= 1.0:
            raise LayercliError(
                f'Layer "{self.name}" has an opacity of {self.opacity}.', "Give an opacity from 0 to 1."
            )
        if self.blend not in composite.BLENDS:
            raise LayercliError(
                f'Layer "{self.name}" has the unknown blend mode "{self.blend}".',
                f"Use one of: {', '.join(composite.BLENDS)}.",
            )
        named = isinstance(self.group, tuple) and all(isinstance(part, str) and part for part in self.group)
        if not named:
            raise LayercliError(
                f'Layer "{self.name}" has the group path {self.group!r}.', "Give a tuple of group names."
            )

    @property
    def size(self) -> Size:
        """The size of the layer's own pixels."""
        return Size(width=self.rgba.shape[1], height=self.rgba.shape[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStack:
    """Layers, back to front, on a canvas; names are unique.

    Groups are pass-through: they order layers and never change how they blend.
    """

    canvas: Size
    layers: tuple[Layer, ...]
    receipt: Receipt | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        seen: set[str] = set()
        for layer in self.layers:
            if layer.name in seen:
                message = f'Two layers are called "{layer.name}".'
                raise LayercliError(message, "Give every layer its own name.")
            seen.add(layer.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The layers' names, back to front."""
        return tuple(layer.name for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The layer of that name; raises LayercliError listing the names there are."""
        return self.layers[self.index(name)]

    def index(self, name: str) -> int:
        """The place of the layer of that name, 0 at the back; raises LayercliError."""
        if name not in self.names:
            listed = ", ".join(self.names) or "none"
            raise LayercliError(f'No layer "{name}". Layers: {listed}.', "Name one of these layers.")
        return self.names.index(name)

    def replace(self, name: str, layer: Layer) -> LayerStack:
        """The same stack with another layer in that one's place."""
        index = self.index(name)
        return dataclasses.replace(self, layers=(*self.layers[:index], layer, *self.layers[index + 1 :]))

    def placed(self, which: int | str) -> np.ndarray:
        """One layer on the full canvas, its mask and opacity multiplied into alpha -> (H, W, 4) float32."""
        layer = self.layer(which) if isinstance(which, str) else self.layers[which]
        result = np.zeros((self.canvas.height, self.canvas.width, 4), dtype=np.float32)
        left, top = layer.offset.left, layer.offset.top
        x0, x1 = max(0, left), min(self.canvas.width, left + layer.size.width)
        y0, y1 = max(0, top), min(self.canvas.height, top + layer.size.height)
        if x0 < x1 and y0 < y1:
            inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            result[y0:y1, x0:x1] = layer.rgba[inside]
            if layer.mask is not None:
                result[y0:y1, x0:x1, 3] *= layer.mask[inside]
            result[..., 3] *= np.float32(layer.opacity)
        return result

    def flatten(self) -> np.ndarray:
        """The visible layers composited in floats onto a transparent canvas -> (H, W, 4) float32."""
        planes = composite.merge(
            self.canvas.width, self.canvas.height, [_source(layer) for layer in self.layers if layer.visible]
        )
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))

    def flatten_quantized(self) -> np.ndarray:
        """The visible layers as an 8-bit file holds them, composited -> (H, W, 4) uint8.

        Every layer, mask and opacity is quantised first, so that this is what a reader of the file sees.
        """
        sources = [quantized_source(layer) for layer in self.layers if layer.visible]
        planes = composite.merge(self.canvas.width, self.canvas.height, sources, quantized=True)
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def quantized_source(layer: Layer) -> composite.Source:
    """A layer as an 8-bit file holds it, ready for composite.merge."""
    return composite.Source(
        planes=quantize_planes(layer.rgba),
        left=layer.offset.left,
        top=layer.offset.top,
        opacity=opacity_level(layer.opacity) / 255.0,
        blend=layer.blend,
        mask=None if layer.mask is None else quantize(layer.mask),
    )


def opacity_level(opacity: float) -> int:
    """An opacity of [0, 1] as one of 256 levels."""
    return int(quantize(np.asarray(opacity, dtype=np.float32)))


def _source(layer: Layer) -> composite.Source:
    return composite.Source(
        planes=np.moveaxis(layer.rgba, -1, 0),
        left=layer.offset.left,
        top=layer.offset.top,
        opacity=layer.opacity,
        blend=layer.blend,
        mask=layer.mask,
    )


def _check_pixels(name: str, what: str, array: object, shape: tuple[int | None, ...]) -> None:
    hint = "Give float32 values from 0 to 1."
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise LayercliError(f'Layer "{name}" has {what} of type {kind}, not float32.', hint)
    right = array.ndim == len(shape) and array.size > 0
    if not (right and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))):
        wanted = "x".join("?" if want is None else str(want) for want in shape)
        raise LayercliError(
            f'Layer "{name}" has {what} of shape {"x".join(map(str, array.shape))}, not {wanted}.',
            "Give height x width x 4 for pixels, and the same height x width for a mask.",
        )
    low, high = float(array.min()), float(array.max())  # both are nan if any value is
    if not (low >= 0.0 and high <= 1.0):
        found = "values that are not numbers" if low != low else f"values from {low:.3g} to {high:.3g}"
        raise LayercliError(f'Layer "{name}" has {what} with {found}.', hint)
