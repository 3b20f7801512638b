"""Layers in the byte order of Intel processors, as Photoshop writes them into most TIFF files, turned round.

A PSD is always big-endian, so its readers know no other order. Source: Photoshop File Formats Specification
(2019), Layer Info; Adobe Photoshop TIFF Technical Notes (2002).
"""

from __future__ import annotations

import struct
from typing import Any


class _Turn:
    """Reads little-endian values one after the other and writes them big-endian."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.out = bytearray()

    def peek(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def values(self, form: str) -> tuple[Any, ...]:
        values = self.peek(form)
        self.out += struct.pack(f">{form}", *values)
        return values

    def key(self) -> bytes:
        """Four letters, which are written backwards in little-endian files."""
        key = self.raw(4)[::-1]
        self.out[-4:] = key
        return key

    def raw(self, length: int) -> bytes:
        taken = self.data[self.at : self.at + length]
        if len(taken) != length:
            raise ValueError("its layers end too early")
        self.at += length
        self.out += taken
        return taken


def big_endian_layers(data: bytes) -> bytes:
    """The 8-bit layers of a little-endian file as a PSD holds them.

    Names, groups, masks and pixels are kept; blocks whose insides are not known, layer effects for one,
    cannot be turned round and are left out. Raises ValueError or struct.error for broken data.
    """
    turn = _Turn(data)
    (count,) = turn.values("h")
    records = [_record(turn) for _ in range(abs(count))]
    for channels in records:
        for rows, length in channels:
            end = turn.at + length
            (compression,) = turn.values("H")
            if compression == 1:  # RLE: the lengths of all rows come first
                turn.values(f"{rows}H")
            turn.raw(end - turn.at)
    return bytes(turn.out)


def _record(turn: _Turn) -> list[tuple[int, int]]:
    """Turn one layer's record; returns the rows and bytes of each of its channels."""
    top, _, bottom, _ = turn.values("4i")
    (count,) = turn.values("H")
    channels = [turn.values("hI") for _ in range(count)]
    turn.key()
    turn.key()  # the blend mode, after a signature
    turn.raw(4)
    place = len(turn.out)
    (length,) = turn.values("I")
    end = turn.at + length
    mask_rows = _mask(turn)
    (ranges,) = turn.values("I")
    turn.raw(ranges)
    name = turn.data[turn.at]
    turn.raw((name + 4) // 4 * 4)
    while turn.at + 12 <= end:
        _block(turn)
    turn.at = end
    struct.pack_into(">I", turn.out, place, len(turn.out) - place - 4)
    if any(number < -2 for number, _ in channels):
        raise ValueError("a layer has two masks")
    return [(mask_rows if number == -2 else bottom - top, size) for number, size in channels]


def _mask(turn: _Turn) -> int:
    """Turn a layer's mask record; what it may say beyond place and colour is left out. Returns its rows."""
    (length,) = turn.peek("I")
    if length == 0:
        turn.out += bytes(4)
        return 0
    end = turn.at + length
    top, left, bottom, right, colour, flags = turn.peek("4iBB")
    turn.out += struct.pack(">I4iBBxx", 20, top, left, bottom, right, colour, flags & ~0x10)
    turn.at = end
    return int(bottom - top)


def _block(turn: _Turn) -> None:
    """Turn one block of additional layer information, or drop it."""
    start = len(turn.out)
    turn.key()
    key = turn.key()
    (length,) = turn.values("I")
    end = turn.at + length
    if key == b"luni":
        (letters,) = turn.values("I")
        turn.values(f"{letters}H")
    elif key in (b"lyid", b"lsct"):
        turn.values("I")
        if turn.at < end:  # lsct: the blend mode of the group
            turn.key()
            turn.key()
            turn.values(f"{(end - turn.at) // 4}I")
    else:
        del turn.out[start:]
        turn.at = end + length % 2
        return
    turn.raw(end - turn.at)
    turn.out += bytes(length % 2)
    turn.at = end + length % 2
