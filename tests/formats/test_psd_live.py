"""What lies in descriptors and paths of a PSD moves with its layer, and back again to the bit."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from psd_tools.psd.descriptor import Descriptor, DescriptorBlock2, Double, Integer, List, UnitFloat
from psd_tools.psd.tagged_blocks import SmartObjectLayerData
from psd_tools.terminology import Unit

from layercli.core.layers import Offset, Size
from layercli.formats import psd
from layercli.formats._psd_raw import parse
from tests.formats.test_psd_keep import bytes_of, changed, foreign, named, path_block, raw


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return foreign(tmp_path)


def live_shape(place: float, matrix: tuple[float, ...] = (1, 0, 0, 1, 0, 0)) -> bytes:
    """A vogk block of a box of 8 x 8 pixels at place, place, under a matrix xx xy yx yy tx ty."""

    def points(**values: float) -> Descriptor:
        found = Descriptor(name="", classID=b"null")
        for name, value in values.items():
            found[f"{name:4}".encode()] = UnitFloat(unit=Unit.Pixels, value=value)
        return found

    shape, corners, trnf = (Descriptor(name="", classID=b"null") for _ in range(3))
    shape[b"keyOriginType"] = Integer(1)
    shape[b"keyOriginShapeBBox"] = points(Top=place, Left=place, Btom=place + 8, Rght=place + 8)
    xx, xy, yx, yy, tx, ty = matrix
    for letter, (x, y) in zip("ABCD", ((0, 0), (8, 0), (8, 8), (0, 8)), strict=True):
        x, y = place + x, place + y
        corner = Descriptor(name="", classID=b"Pnt ")
        corner[b"Hrzn"], corner[b"Vrtc"] = Double(xx * x + yx * y + tx), Double(xy * x + yy * y + ty)
        corners[f"rectangleCorner{letter}".encode()] = corner
    shape[b"keyOriginBoxCorners"] = corners
    for name, value in zip(("xx", "xy", "yx", "yy", "tx", "ty"), matrix, strict=True):
        trnf[name.encode()] = Double(float(value))
    shape[b"Trnf"] = trnf
    whole = DescriptorBlock2(name="", classID=b"null")
    whole[b"keyDescriptorList"] = List([shape])
    return whole.tobytes(padding=4)


def with_blocks(path: Path, layer: str, blocks: dict[bytes, bytes]) -> None:
    """Put blocks into the record of one layer of a file."""
    file = raw(path)
    records = list(file.records)
    index = records.index(named(file)[layer])
    for key, data in blocks.items():
        records[index] = records[index].with_block(key, data, 1)
    path.write_bytes(b"".join(dataclasses.replace(file, records=tuple(records)).pieces()))


def moved_by(path: Path, left: int, top: int, *names: str) -> list[str]:
    kept = psd.opened(path)
    places = {name: kept.stack.layer(name).offset for name in names}
    return changed(kept, path, **{
        name: {"offset": Offset(place.left + left, place.top + top)} for name, place in places.items()
    })  # fmt: skip


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1, 0, 0), (0.6, 0.8, -0.8, 0.6, 4.5, -2.25)])
def test_live_shapes_move_with_their_path(other, matrix):
    with_blocks(other, "shape", {b"vogk": live_shape(24.3, matrix)})
    assert moved_by(other, 3, -2, "shape") == []
    data = named(raw(other))["shape"].block(b"vogk")
    assert data is not None

    [shape] = DescriptorBlock2.frombytes(data)[b"keyDescriptorList"]
    box = shape[b"keyOriginShapeBBox"]
    assert [box[name].value for name in (b"Left", b"Top ", b"Rght", b"Btom")] == [27.3, 22.3, 35.3, 30.3]
    xx, xy, yx, yy, tx, ty = (shape[b"Trnf"][n].value for n in (b"xx", b"xy", b"yx", b"yy", b"tx", b"ty"))
    before = DescriptorBlock2.frombytes(live_shape(24.3, matrix))[b"keyDescriptorList"][0]
    for letter, (x, y) in zip("ABCD", ((0, 0), (8, 0), (8, 8), (0, 8)), strict=True):
        name = f"rectangleCorner{letter}".encode()
        was, corner = before[b"keyOriginBoxCorners"][name], shape[b"keyOriginBoxCorners"][name]
        assert corner[b"Hrzn"].value == pytest.approx(was[b"Hrzn"].value + 3)
        assert corner[b"Vrtc"].value == pytest.approx(was[b"Vrtc"].value - 2)
        x, y = box[b"Left"].value + x, box[b"Top "].value + y
        assert corner[b"Hrzn"].value == pytest.approx(xx * x + yx * y + tx)
        assert corner[b"Vrtc"].value == pytest.approx(xy * x + yy * y + ty)


def test_there_and_back_in_two_runs_is_the_same_record(other):

    smart = SmartObjectLayerData()
    smart.data[b"Trnf"] = List([Double(n + 0.1) for n in (2, 3, 10, 3, 10, 11, 2, 11)])
    corners = struct.pack(">8d", *(n + 0.7 for n in range(8)))
    placed = b"plcL" + struct.pack(">I", 3) + b"\4uuid" + bytes(16) + corners + b"warp"
    with_blocks(other, "top", {b"SoLd": smart.tobytes(padding=4), b"PlLd": placed})
    with_blocks(other, "shape", {b"vogk": live_shape(24.3)})
    before = raw(other)
    assert moved_by(other, 3, -7, "top", "shape", "text", "in it") == []
    assert moved_by(other, -3, 7, "top", "shape", "text", "in it") == []
    for was, now in zip(before.records, raw(other).records, strict=True):
        assert bytes_of(was) == bytes_of(now), was.name


def test_what_cannot_be_moved_is_told(other):
    with_blocks(other, "shape", {b"vogk": b"\0\0\0\1\0\0\0\x10broken"})
    [told] = moved_by(other, 1, 1, "shape")
    assert told.startswith('"shape" is a live shape that layercli cannot read')
    assert named(raw(other))["shape"].block(b"vogk") == b"\0\0\0\1\0\0\0\x10broken\0\0"


def test_saved_paths_stay_on_the_picture_when_the_canvas_changes(other):
    whole = path_block([(18, 24), (18, 32), (26, 28)])[8:]
    other.write_bytes(b"".join(raw(other).with_resource(2000, whole).pieces()))
    kept = psd.opened(other)
    layers = tuple(
        dataclasses.replace(layer, offset=Offset(layer.offset.left + 5, layer.offset.top))
        for layer in kept.stack.layers
    )
    wide = dataclasses.replace(kept.stack, canvas=Size(50, 30), layers=layers)
    kept.write(wide, kept.stack.names, other, Offset(5, 0))
    data, mask = raw(other).resource(2000), named(raw(other))["shape"].block(b"vmsk")
    assert data is not None and mask is not None
    assert mask[8 : 8 + len(data)] == data
    y, x = struct.unpack(">2i", data[54:62])
    assert (y / 2**24 * 30, x / 2**24 * 50) == pytest.approx((18, 29), abs=1e-4)


AG_PSD = r"""
const {readPsd, writePsd, initializeCanvas} = require('ag-psd');
const fs = require('fs');
initializeCanvas(() => { throw new Error('no canvas') },
                 (width, height) => ({width, height, data: new Uint8ClampedArray(width * height * 4)}));
