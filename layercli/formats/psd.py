"""Photoshop document: layers, groups, masks and blend modes; opens in most design programs (default)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from psd_tools.constants import ColorMode, Resource
from psd_tools.psd.color_mode_data import ColorModeData
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_resources import ImageResource, ImageResources
from psd_tools.psd.layer_and_mask import GlobalLayerMaskInfo

from layercli.core.layers import LayerStack
from layercli.formats import _psd_plan
from layercli.formats._files import atomic
from layercli.formats._packbits import pack
from layercli.formats._psd_keep import opened
from layercli.formats._psd_plan import LARGEST_PSD_BYTES, Document, plan, version_and_path
from layercli.formats._psd_read import read
from layercli.formats._psd_records import planes_of, stored, write_packed

__all__ = ["EXTENSIONS", "Options", "opened", "read", "write"]

EXTENSIONS: tuple[str, ...] = (".psd", ".psb")

_BUFFER = 1 << 20
#: Bytes of a layer's record before its channels: its box, and how many channels there are.
_BEFORE_CHANNELS = 4 * 4 + 2


@dataclass(frozen=True, kw_only=True)
class Options(_psd_plan.Options):
    """dpi: pixels per inch; bleed: pixels of edge colour under alpha 0, against fringes."""


def write(stack: LayerStack, path: Path, options: Options | None = None) -> Path:
    """Write a stack as PSD, or as PSB where the path ends so or the picture is too large for a PSD.

    Returns the path written: with the ending .psb, and a warning, where a .psd would not do.
    Raises LayercliError when it cannot be written; nothing is left behind then.
    Source: Adobe Photoshop File Formats Specification, November 2019.
    """
    document = plan(stack, options or Options())
    version, path = version_and_path(document, Path(path), _packed_size(document))
    with atomic(path) as part, open(part, "xb", buffering=_BUFFER) as file:
        _write_document(file, document, version)
    return path


def _write_document(file: BinaryIO, document: Document, version: int) -> None:
    """Write the five sections of a file; the channels go out as they are packed, their lengths afterwards."""
    FileHeader(
        version=version,
        channels=3,  # an alpha channel here reads as an empty picture in several programs
        height=document.height,
        width=document.width,
        depth=8,
        color_mode=ColorMode.RGB,
    ).write(file)
    ColorModeData().write(file)
    resources = [(Resource(n), ImageResource(key=Resource(n), data=d)) for n, d in document.resources.items()]
    ImageResources(resources).write(file)
    _write_layers(file, document, version)
    write_packed(file, document.merged.reshape(-1, document.width), version)


def _write_layers(file: BinaryIO, document: Document, version: int) -> None:
    """Write the layer and mask section."""
    length = struct.Struct(">I" if version == 1 else ">Q")
    start = file.tell()
    file.write(bytes(2 * length.size))  # of the section and of the layer info in it
    body = file.tell()
    head, places = _records(document, version, length.size)
    file.write(head)
    for place, plane in zip(places, (p for r in document.records for p in planes_of(r)), strict=True):
        length.pack_into(head, place, write_packed(file, plane, version))
    if document.records:
        file.write(bytes(-(file.tell() - body) % 4))
    info_end = file.tell()
    GlobalLayerMaskInfo().write(file)
    end = file.tell()
    file.seek(start)
    file.write(length.pack(end - start - length.size) + length.pack(info_end - body) + head)
    file.seek(end)


def _records(document: Document, version: int, length: int) -> tuple[bytearray, list[int]]:
    """The records of all layers, and where in them the lengths of their channels stand, yet to be filled in.

    length: bytes of such a length.
    """
    written, places = BytesIO(), []
    if document.records:
        written.write(struct.pack(">h", len(document.records)))
    for record in map(stored, document.records):
        first = written.tell() + _BEFORE_CHANNELS
        places += [first + number * (2 + length) + 2 for number in range(len(record.channel_info))]
        record.write(written, version=version)
    return bytearray(written.getbuffer()), places


def _packed_size(document: Document) -> int:
    """About how many bytes the file will have; exact to the headers where it may be over the limit."""
    planes = [document.merged.reshape(-1, document.width)]
    planes.extend(plane for record in document.records for plane in planes_of(record) if plane is not None)
    most = sum(plane.nbytes for plane in planes)
    if most * 1.02 < LARGEST_PSD_BYTES:  # packbits adds one byte to 128 at the most
        return most
    return sum(int(pack(plane)[0].sum()) + 4 * len(plane) for plane in planes)
