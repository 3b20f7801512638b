"""Put a picture from a file in a layer's place: the name, order, opacity and blend mode stay."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset, Size
from layercli.core.layers import LayerStack
from layercli.core.pixels import open_image
from layercli.edit._boxes import box_of, seen_box
from layercli.edit._resample import resized

LAYERS: str = "one"
WORDS: tuple[str, ...] = ("picture",)
SRGB: bool = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """picture: the file; fit: "inside" the box of what was seen, standing on its foot, "fill" the box
    exactly, or the picture's own "size" with the same middle.
    """

    picture: str
    fit: Literal["inside", "fill", "size"] = "inside"


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Replace a layer's pixels; its mask, drawn for the old ones, goes. Raises LayercliError."""
    [name] = names
    layer = stack.layer(name)
    box = box_of(layer)
    new = dataclasses.replace(layer, rgba=open_image(options.picture), mask=None, offset=Offset())
    seen = seen_box(new)
    if seen is None:
        raise LayercliError(f'"{options.picture}" is transparent all over.', "Use another picture.")
    cut = new.rgba[seen.top : seen.bottom, seen.left : seen.right]
    new = dataclasses.replace(new, rgba=cut.copy())
    across, down = box.width / seen.width, box.height / seen.height
    if options.fit == "inside":
        across = down = min(across, down)
    elif options.fit == "size":
        across = down = 1.0
    size = Size(max(1, round(seen.width * across)), max(1, round(seen.height * down)))
    left = round((box.left + box.right - size.width) / 2)
    top = box.bottom - size.height
    if options.fit == "size":
        top = round((box.top + box.bottom - size.height) / 2)
    return stack.replace(name, resized(new, size, Offset(left, top)))
