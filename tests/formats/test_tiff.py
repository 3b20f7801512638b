"""TIFF pages by tifffile, Pillow and ImageMagick, files of other programs, and hostile files."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from layercli.core.composite import BLENDS, composite, over
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize
from layercli.formats.tiff import Options, _baked, read, write
from tests.formats.imagemagick import convert, identify
from tests.formats.stacks import RECEIPT, assert_same, noise, sample_stack


@pytest.fixture
def path(tmp_path):
    return write(sample_stack(), tmp_path / "a.tiff")


def titles() -> list[str]:
    return ["composite", *(f"{n.name}{'' if n.visible else ' (hidden)'}" for n in sample_stack().layers)]


def test_tifffile_sees_full_size_pages_with_names_and_straight_alpha(path):
    with tifffile.TiffFile(path) as file:
        assert [page.tags["PageName"].value for page in file.pages] == titles()
        for page in list(file.pages)[1:]:
            assert page.shape == (24, 24, 4)
            assert [int(extra) for extra in page.extrasamples] == [2]
            assert (int(page.compression), int(page.predictor)) == (8, 2)
            assert page.tags["NewSubfileType"].value == 2
        np.testing.assert_array_equal(file.pages[0].asarray(), sample_stack().flatten_quantized()[..., :3])
        assert json.loads(file.pages[0].description)["receipt"] == json.loads(RECEIPT.to_json())


def test_pages_laid_over_each_other_give_the_composite(path):
    with Image.open(path) as image:
        first = np.asarray(image.convert("RGBA")).astype(int)
        whole = Image.new("RGBA", image.size)
        for index in range(1, image.n_frames):
            image.seek(index)
            if not titles()[index].endswith("(hidden)"):
                whole = Image.alpha_composite(whole, image.convert("RGBA"))
    # Rounded after every page, and once in every page.
    assert np.abs(np.asarray(whole).astype(int) - first).max() <= 3


def test_imagemagick_sees_the_names_and_gives_the_composite(tmp_path):
    shown = dataclasses.replace(
        sample_stack(), layers=tuple(layer for layer in sample_stack().layers if layer.visible)
    )
    path = write(shown, tmp_path / "a.tiff")
    assert identify("%wx%h %l", str(path)) == [f"24x24 {name}" for name in ("composite", *shown.names)]
    convert(f"{path}[1--1]", "-background", "none", "-flatten", str(tmp_path / "flat.png"))
    flat = np.asarray(Image.open(tmp_path / "flat.png").convert("RGB")).astype(int)
    assert np.abs(flat - shown.flatten_quantized()[..., :3]).max() <= 3


@given(st.sampled_from(BLENDS), st.integers(0, 99), st.booleans())
def test_a_baked_page_looks_as_its_blend_mode_does(blend, seed, opaque):
    backdrop, source = noise(4, 5, seed), noise(4, 5, seed + 100)
    if opaque:
        backdrop[..., 3] = 1
    page = dequantize(quantize(_baked(backdrop, source, blend)))
    wanted, found = composite(backdrop, source, blend), over(backdrop, page)
    np.testing.assert_allclose(found[..., 3], wanted[..., 3], atol=0.51 / 255)
    np.testing.assert_allclose(
        found[..., :3] * found[..., 3:], wanted[..., :3] * wanted[..., 3:], atol=1.01 / 255
    )


def test_a_shadow_stays_a_shadow():
    """Where a multiply layer is white, its page is clear; where it is gray, the page is half black."""
    backdrop = noise(6, 6, 1)
    backdrop[..., 3] = 1
    shadow = np.ones((6, 6, 4), dtype=np.float32)
    shadow[2:4, 2:4, :3] = 0.5
    page = _baked(backdrop, shadow, "multiply")
    assert page[:2, ..., 3].max() == 0
    np.testing.assert_allclose(page[2:4, 2:4, 3], 0.5, atol=1 / 255)
    np.testing.assert_allclose(page[2:4, 2:4, :3], 0, atol=1 / 255)


def test_a_transparent_composite_keeps_its_alpha(tmp_path):
    stack = LayerStack(canvas=Size(5, 4), layers=(Layer(name="a", rgba=noise(4, 5)),))
    with Image.open(write(stack, tmp_path / "a.tiff")) as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), stack.flatten_quantized())


def frames(path) -> list[Image.Image]:
    with Image.open(path) as image:
        found = []
        for index in range(image.n_frames):
            image.seek(index)
            found.append(image.copy())
        return found


def test_pages_that_another_program_saved_again_still_give_the_picture(tmp_path, path):
    """What is kept for our own reader is gone; the baked pages are not."""
    pages = frames(path)
    info = TiffImagePlugin.ImageFileDirectory_v2()
    with tifffile.TiffFile(path) as file:
        info[270] = file.pages[0].description
    again = tmp_path / "b.tiff"
    pages[0].save(again, save_all=True, append_images=pages[1:], compression="tiff_deflate", tiffinfo=info)
    stack = read(again)
    assert stack.names == sample_stack().names and stack.receipt == RECEIPT
    assert [layer.visible for layer in stack.layers] == [layer.visible for layer in sample_stack().layers]
    difference = stack.flatten_quantized().astype(int) - sample_stack().flatten_quantized()
    assert np.abs(difference).max() <= 3


def test_a_description_that_no_longer_fits_the_pages_is_passed_over(tmp_path, path):
    with tifffile.TiffFile(path) as file:
        description = file.pages[0].description
    again = tmp_path / "b.tiff"
    pixels = quantize(noise(3, 4))
    tifffile.imwrite(again, pixels, photometric="rgb", extrasamples=[2], description=description)
    stack = read(again)
    assert stack.names == ("b",) and stack.canvas == Size(4, 3)
    np.testing.assert_array_equal(quantize(stack.layers[0].rgba), pixels)


def test_pages_of_other_programs_keep_names_and_places(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for index, name in enumerate(["łódź", "łódź", ""]):
            tags = [(285, "s", 0, name.encode(), True)] if name else []
            # Inches, at 100 pixels an inch: 5 and 7 pixels.
            tags += [(286, "2I", 1, (5, 100), True), (287, "2I", 1, (7, 100), True)] if index == 1 else []
            file.write(
                quantize(noise(6, 8, index)), photometric="rgb", extrasamples=[2], extratags=tags,
                metadata=None, resolution=(100, 100), resolutionunit="INCH", contiguous=False,
            )  # fmt: skip
    stack = read(path)
    assert stack.names == ("łódź", "łódź 2", "page 3")
    assert [layer.offset for layer in stack.layers] == [Offset(), Offset(5, 7), Offset()]
    assert stack.canvas == Size(13, 13)
    for index, layer in enumerate(stack.layers):
        np.testing.assert_array_equal(quantize(layer.rgba), quantize(noise(6, 8, index)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
def test_pictures_of_every_kind_are_read(tmp_path, mode, compression):
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16))
    else:
        image = Image.new("RGBA", (4, 4), (128, 128, 128, 255)).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    (layer,) = read(tmp_path / "a.tif").layers
    assert layer.name == "a" and layer.rgba[..., 3].min() == 1
    if mode != "1":
        np.testing.assert_allclose(layer.rgba[..., :3], 128 / 255, atol=2 / 255)


def test_a_first_page_that_shows_the_others_is_no_layer(tmp_path, path):
    with tifffile.TiffFile(path) as file:
        pages = [page.asarray() for page in file.pages]
    again = tmp_path / "b.tiff"
    with tifffile.TiffWriter(again) as out:
        for page, title in zip(pages, titles(), strict=True):
            if not title.endswith("(hidden)"):
                out.write(page, photometric="rgb", extrasamples=[2] * (page.shape[2] - 3), metadata=None)
    assert len(read(again).layers) == sum(layer.visible for layer in sample_stack().layers)


def test_strips_that_inflate_without_end_are_not_inflated(tmp_path):
    """20 bytes of head and 100 kB that would become 100 MB."""
    described = json.dumps(
        {"layercli": 1, "canvas": {"width": 8, "height": 8}, "layers": [
            {"name": "a", "x": 0, "y": 0, "width": 8, "height": 8, "kept": False}]}
    )  # fmt: skip
    path = tmp_path / "a.tiff"
    with tifffile.TiffWriter(path) as file:
        for description in (described, None):
            file.write(
                iter([zlib.compress(bytes(100_000_000))]), shape=(8, 8, 4), dtype=np.uint8, photometric="rgb",
                extrasamples=[2], compression="zlib", description=description, metadata=None,
            )  # fmt: skip
    tracemalloc.start()
    try:
        stack = read(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000
    assert stack.names == ("a",) and stack.layers[0].rgba.max() == 0


@pytest.mark.parametrize("side", [60_000, 300_000])
def test_pictures_that_claim_to_be_enormous_are_refused(tmp_path, path, side):
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        places = [page.tags[tag].valueoffset for page in file.pages for tag in ("ImageWidth", "ImageLength")]
    broken = bytearray(content)
    for place in places:
        broken[place : place + 4] = side.to_bytes(4, "little")
    (tmp_path / "b.tiff").write_bytes(broken)
    with pytest.raises(LayercliError, match=r"b\.tiff"):
        read(tmp_path / "b.tiff")


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3}, {"x": "left"}, {"width": -1}, {"height": None}, {"opacity": 7}, {"blend": "glow"},
        {"visible": "no"}, {"group": [1]}, {"kept": "yes"}, {"name": ""},
    ],
)  # fmt: skip
def test_a_description_of_wrong_values_is_refused(tmp_path, path, change):
    with tifffile.TiffFile(path) as file:
        described = json.loads(file.pages[0].description)
        pages = [page.asarray() for page in file.pages]
    described["layers"][0].update(change)
    again = tmp_path / "b.tiff"
    with tifffile.TiffWriter(again) as out:
        for index, page in enumerate(pages):
            out.write(
                page, photometric="rgb", extrasamples=[2] * (page.shape[2] - 3), metadata=None,
                description=None if index else json.dumps(described),
            )  # fmt: skip
    with pytest.raises(LayercliError, match=r"b\.tiff"):
        read(again)


def test_parts_beside_the_canvas_come_back(tmp_path):
    layer = Layer(name="a", rgba=noise(9, 9, 3), offset=Offset(-4, 6))
    stack = LayerStack(canvas=Size(8, 8), layers=(layer,))
    assert_same(stack, read(write(stack, tmp_path / "a.tiff")))


@pytest.mark.parametrize("level", [0, 10])
def test_levels_are_checked(level):
    with pytest.raises(LayercliError, match="level"):
        Options(level=level)
