"""Photoshop's layers in a TIFF: by psdtags and ImageMagick, in both byte orders, and broken."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Size
from layercli.core.pixels import quantize, srgb_profile
from layercli.formats import psd, tiff
from layercli.formats._psd_swap import big_endian_layers
from layercli.formats.tiff_photoshop import Options, read, write
from tests.formats.imagemagick import identify
from tests.formats.stacks import RECEIPT, assert_same, noise, sample_stack

LAYERS, RESOURCES = 37724, 34377


@pytest.fixture
def path(tmp_path):
    return write(sample_stack(), tmp_path / "a.tif")


@pytest.fixture
def psdtags():
    return pytest.importorskip("psdtags", reason="psdtags, the second reader, is not installed")


def test_every_program_sees_the_composite(path, tmp_path):
    with Image.open(path) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), sample_stack().flatten_quantized()[..., :3])
    stack = LayerStack(canvas=Size(5, 4), layers=(Layer(name="a", rgba=noise(4, 5)),))
    with Image.open(write(stack, tmp_path / "b.tif")) as image:
        np.testing.assert_array_equal(np.asarray(image), stack.flatten_quantized())


def test_psdtags_sees_names_places_modes_and_pixels(psdtags, path):
    source = psdtags.TiffImageSourceData.fromtiff(path)
    assert not source.layers.has_transparency
    found = {layer.name: layer for layer in source.layers if layer.rectangle}
    stack = sample_stack()
    assert list(found) == list(stack.names)
    modes = {"normal": b"norm", "multiply": b"mul ", "screen": b"scrn", "overlay": b"over"}
    for layer in stack.layers:
        theirs = found[layer.name]
        assert theirs.blendmode == modes[layer.blend]
        assert theirs.opacity == round(layer.opacity * 255)
        assert bool(theirs.flags & psdtags.PsdLayerFlag.VISIBLE) == (not layer.visible)  # the bit hides
        left, top = theirs.rectangle.left - layer.offset.left, theirs.rectangle.top - layer.offset.top
        channels = {int(channel.channelid): channel.data for channel in theirs.channels}
        picture = np.stack([channels[number] for number in (-1, 0, 1, 2)], axis=-1)
        wanted = quantize(layer.rgba)[top : top + picture.shape[0], left : left + picture.shape[1]]
        np.testing.assert_array_equal(picture[..., 0], wanted[..., 3])
        seen = wanted[..., 3] > 0
        np.testing.assert_array_equal(picture[seen][:, 1:], wanted[seen][:, :3])


def test_psdtags_is_told_of_a_transparent_composite(psdtags, tmp_path):
    stack = LayerStack(canvas=Size(5, 4), layers=(Layer(name="a", rgba=noise(4, 5)),))
    path = write(stack, tmp_path / "b.tif")
    assert psdtags.TiffImageSourceData.fromtiff(path).layers.has_transparency
    assert_same(stack, read(path))


def test_the_profile_the_receipt_and_resources_are_where_a_tiff_has_them(psdtags, path):
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        assert tags["InterColorProfile"].value == srgb_profile()
        xmp = tags["XMP"].value
        assert (RECEIPT.device in str(xmp)) and b"image/tiff" in bytes(xmp)
    blocks = psdtags.TiffImageResources.fromtiff(path).blocks
    numbers = {int(block.resourceid) for block in blocks}
    assert {1005, 1036} <= numbers and not {1039, 1060} & numbers


def test_imagemagick_lists_the_layers(path):
    names = identify("%l", str(path))
    assert names[1:] == list(sample_stack().names)


def test_the_plain_tiff_reader_finds_the_layers_too(path):
    assert_same(sample_stack(), tiff.read(path))


def test_it_holds_what_the_psd_holds(tmp_path, path):
    document = psd.read(psd.write(sample_stack(), tmp_path / "a.psd", psd.Options()))
    assert_same(document, read(path))


def little(psdtags, path, again):
    """The same file as Photoshop on Intel processors writes it."""
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        picture = file.pages[0].asarray()
        own = [(code, "B", 0, tags[code].value, True) for code in (700, RESOURCES)]
        profile = tags["InterColorProfile"].value
    source = psdtags.TiffImageSourceData.fromtiff(path)
    data = source.tobytes(psdtags.PsdFormat.LE32BIT)
    assert b"MIB8" in data and b"8BIM" not in data
    tifffile.imwrite(
        again, picture, byteorder="<", photometric="rgb", metadata=None, iccprofile=profile,
        extratags=[*((code, kind, len(value), value, once) for code, kind, _, value, once in own),
                   (LAYERS, 7, len(data), data, True)],
    )  # fmt: skip
    return again


def test_the_byte_order_of_intel_processors_is_read_alike(psdtags, path, tmp_path):
    again = read(little(psdtags, path, tmp_path / "b.tif"))
    assert_same(sample_stack(), again)
    assert again.receipt == RECEIPT


def test_damage_in_the_other_byte_order_is_refused_or_harmless(psdtags, path, tmp_path):
    broken = little(psdtags, path, tmp_path / "b.tif")
    whole = broken.read_bytes()
    start = whole.index(b"Adobe Photoshop Document")
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(start, min(len(whole), start + 1500), 3):
            content[place] = rng.integers(0, 256)
        broken.write_bytes(content)
        try:
            assert isinstance(read(broken), LayerStack)
        except LayercliError as error:
            assert "b.tif" in error.message


@pytest.mark.parametrize("length", [0, 1, 50])
def test_layers_that_end_too_early_do_not_turn_round(length):
    with pytest.raises((ValueError, struct.error, IndexError)):
        big_endian_layers(b"\x05\x00" + bytes(length))


HEAD = b"Adobe Photoshop Document Data Block\0"


@pytest.mark.parametrize("data", [b"", b"Adobe", HEAD, HEAD + b"8BIM" * 9, HEAD + b"8BIMLayr\0\0\0\0"])
def test_a_tag_without_layers_is_refused(tmp_path, data):
    path = tmp_path / "a.tif"
    tags = [(LAYERS, 7, len(data), data, True)] if data else []
    tifffile.imwrite(path, quantize(noise(3, 3, channels=3)), photometric="rgb", extratags=tags)
    with pytest.raises(LayercliError, match=r"a\.tif"):
        read(path)


@pytest.mark.parametrize("options", [{"level": 0}, {"level": 10}, {"bleed": -1}])
def test_options_are_checked(options):
    with pytest.raises(LayercliError):
        Options(**options)
