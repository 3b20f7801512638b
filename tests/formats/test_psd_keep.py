"""Editing PSD files in place: what is not touched stays in the file bit for bit, whoever wrote it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
import subprocess
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import BlendMode, Resource, Tag
from psd_tools.psd.image_resources import ImageResource
from pytoshop import enums
from pytoshop.user import nested_layers

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize
from layercli.core.receipt import Receipt
from layercli.formats import psd, psd_pytoshop
from layercli.formats._psd_keep import Kept
from layercli.formats._psd_raw import Block, RawFile, Record, parse
from tests.core.test_pixels import linear_light_profile
from tests.formats.stacks import assert_same, noise, sample_stack, stacks

UNKNOWN = b"8BIM" + b"zzZz" + struct.pack(">I", 6) + b"secret"
DISTANT = (1032, 1064, 4000)


def raw(path: Path) -> RawFile:
    return parse(path.read_bytes())


def bytes_of(record: Record, version: int = 1) -> bytes:
    return record.head(version) + b"".join(data for _, data in record.channels)


def named(file: RawFile) -> dict[str, Record]:
    """Layers and heads of groups by their names."""
    found = {}
    for record in file.records:
        name = record.block(b"luni")
        if record.divider == 3:
            continue
        if name is None:
            found[record.name[1 : 1 + record.name[0]].decode("ascii")] = record
        else:
            (units,) = struct.unpack(">I", name[:4])
            found[name[4 : 4 + 2 * units].decode("utf-16-be").rstrip("\0")] = record
    return found


def changed(kept: Kept, path: Path, **layers: dict[str, object]) -> list[str]:
    """Write the file with fields of some layers changed; the notes, but for the one on its merged image."""
    stack = kept.stack
    for name, fields in layers.items():
        stack = stack.replace(name, dataclasses.replace(stack.layer(name), **fields))  # type: ignore[arg-type]
    return [note for note in kept.write(stack, kept.stack.names, path) if "merged image" not in note]


def foreign(tmp_path: Path) -> Path:
    """A file with much that a stack cannot hold, made with psd-tools: effects, text, paths, adjustments…"""
    image = PSDImage.new("RGB", (40, 30))
    rng = np.random.default_rng(0)
    for number, guide in ((1032, struct.pack(">4I", 1, 576, 576, 2) + struct.pack(">iBiB", 320, 0, 640, 1)),
                          (1064, struct.pack(">Id", 1, 1.0)), (4000, b"plug-in")):  # fmt: skip
        image.image_resources[number] = ImageResource(key=number, data=guide)
    back = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    image.create_pixel_layer_from_array(back, name="back")
    group = image.create_group(name="Gruppe", opacity=128)
    square = np.full((8, 8, 4), 200, dtype=np.uint8)
    in_group = group.create_pixel_layer_from_array(square, name="in it", left=4, top=5)
    in_group.create_mask(Image.new("L", (6, 6), 90), left=5, top=6)
    soft = image.create_pixel_layer_from_array(
        square, name="soft", left=20, top=5, blend_mode=BlendMode.SOFT_LIGHT
    )
    soft.tagged_blocks.set_data(Tag.BLEND_FILL_OPACITY, 204)
    image.create_pixel_layer_from_array(square, name="text", left=10, top=12)
    image.create_pixel_layer_from_array(square, name="shape", left=24, top=18)
    clipped = image.create_pixel_layer_from_array(square, name="clipped", left=26, top=20)
    clipped.clipping = True
    adjust = image.create_pixel_layer_from_array(square, name="invert it")
    adjust.tagged_blocks.set_data(Tag.INVERT)
    image.create_group(name="empty")
    image.create_pixel_layer_from_array(square, name="top", left=30, top=2)
    path = tmp_path / "foreign.psd"
    image.save(path)
    file = raw(path)
    records = []
    for record in file.records:
        name = next((n for n, r in named(file).items() if r is record), "")
        if name == "text":
            matrix = struct.pack(">h6d", 1, 1, 0, 0, 1, 10.5, 12.25)
            record = record.with_block(b"TySh", matrix + b"engine data", 1)
        if name == "shape":
            record = record.with_block(b"vmsk", path_block([(18, 24), (18, 32), (26, 28)]), 1)
        if name == "invert it":
            record = dataclasses.replace(
                record, box=(0, 0, 0, 0), channels=tuple((n, b"\0\0") for n, _ in record.channels)
            )
        if name in ("text", "top", "Gruppe"):
            record = dataclasses.replace(record, rest=UNKNOWN)
        records.append(record)
    resources = [each for each in file.resources if each.number != Resource.VERSION_INFO]
    file = dataclasses.replace(file, records=tuple(records), resources=tuple(resources))
    path.write_bytes(b"".join(file.pieces()))
    merged = PSDImage.open(path)._record  # the merged picture of a program that can draw all of it
    picture = rng.integers(0, 255, (3, 30, 40), dtype=np.uint8)
    merged.image_data.set_data([plane.tobytes() for plane in picture], merged.header)
    with open(path, "wb") as target:
        merged.write(target)
    return path


def path_block(points: list[tuple[int, int]]) -> bytes:
    """A vector mask through points (y, x) on 40 x 30 pixels."""
    data = struct.pack(">II", 3, 0) + struct.pack(">H24x", 6) + struct.pack(">HH22x", 0, len(points))
    for y, x in points:
        place = (round(y / 30 * 2**24), round(x / 40 * 2**24))
        data += struct.pack(">H6i", 1, *place * 3)
    return data


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return foreign(tmp_path)


def merged_picture(path: Path) -> np.ndarray:
    return np.asarray(PSDImage.open(path).topil(apply_icc=False).convert("RGB"))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stack=stacks())
def test_cutting_a_file_into_records_loses_nothing(tmp_path, stack):
    for module, name in ((psd, "a.psd"), (psd, "a.psb"), (psd_pytoshop, "b.psd")):
        path = module.write(stack, tmp_path / name, module.Options())
        data = path.read_bytes()
        assert b"".join(parse(data).pieces()) == data


def test_every_cut_of_a_file_is_an_error(tmp_path):
    data = psd.write(sample_stack(), tmp_path / "a.psd").read_bytes()
    section = data.index(b"8BIMnorm")
    for length in [3, 10, 25, 27, 30, 60, section - 20, section + 3, section + 40, section + 400]:
        with pytest.raises(ValueError):
            parse(data[:length])


def test_a_file_of_ours_saved_without_a_change_is_the_same_file(tmp_path):
    path = psd.write(sample_stack(), tmp_path / "a.psd")
    kept = psd.opened(path)
    kept.write(kept.stack, kept.stack.names, tmp_path / "b.psd")
    assert (tmp_path / "b.psd").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("suffix", [".psd", ".psb"])
@pytest.mark.parametrize("writer", [psd, psd_pytoshop])
def test_only_what_is_touched_changes(tmp_path, writer, suffix):
    path = writer.write(sample_stack(), tmp_path / f"a{suffix}", writer.Options())
    before = raw(path)
    kept = psd.opened(path)
    offset = kept.stack.layer("soft").offset
    changed(kept, path, soft={"offset": Offset(offset.left + 2, offset.top - 1), "opacity": 0.5},
            masked={"visible": False, "blend": "screen"})  # fmt: skip
    after = raw(path)
    for name, record in named(before).items():
        now = named(after)[name]
        if name in ("soft", "masked"):
            assert now.channels == record.channels and now.blocks[0].raw == record.blocks[0].raw
        else:
            assert bytes_of(now, before.version) == bytes_of(record, before.version), name
    stack = psd.read(path)
    assert stack.layer("soft").offset == Offset(offset.left + 2, offset.top - 1)
    assert (stack.layer("soft").opacity, stack.layer("masked").blend) == (128 / 255, "screen")
    assert not stack.layer("masked").visible
    shown = stack.flatten_quantized()
    assert shown[..., 3].min() == 255
    np.testing.assert_array_equal(merged_picture(path), shown[..., :3])


def test_what_a_stack_cannot_hold_survives_bit_for_bit(other):
    before = raw(other)
    kept = psd.opened(other)
    assert kept.stack.names == (
        "back",
        "in it",
        "soft",
        "text",
        "shape",
        "clipped",
        "invert it",
        "empty",
        "top",
    )
    assert kept.undrawn == {
        "other blend modes": ["soft"], "adjustment and fill layers": ["invert it"],
        "vector masks": ["shape"],
    }  # fmt: skip
    assert changed(kept, other, top={"offset": Offset(28, 4)}) == []
    after = raw(other)
    assert len(after.records) == len(before.records)
    for number, (was, now) in enumerate(zip(before.records, after.records, strict=True)):
        same = bytes_of(was) == bytes_of(now)
        assert same == (was is not named(before)["top"]), number
    assert named(after)["top"].block(b"zzZz") == b"secret"
    assert named(after)["top"].channels == named(before)["top"].channels
    assert after.global_mask == before.global_mask and after.blocks == before.blocks
    for number in DISTANT:
        assert after.resource(number) == before.resource(number)
    order = [each.number for each in before.resources if each.number != 1036]
    assert [each.number for each in after.resources if each.number in order] == order


def test_the_merged_picture_is_new_only_where_the_edit_shows(other):
    before = merged_picture(other)
    kept = psd.opened(other)
    changed(kept, other, top={"offset": Offset(28, 4)})
    after = merged_picture(other)
    differs = (before != after).any(axis=-1)
    assert differs[2:12, 28:38].sum() > 50
    differs[2:12, 28:38] = False
    assert not differs.any()
    thumbnail = raw(other).resource(1036)
    assert thumbnail is not None
    small = np.asarray(Image.open(BytesIO(thumbnail[28:])).convert("RGB")).astype(int)
    assert np.abs(small - after).mean() < 12


def test_a_file_without_a_real_merged_picture_gets_one(other):
    file = raw(other).with_resource(1057, struct.pack(">I?", 1, False) + bytes(8) + struct.pack(">I", 1))
    other.write_bytes(b"".join(file.pieces()))
    kept = psd.opened(other)
    changed(kept, other, top={"offset": Offset(28, 4)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = psd.read(other).flatten_quantized()[..., :3]
    np.testing.assert_allclose(merged_picture(other).astype(int), shown, atol=1)
    info = raw(other).resource(1057)
    assert info is not None and info[4] == 1


def test_text_paths_and_masks_move_with_their_layer(other):
    kept = psd.opened(other)
    by = {name: Offset(kept.stack.layer(name).offset.left + 3, kept.stack.layer(name).offset.top - 2)
          for name in ("text", "shape", "in it")}  # fmt: skip
    assert changed(kept, other, **{name: {"offset": place} for name, place in by.items()}) == []
    after = named(raw(other))
    text = after["text"].block(b"TySh")
    assert text is not None
    assert struct.unpack(">6d", text[2:50]) == (1, 0, 0, 1, 13.5, 10.25)
    assert text[50:].startswith(b"engine data")
    points = after["shape"].block(b"vmsk")
    assert points is not None
    assert points[: 8 + 52] == path_block([(16, 27), (16, 35), (24, 31)])[: 8 + 52]
    y, x = struct.unpack(">2i", points[62:70])
    assert (y / 2**24 * 30, x / 2**24 * 40) == pytest.approx((16, 27), abs=1e-4)
    assert struct.unpack(">4i", after["in it"].mask[:16]) == (4, 8, 10, 14)
    assert psd.opened(other).stack.layer("in it").mask is not None


def test_smart_objects_move_with_their_layer(tmp_path):
    from psd_tools.psd.descriptor import Double, List
    from psd_tools.psd.tagged_blocks import SmartObjectLayerData

    data = SmartObjectLayerData()
    data.data[b"Trnf"] = List([Double(float(n)) for n in (2, 3, 10, 3, 10, 11, 2, 11)])
    path = psd.write(sample_stack(), tmp_path / "a.psd")
    file = raw(path)
    placed = b"plcL" + struct.pack(">I", 3) + b"\4uuid" + bytes(16) + struct.pack(">8d", *range(8)) + b"warp"
    blocks = {b"SoLd": data.tobytes(padding=4), b"PlLd": placed}
    records = list(file.records)
    index = records.index(named(file)["soft"])
    for key, block in blocks.items():
        records[index] = records[index].with_block(key, block, 1)
    path.write_bytes(b"".join(dataclasses.replace(file, records=tuple(records)).pieces()))
    kept = psd.opened(path)
    where = kept.stack.layer("soft").offset
    changed(kept, path, soft={"offset": Offset(where.left + 5, where.top + 7)})
    record = named(raw(path))["soft"]
    smart = SmartObjectLayerData.frombytes(record.block(b"SoLd"))
    assert [v.value for v in smart.data[b"Trnf"]] == [7, 10, 15, 10, 15, 18, 7, 18]
    moved = record.block(b"PlLd")
    assert moved is not None
    assert struct.unpack(">8d", moved[29:93]) == (5, 8, 7, 10, 9, 12, 11, 14)
    assert moved[93:97] == b"warp"


LOCKS = {
    "text": (4, {"position"}), "shape": (2, {"pixels"}), "top": (1, {"transparency"}), "soft": (7, {"all"}),
    "clipped": (1 << 31, {"all"}), "Gruppe": (6, {"position", "pixels"}),
}  # fmt: skip


def with_locks(path: Path) -> Path:
    """The file with the locks of LOCKS in it, and one of the flag that older programs set."""
    file = raw(path)
    where = {id(record): name for name, record in named(file).items()}
    records = []
    for record in file.records:
        name = where.get(id(record), "")
        if name in LOCKS:
            record = record.with_block(b"lspf", struct.pack(">I", LOCKS[name][0]), 1)
        if name == "back":
            opacity, clipping, flags, filler = record.looks
            record = dataclasses.replace(record, looks=(opacity, clipping, flags | 1, filler))
        records.append(record)
    path.write_bytes(b"".join(dataclasses.replace(file, records=tuple(records)).pieces()))
    return path


def test_what_a_file_locks_is_read(other):
    assert psd.opened(other).locked == {}
    locked = {name: set(locks) for name, locks in psd.opened(with_locks(other)).locked.items()}
    wanted = {name: locks for name, (_, locks) in LOCKS.items()}
    wanted["in it"] = wanted.pop("Gruppe")  # a group locks what is in it
    assert locked == wanted | {"back": {"transparency"}}


def test_new_pixels_turn_text_into_pixels_and_say_so(other):
    kept = psd.opened(other)
    rgba = noise(5, 6, 3)
    told = changed(kept, other, text={"rgba": rgba}, top={"rgba": rgba})
    assert told == ['"text" was text and is pixels now.']
    record = named(raw(other))["text"]
    assert record.block(b"TySh") is None and record.block(b"zzZz") == b"secret"
    found = psd.opened(other).stack.layer("top")
    seen = quantize(rgba)[..., 3] > 0
    np.testing.assert_array_equal(quantize(found.rgba)[seen], quantize(rgba)[seen])


def test_order_groups_copies_and_deletions(other):
    kept = psd.opened(other)
    before = named(raw(other))
    layers = {layer.name: layer for layer in kept.stack.layers}
    copy = dataclasses.replace(layers["text"], name="again", offset=Offset(2, 2))
    new = Layer(name="new", rgba=noise(4, 4, 1), group=("Gruppe",), prompt="a thing")
    order = [layers["empty"], layers["in it"], new, layers["back"], layers["text"], copy,
             dataclasses.replace(layers["invert it"], visible=False, group=("mine",))]  # fmt: skip
    origins = ["empty", "in it", None, "back", "text", "text", "invert it"]
    kept.write(dataclasses.replace(kept.stack, layers=tuple(order)), origins, other)
    again = psd.opened(other)
    assert again.stack.names == ("empty", "in it", "new", "back", "text", "again", "invert it")
    groups = [(), ("Gruppe",), ("Gruppe",), (), (), (), ("mine",)]
    assert [layer.group for layer in again.stack.layers] == groups
    assert again.stack.layer("new").prompt == "a thing"
    after = named(raw(other))
    for name in ("in it", "back", "text", "Gruppe", "empty"):
        assert bytes_of(after[name]) == bytes_of(before[name]), name
    assert after["again"].channels == before["text"].channels
    assert after["Gruppe"].block(b"zzZz") == b"secret"
    numbers = [int.from_bytes(r.block(b"lyid") or b"", "big") for r in raw(other).records if r.block(b"lyid")]
    assert len(set(numbers)) == len(numbers)
    assert PSDImage.open(other)[3].kind in ("pixel", "type")


def test_another_canvas_moves_guides_paths_and_group_masks(other):
    kept = psd.opened(other)
    layers = tuple(
        dataclasses.replace(layer, offset=Offset(layer.offset.left - 4, layer.offset.top - 3))
        for layer in kept.stack.layers
    )
    stack = dataclasses.replace(kept.stack, canvas=Size(30, 20), layers=layers)
    kept.write(stack, kept.stack.names, other, Offset(-4, -3))
    file = raw(other)
    assert (file.width, file.height) == (30, 20)
    lines = file.resource(1032)
    assert lines is not None
    assert struct.unpack(">iBiB", lines[16:26]) == (320 - 128, 0, 640 - 96, 1)
    points = named(file)["shape"].block(b"vmsk")
    assert points is not None
    y, x = struct.unpack(">2i", points[62:70])
    assert (y / 2**24 * 20, x / 2**24 * 30) == pytest.approx((15, 20), abs=1e-4)


def test_the_old_merged_picture_is_cut_like_the_canvas(other):
    before = merged_picture(other)
    test_another_canvas_moves_guides_paths_and_group_masks(other)
    np.testing.assert_array_equal(merged_picture(other), before[3:23, 4:34])


def test_a_background_that_moves_is_a_background_no_more(other):
    file = raw(other)
    marked = [record.with_block(b"lnsr", b"bgnd", 1) if record is named(file)["back"] else record
              for record in file.records]  # fmt: skip
    other.write_bytes(b"".join(dataclasses.replace(file, records=tuple(marked)).pieces()))
    kept = psd.opened(other)
    changed(kept, other, back={"visible": False}, top={"offset": Offset(1, 1)})
    assert named(raw(other))["back"].block(b"lnsr") == b"bgnd"
    changed(psd.opened(other), other, back={"opacity": 0.5})
    assert named(raw(other))["back"].block(b"lnsr") == b"layr"


def test_a_canvas_too_large_for_a_psd_is_refused(other):
    kept = psd.opened(other)
    before = other.read_bytes()
    with pytest.raises(LayercliError, match="at most 30,000 pixels") as caught:
        kept.write(dataclasses.replace(kept.stack, canvas=Size(40_000, 2)), kept.stack.names, other)
    assert caught.value.hint.endswith(".psb")
    assert other.read_bytes() == before


def test_names_and_masks_in_any_language(tmp_path):
    path = psd.write(sample_stack(), tmp_path / "a.psd")
    kept = psd.opened(path)
    mask = dequantize(np.arange(54, dtype=np.uint8).reshape(9, 6))
    size = kept.stack.layer("soft").size
    mask = np.resize(mask, (size.height, size.width))
    changed(kept, path, soft={"name": "łódź 😀", "mask": mask}, masked={"mask": None})
    again = psd.opened(path).stack
    np.testing.assert_array_equal(again.layer("łódź 😀").mask, mask)
    assert again.layer("masked").mask is None
    before, after = named(raw(path)), raw(path)
    assert before["łódź 😀"].channels[:4] and after.version == 1


def test_sixteen_bits_stay_sixteen_bits(tmp_path):
    image = PSDImage.new("RGB", (12, 10), depth=16)
    values = np.linspace(0, 1, 480, dtype=np.float32).reshape(10, 12, 4)
    image.create_pixel_layer_from_array(np.ascontiguousarray(values[..., :3]), name="back")
    image.create_pixel_layer_from_array(values[:4, :4], name="a", left=1, top=2)
    path = tmp_path / "deep.psd"
    image.save(path)
    block = Block.made(b"Lr16", b"\0\0\0\0", 1)  # where Photoshop keeps them
    path.write_bytes(b"".join(dataclasses.replace(raw(path), deep=b"Lr16", blocks=(block,)).pieces()))
    before = raw(path)
    assert before.deep == b"Lr16" and len(before.records) == 2
    kept = psd.opened(path)
    fine = np.full((3, 3, 4), 1, dtype=np.float32)
    fine[..., :3] = 12345 / 65535
    changed(kept, path, a={"rgba": fine})
    after = raw(path)
    assert after.deep == b"Lr16"
    assert bytes_of(after.records[0]) == bytes_of(before.records[0])
    again = psd.read(path)
    np.testing.assert_allclose(again.layer("a").rgba, fine, atol=1e-7)
    merged = PSDImage.open(path).numpy()
    np.testing.assert_allclose(merged[2:5, 1:4, :3], 12345 / 65535, atol=1e-6)
    np.testing.assert_allclose(merged[6:], values[6:, :, :3], atol=2e-5)


def test_transparency_of_the_whole_and_further_channels_are_kept(tmp_path):
    stack = LayerStack(
        canvas=Size(6, 5), layers=(Layer(name="a", rgba=np.ones((2, 2, 4), np.float32), offset=Offset(1, 1)),)
    )
    path = psd.write(stack, tmp_path / "a.psd")
    file = raw(path)
    planes = np.zeros((5, 5, 6), dtype=np.uint8)
    planes[:4, 1:3, 1:3] = 255
    planes[4] = 77
    data = b"\0\0" + planes.tobytes()
    file = dataclasses.replace(file, channels=5, count=-1, merged=data)
    path.write_bytes(b"".join(file.pieces()))
    kept = psd.opened(path)
    changed(kept, path, a={"offset": Offset(3, 2)})
    after = raw(path)
    assert (after.channels, after.count) == (5, -1)
    from layercli.formats._psd_merged import _stored

    merged, _ = _stored(after, (5, 6), Offset())
    assert (merged[4] == 77).all()
    assert merged[3, 2:4, 3:5].min() == 255 and merged[3].sum() == 4 * 255


def test_numbers_of_another_profile_are_kept_as_they_are(tmp_path):
    image = PSDImage.new("RGB", (6, 6))
    profile = linear_light_profile()
    image.image_resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE, data=profile)
    image.create_pixel_layer_from_array(np.full((6, 6, 3), 55, dtype=np.uint8), name="a")
    image.create_pixel_layer_from_array(np.full((2, 2, 3), 200, dtype=np.uint8), name="b")
    path = tmp_path / "p.psd"
    image.save(path)
    kept = psd.opened(path)
    assert not kept.srgb
    changed(kept, path, b={"offset": Offset(3, 3)})
    file = raw(path)
    assert file.resource(1039) == profile
    assert merged_picture(path)[4, 4].tolist() == [200] * 3
    assert merged_picture(path)[0, 0].tolist() == [55] * 3
    thumbnail = file.resource(1036)
    assert thumbnail is not None
    small = np.asarray(Image.open(BytesIO(thumbnail[28:])))
    assert abs(int(small[0, 0, 0]) - 128) < 8  # 55 in linear light


def test_groups_of_pytoshop(tmp_path):
    def image(name: str, left: int, level: int, shape: tuple[int, int]) -> nested_layers.Image:
        planes = {number: np.full(shape, level, np.uint8) for number in (0, 1, 2)}
        planes[-1] = np.full(shape, 255, np.uint8)
        top = 2 if left else 0
        return nested_layers.Image(
            name=name, top=top, left=left, channels=planes, color_mode=enums.ColorMode.rgb
        )  # fmt: skip

    inside = [image("two", 8, 30, (5, 5)), image("one", 1, 90, (5, 5))]
    layers = [nested_layers.Group(name="outer", opacity=128, layers=inside), image("back", 0, 240, (12, 16))]
    path = tmp_path / "nested.psd"
    file = nested_layers.nested_layers_to_psd(
        layers, enums.ColorMode.rgb, size=(16, 12), compression=enums.Compression.raw
    )
    with open(path, "wb") as target:
        file.write(target)
    before = raw(path)
    kept = psd.opened(path)
    assert kept.stack.names == ("back", "one", "two")
    changed(kept, path, two={"offset": Offset(9, 4)})
    again = psd.opened(path)
    assert again.stack.layer("two").offset == Offset(9, 4)
    assert again.stack.layer("two").group == ("outer",)
    for was, now in zip(before.records, raw(path).records, strict=True):
        moved = was.box[:2] == (2, 8)
        assert (bytes_of(was) == bytes_of(now)) != moved
    seen = again.seen(again.stack, again.stack.names).flatten_quantized()
    np.testing.assert_array_equal(merged_picture(path), seen[..., :3])
    assert merged_picture(path)[5, 10].tolist() == [135] * 3  # 30 at half opacity on 240


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_other_colour_modes_are_refused_with_a_way_out(tmp_path, mode):
    image = PSDImage.new(mode, (8, 8))
    image.create_pixel_layer(Image.new("RGBA", (4, 4), (255, 0, 0, 255)), name="a")
    image.save(tmp_path / "c.psd")
    with pytest.raises(LayercliError, match="RGB files of 8 or 16 bits") as caught:
        psd.opened(tmp_path / "c.psd")
    assert "layercli convert" in caught.value.hint


def test_the_receipt_joins_what_other_programs_say(other):
    words = (
        b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 9"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>Ada</dc:creator></rdf:Description>'
        b"</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    )
    other.write_bytes(b"".join(raw(other).with_resource(1060, words).pieces()))
    for number in (1, 2):
        kept = psd.opened(other)
        receipt = Receipt(edits=tuple({"edit": "hide", "layers": ["x"]} for _ in range(number)))
        kept.write(dataclasses.replace(kept.stack, receipt=receipt), kept.stack.names, other)
        assert psd.opened(other).stack.receipt == receipt
    said = raw(other).resource(1060)
    assert said is not None
    assert said.count(b"<dc:creator>Ada</dc:creator>") == 1 and said.count(b"layercli:Receipt>") == 2
    assert said.startswith(words[:200])


def test_a_failing_write_leaves_the_old_file(other, monkeypatch):
    before = other.read_bytes()
    kept = psd.opened(other)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(LayercliError, match="No space left"):
        changed(kept, other, top={"visible": False})
    assert other.read_bytes() == before
    assert [path.name for path in other.parent.iterdir()] == [other.name]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stack=stacks())
def test_any_stack_opens_as_it_reads(tmp_path, stack):
    path = psd.write(stack, tmp_path / "a.psd")
    kept = psd.opened(path)
    assert_same(psd.read(path), kept.seen(kept.stack, kept.stack.names))


AG_PSD = r"""
const {writePsd, initializeCanvas} = require('ag-psd');
initializeCanvas(() => { throw new Error('no canvas') },
                 (width, height) => ({width, height, data: new Uint8ClampedArray(width * height * 4)}));
