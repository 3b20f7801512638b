"""A record of a PSD file at another place: its pixels, masks, paths, text and smart object move together.

Source: Adobe Photoshop File Formats Specification, November 2019.
"""

from __future__ import annotations

import dataclasses
import struct

from layercli.core.geometry import Offset, Size
from layercli.formats._psd_live import DESCRIBED, described, plus
from layercli.formats._psd_raw import REAL_MASK, Record

_PATHS = (b"vmsk", b"vsms")
_TEXT = (b"TySh", b"tySh")
_PLACED = (b"PlLd", b"plLd")
#: Blocks from which programs draw a layer's pixels again: they say nothing true once the pixels are others.
LIVE = {
    b"TySh": "text", b"tySh": "text", b"PlLd": "a smart object", b"plLd": "a smart object",
    b"SoLd": "a smart object", b"SoLE": "a smart object", b"vmsk": "a shape", b"vsms": "a shape",
    b"vstk": "a shape", b"vscg": "a shape", b"vogk": "a shape", b"SoCo": "a shape", b"GdFl": "a shape",
    b"PtFl": "a shape",
}  # fmt: skip
_RELATIVE = 1
_PARAMETERS = 16


def shifted(record: Record, by: Offset, before: Size, after: Size, version: int) -> Record:
    """The record moved on a canvas that was `before` and is `after`, sizes and corners in pixels.

    by: how far, on the canvas of now. Nothing else of it changes, and nothing at all for a move by nothing.
    """
    if by == Offset() and before == after:
        return record
    top, left, bottom, right = record.box
    if bottom > top or right > left or (top, left) != (0, 0):
        box = (top + by.top, left + by.left, bottom + by.top, right + by.left)
        record = dataclasses.replace(record, box=box)
    both = any(number == REAL_MASK for number, _ in record.channels)
    record = dataclasses.replace(record, mask=_mask(record.mask, by, both))
    for block in record.blocks:
        data = block.data
        if block.key in _PATHS:
            data = shifted_path(data, by, before, after, 8)
        elif block.key in _TEXT:
            data = _moved_pair(data, 2 + 4 * 8, by)  # a version, then xx xy yx yy tx ty
        elif block.key in _PLACED:
            data = _placed(data, by)
        elif block.key in DESCRIBED and by != Offset():
            data = described(block.key, data, by) or data
        if data != block.data:
            record = record.with_block(block.key, data, version)
    return record


def stuck(record: Record) -> str | None:
    """What of a record stays behind when it is moved, since it cannot be read; None for nothing."""
    for block in record.blocks:
        if block.key in DESCRIBED and described(block.key, block.data, Offset()) is None:
            return DESCRIBED[block.key][1]
    return None


def _mask(data: bytes, by: Offset, both: bool) -> bytes:
    """The rectangles of a mask; one that is relative to its layer moves by itself.

    both: whether the mask that a vector mask and this one make together is stored too.
    """
    if len(data) < 18 or data[17] & _RELATIVE:
        return data
    changed = bytearray(data)
    _move_box(changed, 0, by)
    if both and len(data) >= 36:
        _move_box(changed, 20, by)
    return bytes(changed)


def _move_box(data: bytearray, at: int, by: Offset) -> None:
    top, left, bottom, right = struct.unpack_from(">4i", data, at)
    if bottom > top and right > left:
        box = (top + by.top, left + by.left, bottom + by.top, right + by.left)
        struct.pack_into(">4i", data, at, *box)


def shifted_path(data: bytes, by: Offset, before: Size, after: Size, start: int = 0) -> bytes:
    """A path moved; its knots are fractions of the canvas, 8.24 fixed point, y before x.

    start: where its first record begins.
    """
    changed = bytearray(data)
    for at in range(start, len(data) - 25, 26):
        (kind,) = struct.unpack_from(">H", data, at)
        if kind not in (1, 2, 4, 5):
            continue
        points = struct.unpack_from(">6i", data, at + 2)
        moved = []
        for y, x in zip(points[::2], points[1::2], strict=True):
            moved.append(_fixed((y / 2**24 * before.height + by.top) / after.height))
            moved.append(_fixed((x / 2**24 * before.width + by.left) / after.width))
        struct.pack_into(">6i", changed, at + 2, *moved)
    return bytes(changed)


def _fixed(value: float) -> int:
    return max(-(2**31), min(2**31 - 1, round(value * 2**24)))


def _moved_pair(data: bytes, at: int, by: Offset) -> bytes:
    """Two doubles x, y, moved."""
    if len(data) < at + 16:
        return data
    x, y = struct.unpack_from(">2d", data, at)
    return data[:at] + struct.pack(">2d", plus(x, by.left), plus(y, by.top)) + data[at + 16 :]


def _placed(data: bytes, by: Offset) -> bytes:
    """The four corners of a placed layer: a type, a version, a name, four numbers, then eight doubles."""
    if len(data) < 9:
        return data
    at = 8 + 1 + data[8] + 16
    for corner in range(4):
        data = _moved_pair(data, at + 16 * corner, by)
    return data


def guides(data: bytes, by: Offset) -> bytes:
    """The guides of resource 1032, in 1/32 pixel; 0 is a vertical one."""
    if len(data) < 16:
        return data
    changed = bytearray(data)
    (count,) = struct.unpack_from(">I", data, 12)
    for at in range(16, min(16 + 5 * count, len(data) - 4), 5):
        place, direction = struct.unpack_from(">iB", data, at)
        struct.pack_into(">i", changed, at, place + 32 * (by.top if direction else by.left))
    return bytes(changed)
