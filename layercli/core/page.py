"""A stack as one self-contained web page: layers to switch, drag and fade; nothing is fetched."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.composite import BLENDS
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack
from layercli.core.pixels import quantize, srgb_profile

MOST_PIXELS = 1 << 26
"""More than this in all layers together is too much for one page."""

_TEMPLATE = Path(__file__).with_name("page.html")


def draw_page(stack: LayerStack, file: str, together: Mapping[str, Sequence[str]] | None = None) -> str:
    """A stack as HTML: every layer a picture with its CSS blend mode, and the whole as it is now.

    file: what the page calls itself and names in the commands it gives; together: by layer, those that are
    dragged along with it. Raises LayercliError for a stack of more than 64 million pixels.
    """
    total = sum(layer.size.width * layer.size.height for layer in stack.layers)
    if total > MOST_PIXELS:
        raise LayercliError(
            f"{file} has {total:,} pixels in its layers, too many for one page.", "Make it smaller first."
        )
    numbers = {name: number for number, name in enumerate(stack.names)}
    linked = {name: [numbers[other] for other in others] for name, others in (together or {}).items()}
    effects = {number for others in linked.values() for number in others}
    data = {
        "file": file,
        "width": stack.canvas.width,
        "height": stack.canvas.height,
        "blends": list(BLENDS),
        "picture": _data_url(stack.flatten_quantized()),
        "layers": [
            _layer(layer) | {"together": linked.get(layer.name, []), "effect": number in effects}
            for number, layer in enumerate(stack.layers)
        ],
    }
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    before, after = _TEMPLATE.read_text(encoding="utf-8").split("@data@")
    return f"{before.replace('@title@', html.escape(file))}{text}{after}"


def _layer(layer: Layer) -> dict[str, Any]:
    rgba = quantize(layer.rgba)
    if layer.mask is not None:
        rgba[..., 3] = quantize(layer.rgba[..., 3] * layer.mask)
    return {
        "name": layer.name,
        "group": "/".join(layer.group),
        "left": layer.offset.left,
        "top": layer.offset.top,
        "opacity": round(layer.opacity, 4),
        "blend": layer.blend,
        "visible": layer.visible,
        "picture": _data_url(rgba),
    }


def _data_url(rgba: np.ndarray) -> str:
    written = io.BytesIO()
    Image.fromarray(rgba).save(written, "PNG", compress_level=6, icc_profile=srgb_profile())
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
