"""A layer, or one end of a group, as a PSD file stores it: its record and its packed channels."""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np
from psd_tools.constants import BlendMode, ChannelID, Compression, SectionDivider, Tag
from psd_tools.psd.layer_and_mask import ChannelInfo, LayerFlags, LayerRecord, MaskData

from layercli.formats._packbits import pack
from layercli.formats._psd_plan import Record

BLENDS = {
    "normal": BlendMode.NORMAL,
    "multiply": BlendMode.MULTIPLY,
    "screen": BlendMode.SCREEN,
    "overlay": BlendMode.OVERLAY,
}
#: Transparency first, as Photoshop writes it.
CHANNELS = (
    ChannelID.TRANSPARENCY_MASK,
    ChannelID.CHANNEL_0,
    ChannelID.CHANNEL_1,
    ChannelID.CHANNEL_2,
)


def planes_of(record: Record) -> list[np.ndarray | None]:
    """The planes of a record in the order of its channels; none at the ends of a group."""
    if record.pixels is None:
        return [None] * len(CHANNELS)
    planes = [record.pixels.planes[index] for index in (3, 0, 1, 2)]
    return planes if record.pixels.mask is None else [*planes, record.pixels.mask]


def write_packed(file: BinaryIO, plane: np.ndarray | None, version: int) -> int:
    """Write one channel (h, w), RLE with its row lengths before it; returns its bytes."""
    if plane is None:
        return file.write(struct.pack(">H", Compression.RAW))
    lengths, pieces = pack(plane)
    counts = lengths.astype(">u2" if version == 1 else ">u4").tobytes()
    file.write(struct.pack(">H", Compression.RLE) + counts)
    file.writelines(pieces)
    return 2 + len(counts) + int(lengths.sum())


def stored(record: Record) -> LayerRecord:
    """The record of one layer or of one end of a group, the lengths of its channels still to come."""
    ids = list(CHANNELS)
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
        channel_info=[ChannelInfo(id=number) for number in ids],
        blend_mode=BLENDS[pixels.blend] if pixels is not None else BlendMode.NORMAL,
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
