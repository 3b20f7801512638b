"""A PSD or PSB file as slices of its own bytes: what is not changed is written back as it was, bit for bit.

Source: Adobe Photoshop File Formats Specification, November 2019.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from dataclasses import dataclass

#: Blocks whose length takes eight bytes in a PSB.
_LONG = frozenset(
    b"LMsk Lr16 Lr32 Layr Mt16 Mt32 Mtrn Alph FMsk lnk2 lnk3 lnkE FEid FXid FELS PxSD pths extd extn cinf "
    b"artd".split()
)
_SIGNATURES = (b"8BIM", b"8B64")
_DEEP = (b"Lr16", b"Lr32")

#: Masks of a channel's number: a layer's own mask, and the one that a vector mask and it make together.
MASK, REAL_MASK = -2, -3


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One block of additional information; raw: all of it, the head and the padding included."""

    key: bytes
    data: bytes
    raw: bytes

    @classmethod
    def made(cls, key: bytes, data: bytes, version: int) -> Block:
        """A block of new data, padded to four bytes."""
        padded = data + bytes(-len(data) % 4)
        form = ">Q" if version == 2 and key in _LONG else ">I"
        return cls(key=key, data=padded, raw=b"8BIM" + key + struct.pack(form, len(padded)) + padded)


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One layer, or one end of a group.

    box: top, left, bottom, right; channels: (number, bytes with their compression) in order; looks: opacity,
    clipping, flags and filler, a byte each; mask, ranges: contents of those parts; name: the Pascal string
    with its padding; rest: what follows the last block.
    """

    box: tuple[int, int, int, int]
    channels: tuple[tuple[int, bytes], ...]
    signature: bytes
    blend: bytes
    looks: tuple[int, int, int, int]
    mask: bytes
    ranges: bytes
    name: bytes
    blocks: tuple[Block, ...]
    rest: bytes = b""

    def block(self, key: bytes) -> bytes | None:
        """The data of the first block of that key."""
        return next((block.data for block in self.blocks if block.key == key), None)

    def with_block(self, key: bytes, data: bytes, version: int) -> Record:
        """The same record with a block put in the place of the one of that key, or behind all others."""
        made = Block.made(key, data, version)
        if self.block(key) is None:
            return dataclasses.replace(self, blocks=(*self.blocks, made))
        blocks = tuple(made if block.key == key else block for block in self.blocks)
        return dataclasses.replace(self, blocks=blocks)

    @property
    def divider(self) -> int:
        """0 for a layer, 1 and 2 for the head of a group, 3 for its other end."""
        data = self.block(b"lsct") or self.block(b"lsdk")
        return int.from_bytes(data[:4], "big") if data else 0

    def head(self, version: int) -> bytes:
        """The record as it stands before the channels."""
        form = ">hI" if version == 1 else ">hQ"
        channels = b"".join(struct.pack(form, number, len(data)) for number, data in self.channels)
        extra = b"".join(
            [
                struct.pack(">I", len(self.mask)), self.mask,
                struct.pack(">I", len(self.ranges)), self.ranges,
                self.name, *(block.raw for block in self.blocks), self.rest,
            ]
        )  # fmt: skip
        looks = self.signature + self.blend + bytes(self.looks)
        return b"".join(
            [struct.pack(">4iH", *self.box, len(self.channels)), channels, looks,
             struct.pack(">I", len(extra)), extra]
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Resource:
    """One image resource; raw: all of it, the head and the padding included."""

    number: int
    data: bytes
    raw: bytes

    @classmethod
    def made(cls, number: int, data: bytes) -> Resource:
        """A resource of new data without a name."""
        raw = b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
        return cls(number=number, data=data, raw=raw)


@dataclass(frozen=True, kw_only=True, eq=False)
class RawFile:
    """All of a file.

    count: of the records, negative where the first further channel of the merged picture is its
    transparency; deep: the key of the block that holds the records of a 16-bit file, b"" for none; layers:
    the section of the records as it was; after: global mask information and what follows; blocks: those
    behind the records; merged: the last section.
    """

    version: int
    channels: int
    height: int
    width: int
    depth: int
    mode: int
    colours: bytes
    resources: tuple[Resource, ...]
    count: int
    records: tuple[Record, ...]
    deep: bytes
    global_mask: bytes
    blocks: tuple[Block, ...]
    tail: bytes
    merged: bytes

    def resource(self, number: int) -> bytes | None:
        """The data of the first resource of that number."""
        return next((each.data for each in self.resources if each.number == number), None)

    def with_resource(self, number: int, data: bytes) -> RawFile:
        """The same file with a resource put in the place of the one of that number, or behind the others."""
        made = Resource.made(number, data)
        if self.resource(number) is None:
            return dataclasses.replace(self, resources=(*self.resources, made))
        changed = tuple(made if each.number == number else each for each in self.resources)
        return dataclasses.replace(self, resources=changed)

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the whole file, piece by piece."""
        long = ">I" if self.version == 1 else ">Q"
        yield b"8BPS" + struct.pack(
            ">H6xHIIHH", self.version, self.channels, self.height, self.width, self.depth, self.mode
        )
        yield struct.pack(">I", len(self.colours)) + self.colours
        resources = b"".join(each.raw for each in self.resources)
        yield struct.pack(">I", len(resources)) + resources
        body = self._layers()
        info = b"" if self.deep else body
        blocks = [Block.made(block.key, body, self.version).raw if block.key == self.deep else block.raw
                  for block in self.blocks]  # fmt: skip
        section = [struct.pack(long, len(info)), info, self.global_mask, *blocks, self.tail]
        if not info and not self.blocks and not self.global_mask and not self.tail:
            section = []
        yield struct.pack(long, sum(map(len, section)))
        yield from section
        yield self.merged

    def _layers(self) -> bytes:
        """The records and their channels, padded to four bytes."""
        if not self.records:
            return b""
        count = -len(self.records) if self.count < 0 else len(self.records)
        parts = [struct.pack(">h", count), *(record.head(self.version) for record in self.records)]
        parts.extend(data for record in self.records for _, data in record.channels)
        return b"".join([*parts, bytes(-sum(map(len, parts)) % 4)])


