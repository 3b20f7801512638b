from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, PngImagePlugin

from layercli.core import pixels
from layercli.core.errors import LayercliError
from layercli.core.pixels import dequantize, open_image, quantize, quantize_planes, save_png, srgb_profile


def test_quantize_round_trips_every_level():
    levels = np.arange(256, dtype=np.uint8)
    assert dequantize(levels).dtype == np.float32
    np.testing.assert_array_equal(quantize(dequantize(levels)), levels)
    np.testing.assert_array_equal(quantize(levels / 255), levels)


def test_quantize_rounds_halves_up_and_clips():
    values = np.array([0.5 / 255, 1.5 / 255, 0.4999 / 255, -3, 7, np.nan, np.inf, -np.inf], dtype=np.float32)
    np.testing.assert_array_equal(quantize(values), [1, 2, 0, 0, 255, 0, 255, 0])
    assert quantize(np.float32(0.5)).item() == 128


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=9), elements=st.floats(0, 1, width=32)))
def test_quantize_is_never_more_than_half_a_level_off(values):
    assert np.abs(dequantize(quantize(values)) - values).max() <= 0.5 / 255 + 1e-6


@given(hnp.arrays(np.float32, (5, 7, 4), elements=st.floats(0, 1, width=32)))
def test_planes_hold_the_same_levels(rgba):
    planes = quantize_planes(rgba)
    assert planes.flags.c_contiguous
    np.testing.assert_array_equal(np.moveaxis(planes, 0, -1), quantize(rgba))


def test_quantize_works_in_strips_too():
    values = np.random.default_rng(0).random((3000, 333), dtype=np.float32)
    np.testing.assert_array_equal(quantize(values), np.floor(values * np.float32(255) + np.float32(0.5)))


def test_png_round_trip_with_text_profile_and_dpi(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (9, 5, 4), dtype=np.uint8)
    path = save_png(tmp_path / "a.png", dequantize(levels), {"layercli": "naïve 🦊"}, dpi=300)
    np.testing.assert_array_equal(quantize(open_image(path)), levels)
    with Image.open(path) as image:
        assert image.text["layercli"] == "naïve 🦊"
        assert image.info["icc_profile"] == srgb_profile()
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_srgb_profile_is_one_that_readers_know():
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_a_tiff_that_cannot_be_read_is_still_called_one(tmp_path):
    """Pillow has no colours in 32 bits; "use a TIFF" would help nobody who has one."""
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((8, 8, 3), np.float32), photometric="rgb")
    with pytest.raises(LayercliError, match="is a TIFF of a kind that is not read here") as caught:
        open_image(tmp_path / "deep.tif")
    assert "8 bits a channel" in caught.value.hint
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(LayercliError, match="is not a picture"):
        open_image(tmp_path / "text.tif")


def test_exif_turns_the_picture_upright(tmp_path):
    image = Image.new("RGB", (4, 2), "black")
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image.save(tmp_path / "a.png", exif=exif)
    rgba = open_image(tmp_path / "a.png")
    assert rgba.shape == (4, 2, 4)
    assert rgba[0, 1].tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_becomes_rgba(tmp_path, mode):
    image = Image.new("RGB", (3, 2), (255, 255, 255)).convert("RGBA" if mode == "PA" else "RGB")
    image = (
        image.convert(mode)
        if mode not in ("LAB", "PA")
        else Image.new(mode, (3, 2), (255, 128, 128)[: len(mode)])
    )
    if mode == "PA":
        image.putpalette([255] * 768)
    for suffix in (".png", ".tif", ".gif"):
        try:
            image.save(tmp_path / f"a{suffix}")
            break
        except (OSError, KeyError, ValueError):
            (tmp_path / f"a{suffix}").unlink(missing_ok=True)
    else:
        pytest.skip(f"no container for mode {mode} in this Pillow")
    rgba = open_image(tmp_path / f"a{suffix}")
    assert rgba.shape == (2, 3, 4)
    assert rgba.dtype == np.float32
    if mode not in ("LAB", "PA"):
        np.testing.assert_allclose(rgba, 1, atol=0.02)


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    rgba = quantize(open_image(tmp_path / "a.png"))
    assert rgba[0, 0, 3] == 0
    assert rgba[0, 1].tolist() == [200, 100, 50, 255]


def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path):
    levels = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.png")
    np.testing.assert_allclose(open_image(tmp_path / "a.png")[0, :, 0], [0, 100 / 255, 1], atol=1e-6)


def test_float_gray_out_of_range_is_refused(tmp_path):
    Image.fromarray(np.array([[0.0, 3.0]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(LayercliError, match=r"a\.tif"):
        open_image(tmp_path / "a.tif")


def linear_light_profile() -> bytes:
    """sRGB with its tone curve made a straight line and its name changed."""
    name, other = ("sRGB".encode("utf-16-be"), "lRGB".encode("utf-16-be"))
    profile = srgb_profile().replace(name, other)
    curve = b"para" + bytes(4) + b"\0\3\0\0"  # ICC.1:2010, 10.15: Y = (aX + b)^g, or cX below d
    start = profile.index(curve) + len(curve)
    line = struct.pack(">5i", *(round(v * 65536) for v in (1, 1, 0, 1, 0)))
    return profile[:start] + line + profile[start + len(line) :]


def test_an_embedded_profile_is_followed(tmp_path):
    rgb = np.full((2, 2, 3), 55, dtype=np.uint8)
    rgba = np.concatenate([rgb, np.full((2, 2, 1), 99, dtype=np.uint8)], axis=-1)
    Image.fromarray(rgba).save(tmp_path / "a.png", icc_profile=linear_light_profile())
    found = quantize(open_image(tmp_path / "a.png"))
    np.testing.assert_allclose(found[..., :3], 128, atol=1)  # 55/255 in linear light is 128/255 in sRGB
    assert (found[..., 3] == 99).all()


@pytest.mark.parametrize(
    "profile", [b"nonsense", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()]
)
def test_a_profile_that_does_not_fit_is_passed_over(tmp_path, profile):
    rgb = np.full((2, 2, 3), 55, dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(quantize(open_image(tmp_path / "a.png"))[..., :3], rgb)


def test_damage_is_told_in_one_sentence(tmp_path):
    good = tmp_path / "good.png"
    save_png(good, np.random.default_rng(0).random((64, 64, 4), dtype=np.float32))
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:-400])
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    for path in (cut, text, empty, tmp_path / "missing.png", tmp_path):
        with pytest.raises(LayercliError) as caught:
            open_image(path)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_bombs_are_refused(tmp_path, monkeypatch):
    save_png(tmp_path / "a.png", np.zeros((40, 40, 4), dtype=np.float32))
    monkeypatch.setattr(pixels, "MOST_PIXELS", 1599)
    with pytest.raises(LayercliError, match="more than 1,599 pixels"):
        open_image(tmp_path / "a.png")
    monkeypatch.setattr(pixels, "MOST_PIXELS", 1600)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns above this, which is no limit of ours
    assert open_image(tmp_path / "a.png").shape == (40, 40, 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # and raises above twice it
    with pytest.raises(LayercliError, match="more than 1,600 pixels"):
        open_image(tmp_path / "a.png")


def test_text_bombs_are_refused(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("k", "x" * (2 << 20), zip=True)
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(LayercliError, match=r"a\.png"):
        open_image(tmp_path / "a.png")


def test_an_unwritable_path_is_told(tmp_path):
    with pytest.raises(LayercliError, match="cannot be written"):
        save_png(tmp_path / "no" / "a.png", np.zeros((1, 1, 4), dtype=np.float32))
