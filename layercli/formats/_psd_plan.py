"""What a PSD file of a stack holds, record by record; both PSD writers write this and nothing else."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from layercli import __version__
from layercli.core import composite
from layercli.core.errors import LayercliError, Note
from layercli.core.layers import LayerStack
from layercli.core.pixels import in_srgb, srgb_profile
from layercli.core.threads import each
from layercli.core.trim import Trimmed, trim
from layercli.formats._files import ascii_name, clean_name, unique_names, unique_path
from layercli.formats._xmp import packet

#: A PSD holds sides of up to this many pixels and files of up to 2 GB; beyond, it must be a PSB.
LARGEST_PSD_SIDE = 30_000
LARGEST_PSD_BYTES = 2**31 - 2**20
LARGEST_PSB_SIDE = 300_000

_THUMBNAIL_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """dpi: pixels per inch; bleed: pixels of edge colour under alpha 0, 0-64."""

    dpi: float = 72.0
    bleed: int = 4

    def __post_init__(self) -> None:
        if not 1.0 <= self.dpi <= 30_000.0:
            raise LayercliError(
                f"A resolution of {self.dpi:g} dpi is not from 1 to 30000.", "Try: -O dpi=300"
            )
        if not 0 <= self.bleed <= 64:
            raise LayercliError(f"A bleed of {self.bleed} pixels is not from 0 to 64.", "Try: -O bleed=4")


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One record of the file, in file order, back to front.

    kind: "layer" with pixels, "end" (the divider at the back of a group) or "group" (its head, at the front).
    """

    kind: str
    name: str
    ascii_name: str
    number: int
    visible: bool = True
    pixels: Trimmed | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """A whole file: records in file order, merged (3, H, W) uint8, resources by their PSD number."""

    width: int
    height: int
    records: tuple[Record, ...]
    merged: np.ndarray
    resources: dict[int, bytes]

    @property
    def needs_psb(self) -> bool:
        """Whether a side is too long for a PSD."""
        sides = [self.width, self.height]
        for record in self.records:
            if record.pixels is not None:
                sides.extend(record.pixels.planes.shape[1:])
        return max(sides) > LARGEST_PSD_SIDE


def plan(stack: LayerStack, options: Options) -> Document:
    """Quantise, trim, name, number and flatten a stack; raises LayercliError for a side over 300,000."""
    area = stack.canvas.width * stack.canvas.height
    trimmed = tuple(each(lambda layer: trim(layer, options.bleed), stack.layers, area))
    for layer, pixels in zip(stack.layers, trimmed, strict=True):
        if max(pixels.planes.shape) > LARGEST_PSB_SIDE:
            raise LayercliError(f'Layer "{layer.name}" is too large for a PSB.', "Make it smaller first.")
    names = unique_names(clean_name(layer.name) for layer in stack.layers)
    visible = [pixels.source for layer, pixels in zip(stack.layers, trimmed, strict=True) if layer.visible]
    # With three channels the merged picture is opaque; white is the paper that other programs lay under it.
    merged = composite.merge(stack.canvas.width, stack.canvas.height, visible, quantized=True, ground=1.0)[:3]
    prompts = {name: layer.prompt for name, layer in zip(names, stack.layers, strict=True)}
    return Document(
        width=stack.canvas.width,
        height=stack.canvas.height,
        records=_records(stack, names, trimmed),
        merged=merged,
        resources={
            1005: _resolution(options.dpi),
            1036: thumbnail(merged),
            1039: srgb_profile(),
            1057: _version_info(),
            1060: packet(stack.receipt, prompts),
        },
    )


def _records(stack: LayerStack, names: tuple[str, ...], trimmed: tuple[Trimmed, ...]) -> tuple[Record, ...]:
    """Layers with the dividers and heads of their groups between them; numbers count from 1."""
    records: list[Record] = []
    open_groups: list[str] = []

    def add(kind: str, name: str, visible: bool = True, pixels: Trimmed | None = None) -> None:
        number = len(records) + 1
        fallback = f"{'group' if kind == 'group' else 'layer'} {number}"
        records.append(
            Record(
                kind=kind,
                name=name,
                ascii_name=ascii_name(name, fallback=fallback),
                number=number,
                visible=visible,
                pixels=pixels,
            )
        )

    def close(depth: int) -> None:
        while len(open_groups) > depth:
            add("group", clean_name(open_groups.pop(), fallback="group"))

    for layer, name, pixels in zip(stack.layers, names, trimmed, strict=True):
        common = shared(open_groups, layer.group)
        close(common)
        for group in layer.group[common:]:
            add("end", "</Layer group>")
            open_groups.append(group)
        add("layer", name, layer.visible, pixels)
    close(0)
    return tuple(records)


def shared(path: list[str], other: tuple[str, ...]) -> int:
    """How many groups, from the outermost on, two paths have in common."""
    count = 0
    while count < min(len(path), len(other)) and path[count] == other[count]:
        count += 1
    return count


def _resolution(dpi: float) -> bytes:
    """Resource 1005: 16.16 fixed point pixels per inch, shown in inches."""
    fixed = round(dpi * 65536)
    return struct.pack(">IHHIHH", fixed, 1, 1, fixed, 1, 1)


def _version_info() -> bytes:
    """Resource 1057: says that the merged picture is a real one."""

    def text(value: str) -> bytes:
        return struct.pack(">I", len(value)) + value.encode("utf-16-be")

    program = text(f"layercli {__version__}")
    return struct.pack(">I?", 1, True) + program + program + struct.pack(">I", 1)


def thumbnail(merged: np.ndarray, profile: bytes | None = None) -> bytes:
    """Resource 1036: the merged picture (3, H, W) as a JPEG of at most 256 pixels a side.

    profile: what the numbers mean where they are not sRGB; a viewer of thumbnails does not ask.
    """
    _, height, width = merged.shape
    step = max(1, max(width, height) // _THUMBNAIL_SIDE // 2)  # two samples a pixel each way
    bands = [Image.fromarray(np.ascontiguousarray(plane[::step, ::step])) for plane in merged]
    scale = min(1.0, _THUMBNAIL_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.merge("RGB", bands).resize(size, Image.Resampling.HAMMING, reducing_gap=1.0)
    if profile is not None:
        small.info["icc_profile"] = profile
        small = in_srgb(small)
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=85, subsampling=0)
    data = jpeg.getvalue()
    row = (size[0] * 24 + 31) // 32 * 4
    head = struct.pack(">6I2H", 1, *size, row, row * size[1], len(data), 24, 1)
    return head + data


def version_and_path(document: Document, path: Path, content_bytes: int) -> tuple[int, Path]:
    """Choose between PSD (1) and PSB (2), and the path that goes with it; warns when it must be a PSB.

    content_bytes: about what the file will hold.
    """
    large = document.needs_psb or content_bytes > LARGEST_PSD_BYTES
    if not large or path.suffix.lower() == ".psb":
        return (2 if path.suffix.lower() == ".psb" else 1), path
    psb = unique_path(path.with_suffix(".psb"))
    why = "over 30,000 pixels" if document.needs_psb else "over 2 GB"
    message = f'"{psb}" is a PSB, which fewer programs open, because no PSD can be {why}.'
    warnings.warn(message, Note, stacklevel=3)
    return 2, psb
