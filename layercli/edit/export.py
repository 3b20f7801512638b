"""Write layers as PNG files, trimmed or on the whole canvas; the stack stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.layers import LayerStack
from layercli.edit._boxes import alpha_of, box_of

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("to",)
SRGB: bool = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """to: the file, or for several layers a folder; named after the layer where none is given; whole: on
    the whole canvas, opacity and all, instead of trimmed.
    """

    to: str = ""
    whole: bool = False


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Change nothing; raises LayercliError for a layer without pixels."""
    pictures(stack, names, options)
    return stack


def pictures(stack: LayerStack, names: tuple[str, ...], options: Options) -> dict[str, np.ndarray]:
    """The picture of each layer, (H, W, 4) straight alpha, its mask in its alpha."""
    made = {}
    for name in names:
        layer = stack.layer(name)
        box = box_of(layer)
        if options.whole:
            made[name] = stack.placed(name)
            continue
        rgba = layer.rgba.copy()
        rgba[..., 3] = alpha_of(layer)
        left, top = layer.offset.left, layer.offset.top
        made[name] = rgba[box.top - top : box.bottom - top, box.left - left : box.right - left]
    return made
