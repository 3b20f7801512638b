"""Smart objects, live shapes and artboards at another place: their corners lie in descriptors, in pixels.

Source: Adobe Photoshop File Formats Specification, November 2019, "Descriptor structure"; the keys are those
that Photoshop and ag-psd write.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from psd_tools.psd.descriptor import Descriptor, DescriptorBlock, DescriptorBlock2
from psd_tools.psd.tagged_blocks import SmartObjectLayerData

from layercli.core.geometry import Offset

#: Blocks that are moved here -> how they are parsed, and what they make of a layer.
DESCRIBED: dict[bytes, tuple[Any, str]] = {
    b"SoLd": (SmartObjectLayerData, "a smart object"), b"SoLE": (SmartObjectLayerData, "a smart object"),
    b"vogk": (DescriptorBlock2, "a live shape"),
    b"artb": (DescriptorBlock, "an artboard"), b"artd": (DescriptorBlock, "an artboard"),
    b"abdd": (DescriptorBlock, "an artboard"),
}  # fmt: skip
_ACROSS, _DOWN = (b"Left", b"Rght", b"Hrzn"), (b"Top ", b"Btom", b"Vrtc")
_MATRIX = (b"xx", b"yx", b"tx", b"xy", b"yy", b"ty")
_BOX_CORNERS = tuple(b"rectangleCorner" + letter for letter in (b"A", b"B", b"C", b"D"))


def described(key: bytes, data: bytes, by: Offset) -> bytes | None:
    """The data of a block moved by some pixels; None where it is not read to the last byte."""
    kind, _ = DESCRIBED[key]
    try:
        parsed = kind.frombytes(data)
        plain = parsed.tobytes(padding=1)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, struct.error):
        return None
    if plain != data[: len(plain)]:
        return None
    for value, direction in _places(key, parsed):
        value.value = plus(float(value.value), (by.left, by.top)[direction])
    if key == b"vogk":
        _keep_matrices(parsed, by)
    moved: bytes = parsed.tobytes(padding=1)
    return moved + data[len(plain) :]


def plus(value: float, pixels: float) -> float:
    """A sum as of written numbers, so that 10.1 + 3 - 3 is 10.1 again; what is no number stays."""
    return float(Decimal(repr(value)) + Decimal(repr(pixels))) if math.isfinite(value) else value


def _places(key: bytes, parsed: Any) -> Iterator[tuple[Any, int]]:
    """Every coordinate of a block: its element, and 0 for one across or 1 for one down."""
    if key in (b"SoLd", b"SoLE"):
        for name in (b"Trnf", b"nonAffineTransform"):
            for number, value in enumerate(parsed.data.get(name) or ()):
                yield value, number % 2
        return
    if key != b"vogk":
        yield from _sides(parsed.get(b"artboardRect"))
        return
    for shape in _shapes(parsed):
        yield from _sides(shape.get(b"keyOriginShapeBBox"))
        corners = shape.get(b"keyOriginBoxCorners")
        if isinstance(corners, Descriptor):
            for name in _BOX_CORNERS:
                yield from _sides(corners.get(name))
        for name in (b"keyOriginLineStart", b"keyOriginLineEnd"):
            yield from _sides(shape.get(name))


def _sides(place: Any) -> Iterator[tuple[Any, int]]:
    if isinstance(place, Descriptor):
        for direction, names in enumerate((_ACROSS, _DOWN)):
            for name in names:
                if name in place:
                    yield place[name], direction


def _shapes(parsed: Any) -> list[Descriptor]:
    return [each for each in parsed.get(b"keyDescriptorList") or () if isinstance(each, Descriptor)]


def _keep_matrices(parsed: Any, by: Offset) -> None:
    """Go on taking the box of each shape to its corners, both moved: A (x + d) + t' = A x + t + d.

    So t' = t + d - A d, which is t for a shape that was never turned or stretched.
    """
    for shape in _shapes(parsed):
        matrix = shape.get(b"Trnf")
        if not isinstance(matrix, Descriptor) or not all(name in matrix for name in _MATRIX):
            continue
        values = [matrix[name] for name in _MATRIX]
        for (a, b, t), d in zip((values[:3], values[3:]), (by.left, by.top), strict=True):
            t.value = plus(float(t.value), d - a.value * by.left - b.value * by.top)
