"""The merged picture of files with adjustments and blend modes that only psd-tools draws."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from psd_tools import PSDImage
from psd_tools.constants import BlendMode, Tag

from layercli.core.layers import Offset, Size
from layercli.formats import psd
from tests.formats.test_psd_keep import merged_picture, named, raw

GROUND, SQUARE = (40, 90, 200), (250, 120, 10)


def inverted(tmp_path: Path, off: int = 0, dodge: bool = False) -> Path:
    """A square on a plain ground under an adjustment that inverts.

    off: levels added to the merged picture; dodge: with a band in front that adds 200 levels.
    """
    image = PSDImage.new("RGB", (60, 40))
    image.create_pixel_layer_from_array(np.full((40, 60, 3), GROUND, dtype=np.uint8), name="ground")
    square = np.full((8, 8, 3), SQUARE, dtype=np.uint8)
    image.create_pixel_layer_from_array(square, name="square", left=5, top=5)
    adjust = image.create_pixel_layer_from_array(np.full((2, 2, 3), 9, dtype=np.uint8), name="invert it")
    adjust.tagged_blocks.set_data(Tag.INVERT)
    if dodge:
        band = np.full((40, 20, 3), 200, dtype=np.uint8)
        image.create_pixel_layer_from_array(band, name="dodge", left=20, blend_mode=BlendMode.LINEAR_DODGE)
    path = tmp_path / "inverted.psd"
    image.save(path)
    file = raw(path)
    bare = named(file)["invert it"]
    empty = tuple((number, b"\0\0") for number, _ in bare.channels)
    records = [
        dataclasses.replace(each, box=(0, 0, 0, 0), channels=empty) if each is bare else each
        for each in file.records
    ]
    path.write_bytes(b"".join(dataclasses.replace(file, records=tuple(records)).pieces()))
    document = PSDImage.open(path)._record
    shown = picture(5, dodge=dodge) + np.uint8(off)
    document.image_data.set_data([plane.tobytes() for plane in np.moveaxis(shown, -1, 0)], document.header)
    with open(path, "wb") as target:
        document.write(target)
    return path


def picture(left: int, *, invert: bool = True, dodge: bool = False) -> np.ndarray:
    """What such a file shows, the square at `left`."""
    found = np.full((40, 60, 3), GROUND, dtype=np.uint8)
    found[5:13, left : left + 8] = SQUARE
    found = 255 - found if invert else found
    if dodge:
        found[:, 20:40] = np.minimum(255, found[:, 20:40].astype(int) + 200)
    return found


def edited(path: Path, which: str, **changes: object) -> list[str]:
    kept = psd.opened(path)
    layer = dataclasses.replace(kept.stack.layer(which), **changes)  # type: ignore[arg-type]
    return kept.write(kept.stack.replace(which, layer), kept.stack.names, path)


@pytest.mark.parametrize("off", [0, 2])
def test_an_adjustment_is_drawn_over_what_has_moved(tmp_path, off):
    path = inverted(tmp_path, off)
    [note] = edited(path, "square", offset=Offset(30, 5))
    assert f"to within {off} of 255 levels" in note
    found, wanted = merged_picture(path), picture(30)
    touched = (picture(5) != wanted).any(axis=-1)
    np.testing.assert_array_equal(found[touched], wanted[touched])
    np.testing.assert_array_equal(found[~touched], wanted[~touched] + np.uint8(off))  # as it was, to the bit


def test_an_adjustment_that_is_hidden_is_gone_from_the_picture(tmp_path):
    path = inverted(tmp_path)
    edited(path, "invert it", visible=False)
    np.testing.assert_array_equal(merged_picture(path), picture(5, invert=False))
    [note] = edited(path, "invert it", visible=True)
    assert "lacks that until" in note  # the picture without it has not shown how psd-tools draws it


def test_a_picture_that_psd_tools_draws_otherwise_is_not_believed_in(tmp_path):
    path = inverted(tmp_path, 3)
    [note] = edited(path, "square", offset=Offset(30, 5))
    assert "lacks that until" in note
    found = merged_picture(path)
    np.testing.assert_array_equal(found[5:13, 30:38], np.full((8, 8, 3), SQUARE))
    np.testing.assert_array_equal(found[20:], picture(5)[20:] + np.uint8(3))


def test_a_blend_mode_of_another_program(tmp_path):
    path = inverted(tmp_path, dodge=True)
    [note] = edited(path, "square", offset=Offset(36, 5))
    assert "psd-tools drew" in note
    assert np.abs(merged_picture(path).astype(int) - picture(36, dodge=True)).max() <= 1


def test_another_name_and_another_canvas_ask_for_nothing(tmp_path):
    path = inverted(tmp_path)
    edited(path, "square", name="box")
    np.testing.assert_array_equal(merged_picture(path), picture(5))
    kept = psd.opened(path)
    kept.write(dataclasses.replace(kept.stack, canvas=Size(60, 30)), kept.stack.names, path)
    np.testing.assert_array_equal(merged_picture(path), picture(5)[:30])
