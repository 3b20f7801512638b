"""The records of a PSD file after an edit: what is not touched stays, what is touched changes there alone."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import numpy as np

from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer, LayerStack, opacity_level
from layercli.core.pixels import dequantize, quantize
from layercli.core.trim import Trimmed, trim
from layercli.formats import _psd_plan
from layercli.formats._files import ascii_name, clean_name
from layercli.formats._psd_raw import MASK, REAL_MASK, RawFile, Record, read_record
from layercli.formats._psd_records import BLENDS, planes_of, stored, write_packed
from layercli.formats._psd_shift import LIVE, shifted, stuck
from layercli.formats._psd_view import Folder, Part

_HIDDEN = 2
_MASK_OFF = 2
_NAME, _NUMBER = b"luni", b"lyid"
#: Where a layer's name comes from; Photoshop's background, which cannot move or fade, is known by it.
_SOURCE, _BACKGROUND, _LAYER = b"lnsr", b"bgnd", b"layr"


class Patch:
    """Turns the layers of an edited stack into records.

    raw: the file; parts: its entries by name; folders: its groups by path; moved, before, after: where the
    corner of the canvas was is now, and its two sizes. Filled on the way: pixelled, layers that were text,
    say, and are pixels now, with what they were; stuck, moved layers of which something stays behind.
    """

    def __init__(
        self,
        raw: RawFile,
        parts: Mapping[str, Part],
        folders: Mapping[tuple[str, ...], Folder],
        *,
        moved: Offset,
        before: Size,
        after: Size,
    ) -> None:
        self.raw = raw
        self.parts = parts
        self.folders = folders
        self.moved, self.before, self.after = moved, before, after
        self.pixelled: dict[str, str] = {}
        self.stuck: dict[str, str] = {}
        self._ends = _ends(raw.records)
        numbers = [int.from_bytes(record.block(_NUMBER) or b"", "big") for record in raw.records]
        self._number = max([*numbers, len(numbers)])
        self._used: set[str] = set()

    def records(self, stack: LayerStack, origins: Sequence[str | None]) -> tuple[Record, ...]:
        """The records of the edited stack in file order.

        origins: for each layer the name it had when the file was read, None for a new one.
        """
        found: list[Record] = []
        open_: list[str] = []
        for layer, origin in zip(stack.layers, origins, strict=True):
            shared = _psd_plan.shared(open_, layer.group)
            self._close(found, open_, shared)
            for depth in range(shared, len(layer.group)):
                open_.append(layer.group[depth])
                found.append(self._group(tuple(open_), end=True))
            found.extend(self._layer(layer, origin))
        self._close(found, open_, 0)
        return tuple(found)

    def _close(self, found: list[Record], open_: list[str], depth: int) -> None:
        while len(open_) > depth:
            found.append(self._group(tuple(open_), end=False))
            open_.pop()

    def _group(self, path: tuple[str, ...], *, end: bool) -> Record:
        """One end of a group: the file's own, or a new one."""
        folder = self.folders.get(path)
        head = -1 if folder is None else folder.record
        if head in self._ends:
            return self._shifted(self.raw.records[self._ends[head] if end else head], self.moved)
        name = "</Layer group>" if end else path[-1]
        kind = "end" if end else "group"
        plan = _psd_plan.Record(kind=kind, name=name, ascii_name=ascii_name(name), number=0)
        return self._numbered(self._made(plan))

    def _layer(self, layer: Layer, origin: str | None) -> Iterator[Record]:
        if origin is None:
            name = clean_name(layer.name)
            plan = _psd_plan.Record(
                kind="layer", name=name, ascii_name=ascii_name(name), number=0, visible=layer.visible,
                pixels=trim(layer),
            )  # fmt: skip
            yield self._numbered(self._made(plan, layer))
            return
        part = self.parts[origin]
        if part.kind == "group":  # an empty one: its other end comes first in the file
            yield self._shifted(self.raw.records[self._ends[part.record]], self.moved)
        record = self._changed(self.raw.records[part.record], part.layer, layer)
        yield self._numbered(record) if origin in self._used else record
        self._used.add(origin)

    def _changed(self, record: Record, was: Layer, now: Layer) -> Record:
        """The record of a layer with what is different now, and nothing else."""
        version = self.raw.version
        if now.rgba is not was.rgba:
            record = self._with_pixels(record, now)
        else:
            by = Offset(now.offset.left - was.offset.left, now.offset.top - was.offset.top)
            what = stuck(record) if by != Offset() else None
            if what is not None:
                self.stuck[now.name] = what
            record = self._shifted(record, by)
            if now.mask is not was.mask:
                record = self._with_mask(record, now.mask)
        opacity, clipping, flags, filler = record.looks
        if now.opacity != was.opacity:
            opacity = opacity_level(now.opacity)
        if now.visible != was.visible:
            flags = flags & ~_HIDDEN if now.visible else flags | _HIDDEN
        record = dataclasses.replace(record, looks=(opacity, clipping, flags, filler))
        if now.blend != was.blend:
            record = dataclasses.replace(record, blend=BLENDS[now.blend].value)
        if record.block(_SOURCE) == _BACKGROUND and self._is_no_background(was, now):
            record = record.with_block(_SOURCE, _LAYER, version)
        if now.name != was.name:
            name = clean_name(now.name)
            plain = ascii_name(name).encode("ascii")
            pascal = bytes([len(plain)]) + plain
            record = dataclasses.replace(record, name=pascal + bytes(-len(pascal) % 4))
            units = name.encode("utf-16-be")
            record = record.with_block(_NAME, struct.pack(">I", len(units) // 2) + units, version)
        return record

    def _is_no_background(self, was: Layer, now: Layer) -> bool:
        """Whether the locked layer at the back has become a layer like any other."""
        looks = (was.opacity, was.blend, was.group, was.offset) != (
            now.opacity,
            now.blend,
            now.group,
            now.offset,
        )
        drawn = now.rgba is not was.rgba or now.mask is not was.mask
        return looks or drawn or self.before != self.after

    def _shifted(self, record: Record, by: Offset) -> Record:
        return shifted(record, by, self.before, self.after, self.raw.version)

    def _with_pixels(self, record: Record, layer: Layer) -> Record:
        """The record with other pixels: the blocks that would draw the old ones again go."""
        was = next((LIVE[block.key] for block in record.blocks if block.key in LIVE), None)
        if was is not None:
            self.pixelled[layer.name] = was
        made = self._made(
            _psd_plan.Record(kind="layer", name="x", ascii_name="x", number=0, pixels=trim(layer)), layer
        )
        return dataclasses.replace(
            record,
            box=made.box,
            channels=made.channels,
            mask=made.mask,
            blocks=tuple(block for block in record.blocks if block.key not in LIVE),
        )

    def _with_mask(self, record: Record, mask: np.ndarray | None) -> Record:
        """The record with another mask over its whole box, or with none."""
        channels = [(n, data) for n, data in record.channels if n not in (MASK, REAL_MASK)]
        if mask is None:
            return dataclasses.replace(record, channels=tuple(channels), mask=b"")
        channels.append((MASK, self._packed(mask, quantize(mask))))
        return dataclasses.replace(
            record, channels=tuple(channels), mask=struct.pack(">4iBBxx", *record.box, 0, 0)
        )

    def _made(self, plan: _psd_plan.Record, layer: Layer | None = None) -> Record:
        """A record as the format writes it, at the depth of the file."""
        written = BytesIO()
        stored(plan).write(written, version=self.raw.version)
        record, _ = read_record(written.getvalue(), self.raw.version)
        numbers = [-1, 0, 1, 2] + ([MASK] if plan.pixels is not None and plan.pixels.mask is not None else [])
        deep = _deep_planes(layer, plan.pixels) if plan.pixels is not None and layer is not None else None
        channels = []
        for index, (number, plane) in enumerate(zip(numbers, planes_of(plan), strict=True)):
            channels.append((number, self._packed(None if deep is None else deep[index], plane)))
        return dataclasses.replace(record, channels=tuple(channels))

    def _packed(self, values: np.ndarray | None, plane: np.ndarray | None) -> bytes:
        """A channel at the depth of the file: plane in 8 bits, values the same as floats."""
        written = BytesIO()
        if plane is not None and values is not None and self.raw.depth == 16:
            plane = sixteen_bits(values)
        write_packed(written, plane, self.raw.version)
        return written.getvalue()

    def _numbered(self, record: Record) -> Record:
        """The record with the next number that no layer has."""
        self._number += 1
        return record.with_block(_NUMBER, struct.pack(">I", self._number), self.raw.version)


def sixteen_bits(values: np.ndarray) -> np.ndarray:
    """A plane (h, w) in [0, 1] as the bytes of big-endian 16-bit numbers: (h, 2w) uint8."""
    levels = np.rint(np.clip(values, 0.0, 1.0) * np.float64(65535)).astype(">u2")
    return levels.view(np.uint8).reshape(len(levels), -1)


def _deep_planes(layer: Layer, cut: Trimmed) -> list[np.ndarray]:
    """Alpha, colours and mask of a trimmed layer as floats; bled colours are those of the 8-bit planes."""
    height, width = cut.planes.shape[1:]
    top, left = cut.top - layer.offset.top, cut.left - layer.offset.left
    inside = (slice(top, top + height), slice(left, left + width))
    clear = cut.planes[3] == 0
    bled = [np.where(clear, dequantize(cut.planes[i]), layer.rgba[inside][..., i]) for i in range(3)]
    planes = [layer.rgba[inside][..., 3], *bled]
    return planes if layer.mask is None else [*planes, layer.mask[inside]]


def _ends(records: Sequence[Record]) -> dict[int, int]:
    """The number of the head of each group -> that of its other end, which lies before it in the file."""
    ends: dict[int, int] = {}
    waiting: list[int] = []
    for number, record in enumerate(records):
        if record.divider == 3:
            waiting.append(number)
        elif record.divider in (1, 2) and waiting:
            ends[number] = waiting.pop()
    return ends