const plain = (width, height, r, g, b) => { const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < data.length; i += 4) data.set([r, g, b, 255], i); return {width, height, data}; };
const pixels = value => ({units: 'Pixels', value});
const red = {r: 200, g: 0, b: 0};
const whole = plain(40, 30, 10, 20, 30);
whole.data.set([1, 2, 3, 255], 4 * 39);
const file = {width: 40, height: 30, imageData: whole, children: [
  {name: 'back', imageData: plain(40, 30, 90, 120, 150)},
  {name: 'Gruppe', opened: true, blendMode: 'multiply', opacity: 0.5, children: [
    {name: 'shadowed', left: 3, top: 4, imageData: plain(8, 8, 200, 200, 10),
     effects: {scale: 1, dropShadow: [{present: true, showInDialog: true, enabled: true,
               color: red, opacity: 0.5,
               angle: 30,
               distance: pixels(5), size: pixels(3), choke: pixels(0),
               blendMode: 'multiply', useGlobalLight: true}]}}]},
  {name: 'Titel', left: 12, top: 10, imageData: plain(16, 8, 1, 2, 3),
   text: {text: 'Hallo', transform: [1, 0, 0, 1, 12, 18],
          style: {font: {name: 'ArialMT'}, fontSize: 8, fillColor: red}}},
  {name: 'bright', adjustment: {type: 'brightness/contrast', brightness: 20, contrast: 5}},
  {name: 'top', left: 30, top: 20, imageData: plain(6, 6, 250, 250, 250), blendMode: 'linear dodge'}],
  imageResources: {captionAbstract: '', gridAndGuidesInformation: {grid: {horizontal: 576, vertical: 576},
                   guides: [{location: 12, direction: 'vertical'}]}}};
