"""Photoshop document by the second writer, pytoshop: to compare where a program rejects the first."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
from psd_tools.compression import rle_impl
from pytoshop import codecs, core, enums, image_data, image_resources, layers, tagged_block

from layercli.core.layers import LayerStack
from layercli.formats import _psd_plan
from layercli.formats._files import atomic
from layercli.formats._psd_plan import Document, Record, plan, version_and_path
from layercli.formats._psd_read import read  # pytoshop's own reader is unsafe with files from outside

__all__ = ["EXTENSIONS", "Options", "read", "write"]

EXTENSIONS: tuple[str, ...] = (".psd", ".psb")

_BLENDS = {
    "normal": enums.BlendMode.normal,
    "multiply": enums.BlendMode.multiply,
    "screen": enums.BlendMode.screen,
    "overlay": enums.BlendMode.overlay,
}
#: Channel numbers in the order in which pytoshop writes them: transparency, red, green, blue.
_CHANNELS = (-1, 0, 1, 2)
_MASK_CHANNEL = -2


@dataclass(frozen=True, kw_only=True)
class Options(_psd_plan.Options):
    """dpi: pixels per inch; bleed: pixels of edge colour under alpha 0, against fringes."""


def write(stack: LayerStack, path: Path, options: Options | None = None) -> Path:
    """Write a stack as PSD or PSB with pytoshop; what is in the file is what the format psd writes.

    Returns the path written: with the ending .psb, and a warning, where a .psd would not do.
    Raises LayercliError when it cannot be written; nothing is left behind then.
    """
    document = plan(stack, options or Options())
    sizes = [record.pixels.planes.nbytes for record in document.records if record.pixels is not None]
    version, path = version_and_path(document, Path(path), document.merged.nbytes + sum(sizes))
    file = core.PsdFile(
        version=version,
        num_channels=3,
        height=document.height,
        width=document.width,
        image_resources=image_resources.ImageResources(
            blocks=[
                image_resources.GenericImageResourceBlock(resource_id=number, data=data)
                for number, data in document.resources.items()
            ]
        ),
        layer_and_mask_info=_layers(document),
        image_data=image_data.ImageData(channels=document.merged, compression=enums.Compression.rle),
    )
    if not hasattr(codecs, "packbits"):  # pytoshop's own is a C extension that pip does not build
        codecs.packbits = SimpleNamespace(encode=lambda row: rle_impl.encode(row.tobytes()))
    with atomic(path) as part, open(part, "xb") as target:
        file.write(target)
    return path


def _layers(document: Document) -> layers.LayerAndMaskInfo:
    return layers.LayerAndMaskInfo(
        layer_info=_LayerInfo(layer_records=[_record(record) for record in document.records]),
        global_layer_mask_info=layers.GlobalLayerMaskInfo(),
    )


def _record(record: Record) -> layers.LayerRecord:
    """The record of one layer or of one end of a group."""
    blocks = [
        tagged_block.GenericTaggedBlock(b"luni", _unicode(record.name)),
        tagged_block.GenericTaggedBlock(b"lyid", struct.pack(">I", record.number)),
    ]
    if record.kind == "end":
        blocks.append(tagged_block.GenericTaggedBlock(b"lsct", struct.pack(">I", 3)))
    elif record.kind == "group":
        blocks.append(tagged_block.GenericTaggedBlock(b"lsct", struct.pack(">I4s4s", 1, b"8BIM", b"pass")))
    pixels = record.pixels
    if pixels is None:
        nothing = np.zeros((0, 0), dtype=np.uint8)
        result = layers.LayerRecord(
            channels={number: layers.ChannelImageData(image=nothing) for number in _CHANNELS},
            name=record.ascii_name,
            blocks=blocks,
            visible=record.visible,
            pixel_data_irrelevant=True,
            color_mode=enums.ColorMode.rgb,
        )
        result.mask = _Mask()
        return result
    _, height, width = pixels.planes.shape
    place = {
        "top": pixels.top,
        "left": pixels.left,
        "bottom": pixels.top + height,
        "right": pixels.left + width,
    }
    planes = {number: pixels.planes[index] for number, index in zip(_CHANNELS, (3, 0, 1, 2), strict=True)}
    if pixels.mask is not None:
        planes[_MASK_CHANNEL] = pixels.mask
    result = layers.LayerRecord(
        **place,
        blend_mode=_BLENDS[pixels.blend],
        opacity=pixels.opacity,
        visible=record.visible,
        name=record.ascii_name,
        channels={
            number: layers.ChannelImageData(image=plane, compression=enums.Compression.rle)
            for number, plane in planes.items()
        },
        blocks=blocks,
        color_mode=enums.ColorMode.rgb,
    )
    result.mask = _Mask(**place) if pixels.mask is not None else _Mask()
    return result


def _unicode(text: str) -> bytes:
    """A PSD Unicode string; pytoshop's own counts characters, not UTF-16 units, and breaks on emoji."""
    data = text.encode("utf-16-be")
    return struct.pack(">I", len(data) // 2) + data


class _Mask(layers.LayerMask):
    """A mask block of 20 bytes, or an empty one: pytoshop always adds a second, vector mask, of no size."""

    def length(self, header: Any) -> int:
        """Bytes after the length field."""
        return 20 if self.height and self.width else 0

    def write(self, fd: BinaryIO, header: Any) -> None:
        """Write the block, its length first."""
        size = self.length(header)
        fd.write(struct.pack(">I", size))
        if size:
            fd.write(struct.pack(">4iBBxx", self.top, self.left, self.bottom, self.right, 0, 0))


class _LayerInfo(layers.LayerInfo):
    """Layer info padded to a multiple of four bytes, as programs expect it."""

    def write(self, fd: BinaryIO, header: Any) -> None:
        """Write the section, then pad it and correct its length."""
        start = fd.tell()
        super().write(fd, header)
        if not self.layer_records:
            return
        form = ">I" if header.version == 1 else ">Q"
        begin = start + struct.calcsize(form)
        fd.write(bytes(-(fd.tell() - begin) % 4))
        end = fd.tell()
        fd.seek(start)
        fd.write(struct.pack(form, end - begin))
        fd.seek(end)
