"""A net small enough to be written by hand: an ONNX file that tells how red a picture is."""

from __future__ import annotations

import struct


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protocol buffer: a varint, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    body = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def tensor_type(name: str, channels: int, side: int | None) -> bytes:
    """ValueInfoProto of float32 (1, channels, side, side), sides by name where there is none."""
    sides = [field(1, side)] * 2 if side else [field(2, "height"), field(2, "width")]
    dimensions = b"".join(field(1, size) for size in (field(1, 1), field(1, channels), *sides))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dimensions)))


def redness(side: int | None = None) -> bytes:
    """ModelProto (onnx.proto3, opset 13): a 1 x 1 convolution, red less the mean of green and blue."""
    weights = struct.pack("<3f", 1.0, -0.5, -0.5)
    dimensions = b"".join(field(1, size) for size in (1, 3, 1, 1))
    kernel = dimensions + field(2, 1) + field(8, "w") + field(9, weights)
    node = field(1, "x") + field(1, "w") + field(2, "y") + field(4, "Conv")
    graph = field(1, node) + field(2, "g") + field(5, kernel)
    graph += field(11, tensor_type("x", 3, side)) + field(12, tensor_type("y", 1, side))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))
