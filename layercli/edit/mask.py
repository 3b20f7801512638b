"""Give a layer a mask from a picture or a box, turn it round, apply it, or take it away."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from layercli.core.errors import LayercliError, as_word
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.masks import luma_mask

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("picture",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """picture: a file, white where the layer shows, of the size of the canvas or of the layer; box: left,
    top, width, height in pixels of the canvas; invert: show what was hidden; apply: put the mask into the
    pixels for good; remove: take it away.
    """

    picture: str | None = None
    box: tuple[int, int, int, int] | None = None
    invert: bool = False
    apply: bool = False
    remove: bool = False

    def __post_init__(self) -> None:
        ways = [self.picture is not None, self.box is not None, self.apply, self.remove]
        if sum(ways) > 1 or not (any(ways) or self.invert):
            raise LayercliError(
                "mask needs one of a picture, --box, --invert, --apply and --remove.",
                "Try: mask LAYER mask.png",
            )


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Change the masks of layers; raises LayercliError for a picture of another size, and where none is."""
    for name in names:
        stack = stack.replace(name, _masked(stack.layer(name), stack.canvas, options))
    return stack


def _masked(layer: Layer, canvas: Size, options: Options) -> Layer:
    if options.picture is None and options.box is None and layer.mask is None:
        raise LayercliError(f'"{layer.name}" has no mask.', f"Try: mask {as_word(layer.name)} mask.png")
    if options.remove:
        return dataclasses.replace(layer, mask=None)
    if options.apply:
        rgba = layer.rgba.copy()
        rgba[..., 3] *= layer.mask
        return dataclasses.replace(layer, rgba=rgba, mask=None)
    mask = layer.mask
    if options.picture is not None:
        mask = _on(layer, luma_mask(options.picture), canvas, options.picture)
    elif options.box is not None:
        left, top, width, height = options.box
        if width < 1 or height < 1:
            example = f"mask {as_word(layer.name)} --box 0,0,40,40"
            raise LayercliError("The box of the mask is empty.", f"Try: {example}")
        mask = np.zeros(layer.rgba.shape[:2], dtype=np.float32)
        x, y = left - layer.offset.left, top - layer.offset.top
        mask[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = 1.0
    assert mask is not None
    return dataclasses.replace(layer, mask=np.float32(1.0) - mask if options.invert else mask)


def _on(layer: Layer, drawn: np.ndarray, canvas: Size, path: str) -> np.ndarray:
    """A mask that was drawn on the canvas or on the layer, on the layer's own pixels; 0 beyond the canvas."""
    size = Size(drawn.shape[1], drawn.shape[0])
    if size == canvas:
        left, top = layer.offset.left, layer.offset.top
    elif size == layer.size:
        return drawn
    else:
        raise LayercliError(
            f'The mask "{path}" is {size}, but the canvas is {canvas} and "{layer.name}" {layer.size}.',
            "Make it as large as one of the two.",
        )
    mask = np.zeros(layer.rgba.shape[:2], dtype=np.float32)
    y0, y1 = max(0, -top), min(layer.size.height, canvas.height - top)
    x0, x1 = max(0, -left), min(layer.size.width, canvas.width - left)
    if y0 < y1 and x0 < x1:
        mask[y0:y1, x0:x1] = drawn[y0 + top : y1 + top, x0 + left : x1 + left]
    return mask
