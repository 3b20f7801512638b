"""Layers scaled, turned and mirrored, on premultiplied values so that no edge darkens or shines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from layercli.core.composite import premultiply, unpremultiply
from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer
from layercli.edit._boxes import Box

_LARGEST = 30_000
"""The longest side that every program takes."""

_MOST_PIXELS = 1 << 28
"""4 GiB as float32 RGBA."""


def scaled(layer: Layer, across: float, down: float, pivot: tuple[float, float]) -> Layer:
    """A layer with its mask, scaled about a point of the canvas; to whole pixels, and never to none."""
    size = Size(_side(layer, layer.size.width * across), _side(layer, layer.size.height * down))
    left = pivot[0] + (layer.offset.left - pivot[0]) * across
    top = pivot[1] + (layer.offset.top - pivot[1]) * down
    return resized(layer, size, Offset(round(left), round(top)))


def resized(layer: Layer, size: Size, offset: Offset) -> Layer:
    """A layer with its mask at another size and place."""
    if size == layer.size:
        return dataclasses.replace(layer, offset=offset)

    def resample(band: Image.Image) -> Image.Image:
        smaller = size.width * size.height < band.width * band.height
        kind = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
        return band.resize((size.width, size.height), kind)

    return _resampled(layer, size, offset, resample)


def turned(layer: Layer, degrees: float, about: Box) -> Layer:
    """A layer with its mask, turned clockwise about the middle of a box; quarter turns to the bit."""
    degrees = degrees % 360.0
    if degrees % 90.0 == 0.0:
        for _ in range(round(degrees / 90.0)):
            layer, about = _quarter(layer, about)
        return layer
    px, py = (about.left + about.right) / 2, (about.top + about.bottom) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    left, top = layer.offset.left, layer.offset.top
    right, bottom = left + layer.size.width, top + layer.size.height
    corners = [(x - px, y - py) for x in (left, right) for y in (top, bottom)]
    xs = [px + x * cos - y * sin for x, y in corners]
    ys = [py + x * sin + y * cos for x, y in corners]
    new_left, new_top = math.floor(min(xs)) - 1, math.floor(min(ys)) - 1
    width = _side(layer, math.ceil(max(xs)) + 1 - new_left)
    height = _side(layer, math.ceil(max(ys)) + 1 - new_top)
    # From a pixel of the new layer to one of the old, which has a clear frame of two pixels.
    ox, oy = new_left - px, new_top - py
    inverse = (
        cos, sin, cos * ox + sin * oy + px - left + 2,
        -sin, cos, -sin * ox + cos * oy + py - top + 2,
    )  # fmt: skip

    def resample(band: Image.Image) -> Image.Image:
        framed = Image.fromarray(np.pad(np.asarray(band), 2))
        return framed.transform((width, height), Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC)

    return _resampled(layer, Size(width, height), Offset(new_left, new_top), resample)


def _quarter(layer: Layer, about: Box) -> tuple[Layer, Box]:
    """One quarter turn clockwise: (x, y) goes to (px+py-y, py-px+x)."""
    half = int((about.width - about.height) / 2)  # towards 0, so that the way back ends where it began
    add, take = about.left + half + about.bottom, about.top - half - about.left
    size = layer.size
    turned_layer = dataclasses.replace(
        layer,
        rgba=np.ascontiguousarray(np.rot90(layer.rgba, -1)),
        mask=None if layer.mask is None else np.ascontiguousarray(np.rot90(layer.mask, -1)),
        offset=Offset(add - layer.offset.top - size.height, take + layer.offset.left),
    )
    box = Box(
        left=add - about.bottom, top=take + about.left, right=add - about.top, bottom=take + about.right
    )
    return turned_layer, box


def mirrored(layer: Layer, axis: str, about: Box) -> Layer:
    """A layer with its mask, mirrored left to right ("horizontal") or top to bottom about a box' middle."""
    sideways = axis == "horizontal"
    cut = (slice(None), slice(None, None, -1)) if sideways else (slice(None, None, -1),)
    left, top = layer.offset.left, layer.offset.top
    if sideways:
        left = about.left + about.right - left - layer.size.width
    else:
        top = about.top + about.bottom - top - layer.size.height
    return dataclasses.replace(
        layer,
        rgba=np.ascontiguousarray(layer.rgba[cut]),
        mask=None if layer.mask is None else np.ascontiguousarray(layer.mask[cut]),
        offset=Offset(left, top),
    )


def _resampled(
    layer: Layer, size: Size, offset: Offset, resample: Callable[[Image.Image], Image.Image]
) -> Layer:
    if size.width * size.height > _MOST_PIXELS:
        raise LayercliError(f'"{layer.name}" would be {size}, more than memory holds.', "Scale it less.")
    bands = np.moveaxis(premultiply(layer.rgba), -1, 0)
    alpha = _band(bands[3], resample)
    rgba = np.empty((*alpha.shape, 4), dtype=np.float32)
    rgba[..., 3] = alpha
    for number in range(3):
        rgba[..., number] = np.minimum(_band(bands[number], resample), alpha)
    return dataclasses.replace(
        layer,
        rgba=unpremultiply(rgba),
        mask=None if layer.mask is None else _band(layer.mask, resample),
        offset=offset,
    )


def _band(values: np.ndarray, resample: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    made = resample(Image.fromarray(np.ascontiguousarray(values, dtype=np.float32)))
    return np.clip(np.asarray(made, dtype=np.float32), 0.0, 1.0)


def _side(layer: Layer, length: float) -> int:
    side = max(1, round(length))
    if side > _LARGEST:
        message = f'"{layer.name}" would be {side:,} pixels long; {_LARGEST:,} is the most.'
        raise LayercliError(message, "Scale it less.")
    return side