require('fs').writeFileSync(process.argv[1], Buffer.from(writePsd(file, {generateThumbnail: false})));
"""


def test_a_file_of_ag_psd(tmp_path):
    """A third writer, whose text, layer effects and adjustments Photoshop reads."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, and ag-psd runs in it")
    path = tmp_path / "ag.psd"
    if subprocess.run([node, "-e", "require('ag-psd')"], capture_output=True, check=False).returncode:
        pytest.skip("ag-psd is not installed (npm install ag-psd, and NODE_PATH set to its node_modules)")
    subprocess.run([node, "-e", AG_PSD, str(path)], check=True)
    data = path.read_bytes()
    assert b"".join(parse(data).pieces()) == data
    before = named(raw(path))
    kept = psd.opened(path)
    assert kept.stack.names == ("back", "shadowed", "Titel", "bright", "top")
    assert set(kept.undrawn) == {
        "layer effects", "adjustment and fill layers", "other blend modes", "blend modes of groups",
    }  # fmt: skip
    assert changed(kept, path, Titel={"offset": Offset(14, 7)}) == []
    after = named(raw(path))
    for name, record in before.items():
        assert (bytes_of(after[name]) == bytes_of(record)) == (name != "Titel"), name
    text = PSDImage.open(path)[2]
    assert (text.kind, text.text, text.transform[4:]) == ("type", "Hallo", (14.0, 15.0))
    assert merged_picture(path)[0, 0].tolist() == [10, 20, 30]  # what its own program drew
    assert raw(path).resource(1032) == parse(data).resource(1032)
