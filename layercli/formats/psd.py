"""Photoshop document: layers, groups, masks and blend modes; opens in most design programs (default)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from psd_tools.compression import compress
from psd_tools.constants import BlendMode, ChannelID, ColorMode, Compression, Resource, SectionDivider, Tag
from psd_tools.psd.document import PSD
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_data import ImageData
from psd_tools.psd.image_resources import ImageResource, ImageResources
from psd_tools.psd.layer_and_mask import (
    ChannelData,
    ChannelDataList,
    ChannelImageData,
    ChannelInfo,
    GlobalLayerMaskInfo,
    LayerAndMaskInformation,
    LayerFlags,
    LayerInfo,
    LayerRecord,
    LayerRecords,
    MaskData,
)

from layercli.core.layers import LayerStack
from layercli.formats import _psd_plan
from layercli.formats._files import atomic
from layercli.formats._psd_plan import Document, Record, plan, version_and_path
from layercli.formats._psd_read import read

__all__ = ["EXTENSIONS", "Options", "read", "write"]

EXTENSIONS: tuple[str, ...] = (".psd", ".psb")

_BLENDS = {
    "normal": BlendMode.NORMAL,
    "multiply": BlendMode.MULTIPLY,
    "screen": BlendMode.SCREEN,
    "overlay": BlendMode.OVERLAY,
}
#: Transparency first, as Photoshop writes it.
_CHANNELS = (
    ChannelID.TRANSPARENCY_MASK,
    ChannelID.CHANNEL_0,
    ChannelID.CHANNEL_1,
    ChannelID.CHANNEL_2,
)


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
    contents = [_channels(record) for record in document.records]
    merged = compress(
        document.merged.tobytes(), Compression.RLE, document.width, document.height * 3, 8, version=1
    )
    total = len(merged) + sum(len(channel.data) for channels in contents for channel in channels)
    version, path = version_and_path(document, Path(path), total)
    if version == 2:
        merged = _wide_counts(merged, document.height * 3)
        for record, channels in zip(document.records, contents, strict=True):
            for channel in channels:
                height = 0 if record.pixels is None else record.pixels.planes.shape[1]
                channel.data = _wide_counts(channel.data, height)
    psd = PSD(
        header=FileHeader(
            version=version,
            channels=3,  # an alpha channel here reads as an empty picture in several programs
            height=document.height,
            width=document.width,
            depth=8,
            color_mode=ColorMode.RGB,
        ),
        image_resources=ImageResources(
            [
                (Resource(number), ImageResource(key=Resource(number), data=data))
                for number, data in document.resources.items()
            ]
        ),
        layer_and_mask_information=_layers(document, contents),
        image_data=ImageData(compression=Compression.RLE, data=merged),
    )
    with atomic(path) as part, open(part, "xb") as file:
        psd.write(file)
    return path


def _layers(document: Document, contents: list[ChannelDataList]) -> LayerAndMaskInformation:
    records = [_record(record, c) for record, c in zip(document.records, contents, strict=True)]
    return LayerAndMaskInformation(
        layer_info=LayerInfo(
            layer_count=len(records),
            layer_records=LayerRecords(records),
            channel_image_data=ChannelImageData(contents),
        ),
        global_layer_mask_info=GlobalLayerMaskInfo(),
    )


def _channels(record: Record) -> ChannelDataList:
    """The compressed channels of a record, RLE in all of them; empty ones for the ends of a group."""
    if record.pixels is None:
        return ChannelDataList([ChannelData(compression=Compression.RAW) for _ in _CHANNELS])
    planes = record.pixels.planes
    packed = [_packed(planes[index]) for index in (3, 0, 1, 2)]
    if record.pixels.mask is not None:
        packed.append(_packed(record.pixels.mask))
    return ChannelDataList(packed)


def _packed(plane: np.ndarray) -> ChannelData:
    height, width = plane.shape
    data = compress(plane.tobytes(), Compression.RLE, width, height, 8, version=1)
    return ChannelData(compression=Compression.RLE, data=data)


def _wide_counts(data: bytes, rows: int) -> bytes:
    """RLE data with its row lengths in four bytes each, as a PSB has them, instead of two."""
    lengths = np.frombuffer(data, dtype=">u2", count=rows)
    return lengths.astype(">u4").tobytes() + data[2 * rows :]


def _record(record: Record, channels: ChannelDataList) -> LayerRecord:
    """The record of one layer or of one end of a group."""
    ids = list(_CHANNELS)
    place = {}
    mask = None
    pixels = record.pixels
    if pixels is not None:
        _, height, width = pixels.planes.shape
        place = {
            "top": pixels.top,
            "left": pixels.left,
            "bottom": pixels.top + height,
            "right": pixels.left + width,
        }
        if pixels.mask is not None:
            ids.append(ChannelID.USER_LAYER_MASK)
            mask = MaskData(**place, background_color=0)
    result = LayerRecord(
        **place,
        channel_info=[
            ChannelInfo(id=number, length=len(channel.data) + 2)
            for number, channel in zip(ids, channels, strict=True)
        ],
        blend_mode=_BLENDS[pixels.blend] if pixels is not None else BlendMode.NORMAL,
        opacity=pixels.opacity if pixels is not None else 255,
        flags=LayerFlags(visible=record.visible, pixel_data_irrelevant=pixels is None),
        mask_data=mask,
        name=record.ascii_name,
    )
    result.tagged_blocks.set_data(Tag.UNICODE_LAYER_NAME, record.name)
    result.tagged_blocks.set_data(Tag.LAYER_ID, record.number)
    if record.kind == "end":
        result.tagged_blocks.set_data(Tag.SECTION_DIVIDER_SETTING, SectionDivider.BOUNDING_SECTION_DIVIDER)
    elif record.kind == "group":
        result.tagged_blocks.set_data(
            Tag.SECTION_DIVIDER_SETTING,
            SectionDivider.OPEN_FOLDER,
            signature=b"8BIM",
            blend_mode=BlendMode.PASS_THROUGH,
        )
    return result