class _Cursor:
    """Takes slices of bytes, one after the other; raises ValueError at the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        self.at = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, length: int) -> memoryview:
        if not 0 <= length <= self.left:
            raise ValueError("it ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def values(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def sized(self, form: str = ">I") -> memoryview:
        return self.take(*self.values(form))


def parse(data: bytes) -> RawFile:
    """Cut a whole file into its parts; raises ValueError for one that is not cut as it says."""
    file = _Cursor(data)
    if bytes(file.take(4)) != b"8BPS":
        raise ValueError("it does not begin as a PSD does")
    version, channels, height, width, depth, mode = file.values(">H6xHIIHH")
    if version not in (1, 2):
        raise ValueError(f"version {version} is not known")
    long = ">I" if version == 1 else ">Q"
    colours = bytes(file.sized())
    resources = tuple(_resources(_Cursor(file.sized())))
    section = _Cursor(file.sized(long))
    info = section.sized(long) if section.left else memoryview(b"")
    global_mask = b""
    if section.left >= 4 and bytes(section.data[section.at : section.at + 4]) not in _SIGNATURES:
        start = section.at
        section.sized()
        global_mask = bytes(section.data[start : section.at])
    blocks, tail = _blocks(section, version, align=4)
    deep = next((block for block in blocks if block.key in _DEEP and len(block.data) > 2), None)
    count, records = _records(_Cursor(deep.data if deep is not None else info), version)
    return RawFile(
        version=version, channels=channels, height=height, width=width, depth=depth, mode=mode,
        colours=colours, resources=resources, count=count, records=records,
        deep=b"" if deep is None else deep.key, global_mask=global_mask, blocks=blocks, tail=tail,
        merged=bytes(file.take(file.left)),
    )  # fmt: skip


def _resources(section: _Cursor) -> Iterator[Resource]:
    while section.left >= 12:
        start = section.at
        signature = bytes(section.take(4))
        if not signature.strip(b"\0"):
            section.take(section.left)  # padding at the end
            return
        (number,) = section.values(">H")
        (length,) = section.values(">B")
        section.take(length + (length + 1) % 2)
        data = bytes(section.sized())
        section.take(min(len(data) % 2, section.left))
        yield Resource(number=number, data=data, raw=bytes(section.data[start : section.at]))


def _blocks(section: _Cursor, version: int, align: int) -> tuple[tuple[Block, ...], bytes]:
    """The blocks of additional information up to the end, and what is left that is none."""
    blocks = []
    while section.left >= 12 and bytes(section.data[section.at : section.at + 4]) in _SIGNATURES:
        start = section.at
        section.take(4)
        key = bytes(section.take(4))
        data = bytes(section.sized(">Q" if version == 2 and key in _LONG else ">I"))
        # Programs pad to one, two or four bytes; the next signature says which.
        for _ in range(align - 1 if align > 1 else 3):
            upcoming = bytes(section.data[section.at : section.at + 4])
            if upcoming in _SIGNATURES or not section.left or upcoming[:1] != b"\0":
                break
            section.take(1)
        blocks.append(Block(key=key, data=data, raw=bytes(section.data[start : section.at])))
    return tuple(blocks), bytes(section.take(section.left))


def _records(info: _Cursor, version: int) -> tuple[int, tuple[Record, ...]]:
    if info.left < 2:
        return 0, ()
    (count,) = info.values(">h")
    heads = [_head(info, version) for _ in range(abs(count))]
    records = []
    for record, lengths in heads:
        channels = tuple((number, bytes(info.take(length))) for number, length in lengths)
        records.append(dataclasses.replace(record, channels=channels))
    return count, tuple(records)


def _head(info: _Cursor, version: int) -> tuple[Record, list[tuple[int, int]]]:
    top, left, bottom, right, count = info.values(">4iH")
    form = ">hI" if version == 1 else ">hQ"
    lengths = [(number, length) for number, length in (info.values(form) for _ in range(count))]
    signature, blend = bytes(info.take(4)), bytes(info.take(4))
    opacity, clipping, flags, filler = info.values(">4B")
    extra = _Cursor(info.sized())
    mask, ranges = bytes(extra.sized()), bytes(extra.sized())
    start = extra.at
    (length,) = extra.values(">B")
    extra.take(length)
    extra.take(min(-(extra.at - start) % 4, extra.left))
    name = bytes(extra.data[start : extra.at])
    blocks, rest = _blocks(extra, version, align=1)
    record = Record(
        box=(top, left, bottom, right), channels=(), signature=signature, blend=blend,
        looks=(opacity, clipping, flags, filler), mask=mask, ranges=ranges, name=name, blocks=blocks,
        rest=rest,
    )  # fmt: skip
    return record, lengths


def read_record(data: bytes, version: int) -> tuple[Record, list[tuple[int, int]]]:
    """One record without its channels, and the number and length of each of them."""
    return _head(_Cursor(data), version)
