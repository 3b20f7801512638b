"""The entries of a PSD file with values of their own, and what is seen of them by groups and clipping."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from layercli.core.layers import Layer, LayerStack, Offset, Size

_NOWHERE = Offset()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """A mask as it is stored: pixels (h, w) float32 at left, top; `outside` elsewhere; density: its share."""

    pixels: np.ndarray | None
    left: int
    top: int
    outside: float
    density: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Folder:
    """A group as it is stored: what it passes on to its layers, and the number of its record in the file."""

    visible: bool = True
    opacity: float = 1.0
    masks: tuple[Mask, ...] = ()
    record: int = -1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One entry of a file as it is stored, and the number of its record.

    kind: "layer" with pixels, "adjustment" or "group" (an empty one) without; layer: its own values, those
    of the groups around it left out; clipped: it shows on the layer under it only; fill: its fill opacity.
    """

    kind: str
    layer: Layer
    record: int
    clipped: bool = False
    fill: float = 1.0


def seen(
    parts: Iterable[Part], folders: Mapping[tuple[str, ...], Folder], moved: Offset = _NOWHERE
) -> Iterator[Layer]:
    """The layers as they are seen: opacity, visibility and masks of their groups and bases in their own.

    moved: where the corner of the canvas was, when masks of groups were read, on the canvas of now.
    """
    base: Layer | None = None
    place: tuple[str, ...] | None = None
    for part in parts:
        layer = part.layer
        if layer.group != place or part.kind == "group":
            base, place = None, layer.group
        if part.kind != "layer":
            continue
        around = [folders[path] for path in _paths(layer.group) if path in folders]
        opacity = layer.opacity * part.fill
        mask = None
        for folder in around:
            opacity *= folder.opacity
            for each in folder.masks:
                each = dataclasses.replace(each, left=each.left + moved.left, top=each.top + moved.top)
                drawn = mask_on(each, layer.offset, layer.rgba.shape[:2])
                mask = drawn if mask is None else mask * drawn
        if layer.mask is not None:
            mask = layer.mask if mask is None else mask * layer.mask
        visible = layer.visible and all(folder.visible for folder in around)
        layer = dataclasses.replace(layer, opacity=min(opacity, 1.0), mask=mask, visible=visible)
        if not part.clipped:
            base = layer
        elif base is not None:
            layer = _clipped(layer, base)
        yield layer


def _paths(group: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [group[: depth + 1] for depth in range(len(group))]


def mask_on(mask: Mask, offset: Offset, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as (H, W) float32 on a layer's pixels, its own colour where it does not reach."""
    height, width = shape
    result = np.full((height, width), mask.outside, dtype=np.float32)
    if mask.pixels is not None:
        left, top = mask.left - offset.left, mask.top - offset.top
        x0, x1 = max(0, left), min(width, left + mask.pixels.shape[1])
        y0, y1 = max(0, top), min(height, top + mask.pixels.shape[0])
        if x0 < x1 and y0 < y1:
            result[y0:y1, x0:x1] = mask.pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    if mask.density < 1.0:
        result = np.clip(1.0 - (1.0 - result) * np.float32(mask.density), 0.0, 1.0)
    return result


def _clipped(layer: Layer, base: Layer) -> Layer:
    """A layer that shows on another only: that one's alpha becomes part of its mask."""
    height, width = layer.rgba.shape[:2]
    ground = LayerStack(
        canvas=Size(width, height),
        layers=(
            dataclasses.replace(
                base,
                offset=Offset(base.offset.left - layer.offset.left, base.offset.top - layer.offset.top),
            ),
        ),
    )
    alpha = ground.placed(0)[..., 3]
    mask = alpha if layer.mask is None else layer.mask * alpha
    return dataclasses.replace(layer, mask=np.ascontiguousarray(mask), visible=layer.visible and base.visible)
