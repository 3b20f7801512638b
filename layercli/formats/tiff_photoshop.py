"""A TIFF with Photoshop's own layers in it (tag 37724): the composite for all programs, layers for some.

What the tag holds is the layer section of a PSD, so the PSD writer and reader do the work and this file only
moves sections from one container to the other. Photoshop, Affinity and Krita read such layers, ImageMagick
lists them; others show the composite.
Source: Adobe Photoshop TIFF Technical Notes (2002), and Photoshop File Formats Specification (2019).
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.formats import psd
from layercli.formats._entry import names_for
from layercli.formats._files import atomic
from layercli.formats._psd_swap import big_endian_layers
from layercli.formats._reading import damaged, hushed, reading
from layercli.formats._xmp import packet

EXTENSIONS: tuple[str, ...] = (".tif", ".tiff")

_KIND = "a layered TIFF file"
_XMP, _RESOURCES, _PROFILE, _LAYERS = 700, 34377, 34675, 37724
_SIGNATURE = b"Adobe Photoshop Document Data Block\0"
#: Image resources that a TIFF keeps in tags of its own: resource number -> tag.
_OWN_TAGS = {1039: _PROFILE, 1060: _XMP}
#: How masks are shown while they are painted: red, 50 %. Programs expect the block, whatever is in it.
_OVERLAY = struct.pack(">5HHBx", 0, 65535, 0, 0, 0, 50, 128)
#: The layers of 8, 16 and 32 bit files.
_LAYER_KEYS = (b"Layr", b"Lr16", b"Lr32")
#: PhotometricInterpretation -> colour mode of a PSD: gray, RGB, CMYK, Lab.
_COLOUR_MODES = {0: 1, 1: 1, 2: 3, 5: 4, 8: 9}


@dataclass(frozen=True, kw_only=True)
class Options:
    """level: zlib level of the composite, 1 to 9; bleed: pixels of edge colour under alpha 0."""

    level: int = 6
    bleed: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 9:
            raise LayercliError(
                f"A zlib level of {self.level} is not from 1 to 9.", "Try: -O tiff-photoshop.level=6"
            )
        psd.Options(bleed=self.bleed)


def write(stack: LayerStack, path: Path, options: Options | None = None) -> Path:
    """Write one .tiff file, whole or not at all."""
    path, options = Path(path), options or Options()
    with tempfile.TemporaryDirectory(prefix="layercli-") as scratch:
        document = Path(scratch) / "layers.psd"
        if psd.write(stack, document, psd.Options(bleed=options.bleed)) != document:
            raise LayercliError("The stack is too large for the layers of a TIFF.", "Write a .psb instead.")
        resources, layers = _sections(document.read_bytes())
    merged = stack.flatten_quantized()
    opaque = bool(merged[..., 3].min() == 255)
    kept = b"".join(block for number, block in _resources(resources) if number not in _OWN_TAGS)
    xmp = packet(
        stack.receipt,
        {name: layer.prompt for name, layer in zip(names_for(stack), stack.layers, strict=True)},
        mime="image/tiff",
    )
    if not opaque:  # a negative count says that the first extra channel is the composite's transparency
        layers = struct.pack(">h", -struct.unpack_from(">h", layers)[0]) + layers[2:]
    blocks = [] if opaque else [(b"MTrn", b"")]
    blocks += [(b"Layr", layers), (b"LMsk", _OVERLAY)]
    data = _SIGNATURE + b"".join(_block(key, content) for key, content in blocks)
    profile = next(_content(block) for number, block in _resources(resources) if number == 1039)
    # Big-endian, because the sections of a PSD are, and both must be the same.
    with atomic(path) as part, tifffile.TiffWriter(part, byteorder=">") as file:
        file.write(
            merged[..., :3] if opaque else merged,
            photometric="rgb", extrasamples=None if opaque else ["unassalpha"], planarconfig="contig",
            compression="zlib", compressionargs={"level": options.level}, predictor=True, metadata=None,
            software="layercli", iccprofile=profile, resolution=(72, 72), resolutionunit="INCH",
            extratags=[
                (_XMP, "B", len(xmp), xmp, True),
                (_RESOURCES, "B", len(kept), kept, True),
                (_LAYERS, 7, len(data), data, True),
            ],
        )  # fmt: skip
    return path


def read(path: Path) -> LayerStack:
    """Read the layers of a TIFF that layercli, Photoshop or another program wrote, in either byte order.

    Raises LayercliError for a file that is damaged or has no such layers.
    """
    path = Path(path)
    with reading(path, _KIND), hushed(), tempfile.TemporaryDirectory(prefix="layercli-") as scratch:
        if path.is_dir():
            raise IsADirectoryError(path)
        with tifffile.TiffFile(path) as file:
            document = _document(path, file)
        copy = Path(scratch) / "layers.psd"
        copy.write_bytes(document)
        del document
        try:
            return psd.read(copy)
        except LayercliError as error:
            raise damaged(path, _KIND, "its layers are damaged") from error


def _block(key: bytes, content: bytes) -> bytes:
    """One block of the tag; contents are padded to four bytes, which their length leaves out."""
    return b"8BIM" + key + struct.pack(">I", len(content)) + content + bytes(-len(content) % 4)


def _sections(document: bytes) -> tuple[bytes, bytes]:
    """The image resources and the layers of a PSD: each part begins with its length in four bytes."""
    at = 26
    parts = []
    for _ in range(3):  # colour table, resources, layers and masks
        (length,) = struct.unpack_from(">I", document, at)
        parts.append(document[at + 4 : at + 4 + length])
        at += 4 + length
    _, resources, section = parts
    (length,) = struct.unpack_from(">I", section)
    return resources, section[4 : 4 + length]


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The image resources, each whole, with their numbers."""
    at = 0
    while at + 12 <= len(data):
        number, name_length = struct.unpack_from(">HB", data, at + 4)
        name = (name_length + 2) // 2 * 2
        (length,) = struct.unpack_from(">I", data, at + 6 + name)
        end = at + 10 + name + (length + 1) // 2 * 2
        yield number, data[at:end]
        at = end


