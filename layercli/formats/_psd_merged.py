"""The merged picture of an edited PSD file: new where the edit shows, kept to the bit everywhere else."""

from __future__ import annotations

import dataclasses
import struct
from io import BytesIO

import numpy as np
from psd_tools.constants import ColorMode
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_data import ImageData

from layercli.core import composite
from layercli.core.geometry import Offset
from layercli.core.layers import Layer, LayerStack, quantized_source
from layercli.formats._psd_patch import sixteen_bits
from layercli.formats._psd_raw import RawFile
from layercli.formats._psd_records import write_packed
from layercli.formats._psd_second import redrawn

_VERSION_INFO = 1057


def merged_after(
    raw: RawFile,
    before: LayerStack,
    after: LayerStack,
    moved: Offset,
    edited: RawFile | None = None,
) -> tuple[np.ndarray, float | None]:
    """All channels of the merged picture after an edit: (C, H, W) of 8- or 16-bit levels.

    before, after: what is seen, as stacks; moved: where the old canvas' corner lies on the new one. Channels
    beyond colour are kept, but for the transparency of the whole where the file has it. What a program has
    drawn that we cannot stays as it is wherever our own two pictures are the same. edited: the file with its
    new records, where it holds what we cannot draw; psd-tools may draw it then. Returned with the picture is
    how far psd-tools was from the old one, in levels of 255, None where it was not asked or not believed.
    """
    size = after.canvas
    shape = (size.height, size.width)
    new = _drawn(after, raw.depth)
    old, known = _stored(raw, shape, moved)
    there = LayerStack(canvas=size, layers=tuple(_at(layer, moved) for layer in before.layers))
    changed = (_drawn(there, raw.depth) != new).any(axis=0) | ~known
    colours = 4 if raw.count < 0 and raw.channels > 3 else 3
    second = None
    if edited is not None and moved == Offset() and known.all():
        second = redrawn(raw, edited, old, changed)
    if second is not None:
        left, top, right, bottom = second.box
        new = np.zeros_like(new)
        new[:, top:bottom, left:right] = second.levels
        changed = np.zeros_like(changed)
        changed[top:bottom, left:right] = second.changed
    for number in range(colours):
        old[number][changed] = new[number][changed]
    return old, None if second is None else second.away


def section(merged: np.ndarray, version: int) -> bytes:
    """The merged picture (C, H, W) as the last section of a file, RLE."""
    rows = merged.reshape(-1, merged.shape[2])
    if merged.dtype == np.uint16:
        rows = rows.astype(">u2").view(np.uint8).reshape(len(rows), -1)
    written = BytesIO()
    write_packed(written, rows, version)
    return written.getvalue()


def _drawn(stack: LayerStack, depth: int) -> np.ndarray:
    """The colours over white, and the alpha: (4, H, W) levels."""
    width, height = stack.canvas.width, stack.canvas.height
    visible = [layer for layer in stack.layers if layer.visible]
    if depth == 8:
        sources = [quantized_source(layer) for layer in visible]
        clear = composite.merge(width, height, sources, quantized=True)
        if clear[3].min() == 255:
            return clear
        colours = composite.merge(width, height, sources, quantized=True, ground=1.0)
        return np.concatenate([colours[:3], clear[3:]])
    whole = np.moveaxis(LayerStack(canvas=stack.canvas, layers=tuple(visible)).flatten(), -1, 0)
    over_white = [plane * whole[3] + 1.0 - whole[3] for plane in whole[:3]]
    levels = [sixteen_bits(plane) for plane in (*over_white, whole[3])]
    return np.stack([plane.view(">u2").astype(np.uint16) for plane in levels])


def _stored(raw: RawFile, shape: tuple[int, int], moved: Offset) -> tuple[np.ndarray, np.ndarray]:
    """The file's own merged picture on the canvas of now, and where it is known: (C, H, W), (H, W)."""
    kind = np.uint8 if raw.depth == 8 else np.uint16
    merged = np.zeros((raw.channels, *shape), dtype=kind)
    known = np.zeros(shape, dtype=bool)
    if not has_real_picture(raw):
        return merged, known
    header = FileHeader(
        version=raw.version, channels=raw.channels, height=raw.height, width=raw.width, depth=raw.depth,
        color_mode=ColorMode(raw.mode),
    )  # fmt: skip
    try:
        data = ImageData.read(BytesIO(raw.merged)).get_data(header)
        planes = [np.frombuffer(plane, dtype=">u1" if raw.depth == 8 else ">u2") for plane in data]
        old = np.stack([plane.reshape(raw.height, raw.width) for plane in planes])
    except (ValueError, OSError, struct.error):
        return merged, known  # a broken one is made anew
    top, left = moved.top, moved.left
    y0, y1 = max(0, top), min(shape[0], top + raw.height)
    x0, x1 = max(0, left), min(shape[1], left + raw.width)
    if y0 < y1 and x0 < x1:
        merged[:, y0:y1, x0:x1] = old[:, y0 - top : y1 - top, x0 - left : x1 - left]
        # Some programs leave one black or white plane where the picture should be; that is none.
        known[y0:y1, x0:x1] = any(plane.min() != plane.max() for plane in old[:3])
    return merged, known


def has_real_picture(raw: RawFile) -> bool:
    """Whether a file says nothing against its merged picture being one: some save none, to be smaller."""
    info = raw.resource(_VERSION_INFO)
    return info is None or len(info) < 5 or info[4] != 0


def _at(layer: Layer, moved: Offset) -> Layer:
    if moved == Offset():
        return layer
    offset = Offset(layer.offset.left + moved.left, layer.offset.top + moved.top)
    return dataclasses.replace(layer, offset=offset)
