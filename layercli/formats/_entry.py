"""A layer's properties as plain JSON values, for the formats that keep them beside the pixels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize
from layercli.core.receipt import Receipt
from layercli.core.trim import trim
from layercli.formats._files import clean_name, unique_names


def entry_of(layer: Layer) -> dict[str, Any]:
    """Everything of a layer but its pixels and its mask."""
    return {
        "name": layer.name,
        "x": layer.offset.left,
        "y": layer.offset.top,
        "width": layer.size.width,
        "height": layer.size.height,
        "opacity": float(layer.opacity),
        "blend": layer.blend,
        "visible": layer.visible,
        "group": list(layer.group),
        "prompt": layer.prompt,
    }


def layer_from(entry: Mapping[str, Any], rgba: np.ndarray, mask: np.ndarray | None = None) -> Layer:
    """The layer that an entry describes; raises ValueError naming the entry's wrong value."""
    group = value(entry, "group", list, [])
    if not all(isinstance(part, str) and part for part in group):
        raise ValueError('an entry has a wrong "group"')
    return Layer(
        name=value(entry, "name", str),
        rgba=rgba,
        offset=Offset(value(entry, "x", int, 0), value(entry, "y", int, 0)),
        opacity=float(value(entry, "opacity", (int, float), 1.0)),
        blend=value(entry, "blend", str, "normal"),
        visible=value(entry, "visible", bool, True),
        prompt=value(entry, "prompt", str, ""),
        mask=mask,
        group=tuple(group),
    )


def trimmed(layer: Layer) -> Layer:
    """The layer as an 8-bit file holds it, cut to what is seen of it."""
    cut = trim(layer)
    return dataclasses.replace(
        layer,
        rgba=dequantize(np.ascontiguousarray(np.moveaxis(cut.planes, 0, -1))),
        mask=None if cut.mask is None else dequantize(cut.mask),
        offset=Offset(cut.left, cut.top),
    )


def placed(layer: Layer, canvas: Size) -> np.ndarray:
    """What is seen of a layer, on a canvas, its mask and opacity in its alpha -> (H, W, 4)."""
    return LayerStack(canvas=canvas, layers=(trimmed(layer),)).placed(0)


def value(entry: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """One value of an entry, of the right type; raises ValueError where it is wrong or has no default."""
    found = entry.get(key, default)
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise ValueError(f'an entry has a wrong or no "{key}"')
    return found


def names_for(stack: LayerStack) -> tuple[str, ...]:
    """The layers' names as files may carry them: no control characters, and still unique."""
    return unique_names(clean_name(name) for name in stack.names)


def receipt_json(stack: LayerStack) -> dict[str, Any] | None:
    """The receipt as JSON values, None for none."""
    return None if stack.receipt is None else json.loads(stack.receipt.to_json())


def receipt_from(found: Any) -> Receipt | None:
    """The receipt that receipt_json gave; raises LayercliError."""
    return None if found is None else Receipt.from_json(json.dumps(found))


def gray(mask: np.ndarray) -> np.ndarray:
    """A mask as a picture: (H, W) -> (H, W, 3)."""
    return np.repeat(mask[..., None], 3, axis=-1)
