"""Photos of every common kind come in upright, opaque, in 8-bit levels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.photos import open_photo
from layercli.core.pixels import dequantize, quantize

LEVELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_every_pixel_comes_in_as_it_is(tmp_path, suffix):
    Image.fromarray(LEVELS).save(tmp_path / f"a{suffix}")
    photo = open_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(photo.rgb, dequantize(LEVELS))
    assert photo.notes == ()


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_kinds_are_read_as_pillow_reads_them(tmp_path, suffix):
    Image.fromarray(LEVELS).save(tmp_path / f"a{suffix}", quality=90)
    wanted = np.asarray(Image.open(tmp_path / f"a{suffix}").convert("RGB"))
    np.testing.assert_array_equal(quantize(open_photo(tmp_path / f"a{suffix}").rgb), wanted)


def test_a_photo_held_upright_is_read_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF 2.3, Orientation: the top of the scene is at the right
    Image.fromarray(LEVELS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(quantize(open_photo(tmp_path / "a.png").rgb), np.rot90(LEVELS, -1))


def test_sixteen_bits_become_the_nearest_levels(tmp_path):
    deep = np.array([[0, 257 * 100 + 20, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert quantize(open_photo(tmp_path / "a.png").rgb)[0, :, 0].tolist() == [0, 100, 255]


def test_transparency_is_laid_on_white_and_told(tmp_path):
    rgba = np.dstack([np.zeros_like(LEVELS), np.full((6, 8, 1), 102, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    photo = open_photo(tmp_path / "a.png")
    assert quantize(photo.rgb)[0, 0].tolist() == [153, 153, 153]
    assert "transparent places" in photo.notes[0]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif"])
def test_of_an_animation_the_first_picture_is_taken_and_told(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    photo = open_photo(tmp_path / f"a{suffix}")
    assert quantize(photo.rgb)[0, 0].tolist() == [255, 0, 0]
    assert "holds 2 pictures" in photo.notes[0]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = open_photo(tmp_path / "a.jpg").rgb[0, 0]
    assert red > 0.8
    assert max(green, blue) < 0.3


def test_what_is_no_photo_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    for path in (tmp_path / "a.jpg", tmp_path / "none.jpg", tmp_path):
        with pytest.raises(LayercliError) as caught:
            open_photo(path)
        assert str(path) in caught.value.message


def test_heic_is_read_where_its_package_is(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="HEIC needs the package pillow-heif")
    rows, columns = np.mgrid[0:1:64j, 0:1:96j]
    rgb = np.stack([rows, columns, 0.5 * np.ones_like(rows)], axis=-1)
    heif.from_pillow(Image.fromarray(quantize(rgb))).save(tmp_path / "a.HEIC", quality=95)
    photo = open_photo(tmp_path / "a.HEIC")
    assert photo.rgb.shape == (64, 96, 3)
    assert np.abs(photo.rgb - rgb).mean() < 0.02


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"anything")
    with pytest.raises(LayercliError, match="package that reads it is not installed") as caught:
        open_photo(tmp_path / "a.heic")
    assert "layercli[heic]" in caught.value.hint