def _content(resource: bytes) -> bytes:
    """What is in a resource, without its head."""
    name = (resource[6] + 2) // 2 * 2
    (length,) = struct.unpack_from(">I", resource, 6 + name)
    return resource[10 + name : 10 + name + length]


def _resource(number: int, content: bytes) -> bytes:
    head = b"8BIM" + struct.pack(">HHI", number, 0, len(content))
    return head + content + bytes(len(content) % 2)


def _document(path: Path, file: tifffile.TiffFile) -> bytes:
    """The sections of the tags as a PSD again, without its merged picture: the layers say it all."""
    page: Any = file.pages[0]
    if _LAYERS not in page.tags:
        raise damaged(path, _KIND, "it has no layers of Photoshop's kind")
    data = _bytes(page, _LAYERS)
    if not data.startswith(_SIGNATURE):
        raise damaged(path, _KIND, "its layers do not begin as they should")
    blocks = dict(_blocks(data[len(_SIGNATURE) :]))
    key = next((key for key in _LAYER_KEYS if key in blocks), None)
    mode = _COLOUR_MODES.get(int(page.photometric))
    if key is None or mode is None:
        raise damaged(path, _KIND, "it has layers of a kind that is not known")
    layers = blocks[key]
    if data.startswith(b"MIB8", len(_SIGNATURE)):
        if key != b"Layr":
            raise LayercliError(
                f'"{path}" has layers of more than 8 bits in the byte order of Intel processors.',
                "Save it in Photoshop with the byte order Macintosh, or as PSD.",
            )
        layers = big_endian_layers(layers)
    # Image resources are big-endian in TIFF files of either order.
    resources = _bytes(page, _RESOURCES) if _RESOURCES in page.tags else b""
    resources = b"".join(block for number, block in _resources(resources) if number not in _OWN_TAGS)
    for number, tag in _OWN_TAGS.items():
        if tag in page.tags:
            resources += _resource(number, _bytes(page, tag))
    depth = {b"Layr": 8, b"Lr16": 16, b"Lr32": 32}[key]
    count = abs(struct.unpack_from(">h", layers)[0])
    layers = struct.pack(">h", count) + layers[2:] + bytes(len(layers) % 2)
    # Layers of 8 bits have a place of their own in a PSD; the others go among the blocks behind it.
    section = struct.pack(">I", len(layers)) + layers + bytes(4)
    if depth > 8:
        section = bytes(8) + _block(key, layers)
    channels = {1: 1, 3: 3, 4: 4, 9: 3}[mode]
    head = struct.pack(
        ">4sH6xHIIHH", b"8BPS", 1, channels, int(page.imagelength), int(page.imagewidth), depth, mode
    )
    parts = [b"", resources, section]
    return head + b"".join(struct.pack(">I", len(part)) + part for part in parts) + bytes(2)


def _bytes(page: Any, tag: int) -> bytes:
    value = page.tags[tag].value
    return value if isinstance(value, bytes) else bytes(value)


def _blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The blocks of the tag, of either byte order, with their keys read forwards."""
    at = 0
    while at + 12 <= len(data):
        signature, key = data[at : at + 4], data[at + 4 : at + 8]
        if signature not in (b"8BIM", b"MIB8"):
            break
        little = signature == b"MIB8"
        (length,) = struct.unpack_from("<I" if little else ">I", data, at + 8)
        yield (key[::-1] if little else key), data[at + 12 : at + 12 + length]
        at += 12 + (length + 3) // 4 * 4