const [, path, way] = process.argv;
if (way === 'write') {
  const pixels = value => ({units: 'Pixels', value});
  const knots = [[10, 6], [20, 6], [20, 14], [10, 14]].map(
    ([x, y]) => ({linked: true, points: [x, y, x, y, x, y]}));
  const image = (width, height) => (
    {width, height, data: new Uint8ClampedArray(width * height * 4).fill(200)});
  const shape = {name: 'shape', left: 10, top: 6, imageData: image(10, 8),
    vectorFill: {type: 'color', color: {r: 9, g: 90, b: 200}},
    vectorMask: {paths: [{open: false, operation: 'combine', fillRule: 'even-odd', knots}]},
    vectorOrigination: {keyDescriptorList: [{keyOriginType: 1, keyOriginResolution: 72,
      keyOriginShapeBoundingBox: {top: pixels(6), left: pixels(10), bottom: pixels(14), right: pixels(20)},
      keyOriginBoxCorners: [{x: 10, y: 6}, {x: 20, y: 6}, {x: 20, y: 14}, {x: 10, y: 14}],
      transform: [1, 0, 0, 1, 0, 0]}]}};
  const locked = {name: 'locked', left: 2, top: 2, imageData: image(4, 4), protected: {position: true}};
  const file = {width: 40, height: 30, imageData: image(40, 30), children: [shape, locked]};
  fs.writeFileSync(path, Buffer.from(writePsd(file)));
} else {
  const {children} = readPsd(fs.readFileSync(path), {useImageData: true, skipThumbnail: true});
  const shape = children[0], [origin] = shape.vectorOrigination.keyDescriptorList;
  const box = origin.keyOriginShapeBoundingBox;
  console.log(JSON.stringify({knots: shape.vectorMask.paths[0].knots.map(knot => knot.points.slice(0, 2)),
    box: [box.left.value, box.top.value, box.right.value, box.bottom.value],
    corners: origin.keyOriginBoxCorners.map(({x, y}) => [x, y]), place: [shape.left, shape.top]}));
}
"""


def node(path: Path, way: str) -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed, and ag-psd runs in it")
    if subprocess.run([found, "-e", "require('ag-psd')"], capture_output=True, check=False).returncode:
        pytest.skip("ag-psd is not installed (npm install ag-psd, and NODE_PATH set to its node_modules)")
    words = [found, "-e", AG_PSD, str(path), way]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_ag_psd_finds_a_live_shape_where_it_was_moved_to(tmp_path):
    path = tmp_path / "ag.psd"
    node(path, "write")
    before = path.read_bytes()
    assert psd.opened(path).locked == {"locked": frozenset({"position"})}
    assert moved_by(path, 5, -2, "shape") == []
    told = json.loads(node(path, "read"))
    corners = [[15, 4], [25, 4], [25, 12], [15, 12]]
    assert told["box"] == [15, 4, 25, 12] and told["corners"] == corners and told["place"] == [15, 4]
    for knot, corner in zip(told["knots"], corners, strict=True):
        assert knot == pytest.approx(corner, abs=1e-4)
    assert moved_by(path, -5, 2, "shape") == []
    for was, now in zip(parse(before).records, raw(path).records, strict=True):
        assert bytes_of(was) == bytes_of(now)
