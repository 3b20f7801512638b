"""PSD files of other programs: what a stack can hold is read, what it cannot is said in one warning."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from psd_tools import PSDImage
from psd_tools.constants import BlendMode, ChannelID, Compression, Resource, Tag
from psd_tools.psd.document import PSD
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_data import ImageData
from psd_tools.psd.image_resources import ImageResource, ImageResources
from psd_tools.psd.layer_and_mask import (
    ChannelData,
    ChannelDataList,
    ChannelImageData,
    ChannelInfo,
    LayerAndMaskInformation,
    LayerFlags,
    LayerInfo,
    LayerRecord,
    LayerRecords,
    MaskData,
    MaskFlags,
    MaskParameters,
)

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import quantize
from layercli.formats import psd
from tests.core.test_pixels import linear_light_profile


def colour(*rgba: int, size: tuple[int, int] = (4, 4)) -> np.ndarray:
    return np.full((*size, len(rgba)), rgba, dtype=np.uint8)


def saved(image: PSDImage, tmp_path: Path) -> Path:
    image.save(tmp_path / "other.psd")
    return tmp_path / "other.psd"


def read_quietly(path: Path) -> LayerStack:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return psd.read(path)


def test_layers_of_another_program(tmp_path):
    image = PSDImage.new("RGB", (8, 8))
    image.create_pixel_layer_from_array(colour(10, 20, 30), left=-2, top=3, opacity=51)
    image.create_pixel_layer_from_array(
        colour(1, 2, 3, 128), name="two", blend_mode=BlendMode.SCREEN
    ).visible = False
    stack = read_quietly(saved(image, tmp_path))
    assert stack.canvas == Size(8, 8)
    one, two = stack.layers
    assert (one.name, one.offset, one.opacity) == ("Layer", Offset(-2, 3), 51 / 255)
    assert quantize(one.rgba)[0, 0].tolist() == [10, 20, 30, 255]
    assert (two.name, two.blend, two.visible) == ("two", "screen", False)
    assert quantize(two.rgba)[0, 0].tolist() == [1, 2, 3, 128]


def test_names_that_come_twice_are_told_apart(tmp_path):
    image = PSDImage.new("RGB", (8, 8))
    for _ in range(3):
        image.create_group(name="g").create_pixel_layer_from_array(colour(1, 2, 3), name="x")
    stack = read_quietly(saved(image, tmp_path))
    assert stack.names == ("x", "x 2", "x 3")
    assert [layer.group for layer in stack.layers] == [("g",), ("g 2",), ("g 3",)]


def test_hidden_groups_hide_and_faint_groups_fade(tmp_path):
    image = PSDImage.new("RGB", (8, 8))
    outer = image.create_group(name="outer", opacity=128)
    outer.create_pixel_layer_from_array(colour(1, 2, 3), name="faint", opacity=128)
    inner = outer.create_group(name="inner")
    inner.create_pixel_layer_from_array(colour(1, 2, 3), name="hidden")
    inner.visible = False
    with pytest.warns(UserWarning, match=r"opacity of groups .*\(outer\)"):
        stack = psd.read(saved(image, tmp_path))
    faint, hidden = stack.layers
    assert faint.opacity == pytest.approx((128 / 255) ** 2)
    assert (faint.visible, hidden.visible) == (True, False)
    assert hidden.group == ("outer", "inner")


def test_masks_with_places_and_grounds_of_their_own(tmp_path):
    image = PSDImage.new("RGB", (8, 8))
    layer = image.create_pixel_layer_from_array(colour(1, 2, 3), left=2, top=2, name="a")
    layer.create_mask(Image.new("L", (2, 2), 100), left=1, top=1)
    layer.mask.data.background_color = 255
    off = image.create_pixel_layer_from_array(colour(1, 2, 3), name="c")
    off.create_mask(Image.new("L", (4, 4), 0))
    off.mask.disabled = True
    a, c = read_quietly(saved(image, tmp_path)).layers
    assert quantize(a.mask).tolist() == [[100, 255, 255, 255]] + [[255] * 4] * 3
    assert c.mask is None


def test_a_mask_of_a_group_masks_its_layers(tmp_path):
    rgba = np.ones((4, 4, 4), dtype=np.float32)
    mask = np.full((4, 4), 0.4, dtype=np.float32)
    layers = (
        Layer(name="a", rgba=rgba, group=("g",), mask=mask),
        Layer(name="b", rgba=rgba, offset=Offset(0, 1), group=("g", "h")),
        Layer(name="c", rgba=rgba),
    )
    path = psd.write(LayerStack(canvas=Size(8, 8), layers=layers), tmp_path / "a.psd")
    with open(path, "rb") as source:
        file = PSD.read(source)
    info = file.layer_and_mask_information.layer_info
    names = [record.tagged_blocks.get_data(Tag.UNICODE_LAYER_NAME) for record in info.layer_records]
    group = names.index("g")
    info.layer_records[group].mask_data = MaskData(top=0, left=0, bottom=2, right=8)
    info.layer_records[group].channel_info.append(ChannelInfo(id=ChannelID.USER_LAYER_MASK))
    info.channel_image_data[group].append(ChannelData(compression=Compression.RAW, data=bytes([51] * 16)))
    with open(path, "wb") as target:
        file.write(target)
    a, b, c = read_quietly(path).layers
    assert quantize(a.mask).tolist() == [[20] * 4] * 2 + [[0] * 4] * 2  # 0.4 * 51 levels
    assert quantize(b.mask).tolist() == [[51] * 4] + [[0] * 4] * 3
    assert c.mask is None


def test_clipped_layers_show_on_their_base_only(tmp_path):
    image = PSDImage.new("RGB", (8, 8))
    base = np.concatenate(
        [colour(1, 2, 3), np.tile([[[0], [255], [128], [255]]], (4, 1, 1)).astype(np.uint8)], -1
    )
    image.create_pixel_layer_from_array(base, name="base", left=1, top=1)
    image.create_pixel_layer_from_array(colour(200, 0, 0), name="on it", top=2).clipping = True
    image.create_pixel_layer_from_array(colour(200, 0, 0), name="free")
    with pytest.warns(UserWarning, match="clipping .*on it"):
        stack = psd.read(saved(image, tmp_path))
    mask = quantize(stack.layer("on it").mask)
    assert mask.tolist() == [[0, 0, 255, 128]] * 3 + [[0] * 4]
    assert stack.layer("free").mask is None
    shown = stack.placed("on it")
    assert not shown[:, 0:2, 3].any()
    assert shown[2, 2:4, 3].all()


def test_what_a_stack_cannot_hold_is_said_once(tmp_path):
    image = PSDImage.new("RGB", (8, 8))
    layer = image.create_pixel_layer_from_array(colour(1, 2, 3), name="odd", blend_mode=BlendMode.DISSOLVE)
    layer.tagged_blocks.set_data(Tag.BLEND_FILL_OPACITY, 51)
    adjust = image.create_pixel_layer_from_array(colour(1, 2, 3), name="invert it")
    adjust.tagged_blocks.set_data(Tag.INVERT)
    for info, channel in zip(adjust._record.channel_info, adjust._channels, strict=True):
        channel.data, info.length = b"", 2
        channel.compression = Compression.RAW
    group = image.create_group(name="grp", blend_mode=BlendMode.MULTIPLY)
    group.create_pixel_layer_from_array(colour(1, 2, 3), name="in it")
    with pytest.warns(UserWarning) as caught:
        stack = psd.read(saved(image, tmp_path))
    assert len(caught) == 1
    told = str(caught[0].message)
    assert "blend modes became normal (odd)" in told
    assert "adjustment and fill layers were left out (invert it)" in told
    assert "blend modes of groups were left out (grp)" in told
    assert stack.names == ("odd", "in it")
    assert stack.layer("odd").opacity == pytest.approx(51 / 255)


@pytest.mark.parametrize("depth", [16, 32])
def test_deep_files(tmp_path, depth):
    image = PSDImage.new("RGB", (4, 3), depth=depth)
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(3, 4, 4)
    image.create_pixel_layer_from_array(values, name="a")
    found = psd.read(saved(image, tmp_path)).layers[0].rgba
    np.testing.assert_allclose(found[..., 3], values[..., 3], atol=1e-4)
    if depth == 16:  # 32 bits are linear light, which psd-tools turns into sRGB
        np.testing.assert_allclose(found, values, atol=1e-4)
    else:
        assert (np.diff(found[..., 0].ravel()) > 0).all()


@pytest.mark.parametrize(("mode", "rgb"), [("L", (100, 100, 100)), ("CMYK", (255, 0, 0))])
def test_other_colour_modes(tmp_path, mode, rgb):
    image = PSDImage.new(mode, (8, 8))
    picture = Image.new("RGBA", (4, 4), (*rgb, 255))
    image.create_pixel_layer(picture, name="a", left=2)
    layer = psd.read(saved(image, tmp_path)).layers[0]
    assert layer.offset == Offset(2, 0)
    np.testing.assert_allclose(quantize(layer.rgba)[0, 0], [*rgb, 255], atol=2)


def test_another_profile_is_converted(tmp_path):
    image = PSDImage.new("RGB", (4, 4))
    image.image_resources[Resource.ICC_PROFILE] = ImageResource(
        key=Resource.ICC_PROFILE, data=linear_light_profile()
    )
    image.create_pixel_layer_from_array(colour(55, 55, 55, 99), name="a")
    found = quantize(psd.read(saved(image, tmp_path)).layers[0].rgba)
    np.testing.assert_allclose(found[..., :3], 128, atol=1)
    assert (found[..., 3] == 99).all()


def test_a_profile_that_calls_itself_srgb_changes_nothing(tmp_path):
    image = PSDImage.new("RGB", (4, 4))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.image_resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE, data=profile)
    image.create_pixel_layer_from_array(colour(55, 1, 254, 99), name="a")
    assert quantize(psd.read(saved(image, tmp_path)).layers[0].rgba)[0, 0].tolist() == [55, 1, 254, 99]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_file_without_layers_is_its_merged_picture(tmp_path, mode):
    picture = Image.new(mode, (5, 4), {"RGB": (1, 2, 3), "RGBA": (1, 2, 3, 255), "L": 7}[mode])
    PSDImage.frompil(picture).save(tmp_path / "flat.psd")
    stack = read_quietly(tmp_path / "flat.psd")
    assert stack.names == ("background",)
    assert stack.canvas == Size(5, 4)
    wanted = np.asarray(picture.convert("RGBA"))
    np.testing.assert_array_equal(quantize(stack.layers[0].rgba), wanted)


def handmade(tmp_path: Path, record: LayerRecord, channels: list[ChannelData]) -> Path:
    """A file of one layer put together by hand."""
    header = FileHeader(width=4, height=4, channels=3)
    file = PSD(
        header=header,
        image_resources=ImageResources(),
        layer_and_mask_information=LayerAndMaskInformation(
            layer_info=LayerInfo(1, LayerRecords([record]), ChannelImageData([ChannelDataList(channels)]))
        ),
        image_data=ImageData.new(header),
    )
    path = tmp_path / "handmade.psd"
    with open(path, "wb") as target:
        file.write(target)
    return path


def channels_of(*levels: int, size: int = 4) -> list[ChannelData]:
    return [ChannelData(compression=Compression.RAW, data=bytes([level]) * (size * size)) for level in levels]


def test_an_empty_layer_is_one_clear_pixel(tmp_path):
    ids = [ChannelInfo(id=number) for number in (-1, 0, 1, 2)]
    record = LayerRecord(top=2, left=1, bottom=2, right=1, channel_info=ids, name="empty")
    layer = read_quietly(handmade(tmp_path, record, [ChannelData() for _ in ids])).layers[0]
    assert (layer.offset, layer.size) == (Offset(1, 2), Size(1, 1))
    assert not layer.rgba.any()


def test_mask_density_weakens_a_mask(tmp_path):
    ids = [ChannelInfo(id=number) for number in (0, 1, 2, -2)]
    mask = MaskData(
        top=0, left=0, bottom=4, right=4, flags=MaskFlags(parameters_applied=True),
        parameters=MaskParameters(user_mask_density=51),
    )  # fmt: skip
    record = LayerRecord(bottom=4, right=4, channel_info=ids, name="a", mask_data=mask)
    layer = read_quietly(handmade(tmp_path, record, channels_of(1, 2, 3, 0))).layers[0]
    assert (quantize(layer.mask) == 204).all()
    assert (layer.rgba[..., 3] == 1).all()


def test_a_mask_block_without_a_mask_is_no_mask(tmp_path):
    ids = [ChannelInfo(id=number) for number in (0, 1, 2)]
    record = LayerRecord(bottom=4, right=4, channel_info=ids, name="a", mask_data=MaskData())
    assert read_quietly(handmade(tmp_path, record, channels_of(1, 2, 3))).layers[0].mask is None


def test_a_mask_of_no_size_is_its_ground(tmp_path):
    ids = [ChannelInfo(id=number) for number in (0, 1, 2, ChannelID.USER_LAYER_MASK)]
    record = LayerRecord(bottom=4, right=4, channel_info=ids, name="a", mask_data=MaskData())
    path = handmade(tmp_path, record, [*channels_of(1, 2, 3), ChannelData()])
    assert not read_quietly(path).layers[0].mask.any()


def test_flags_and_names_of_old_programs(tmp_path):
    ids = [ChannelInfo(id=number) for number in (0, 1, 2)]
    record = LayerRecord(
        bottom=4, right=4, channel_info=ids, name="old\rname", flags=LayerFlags(visible=False)
    )
    layer = read_quietly(handmade(tmp_path, record, channels_of(1, 2, 3))).layers[0]
    assert (layer.name, layer.visible) == ("old name", False)


def test_a_layer_that_claims_more_than_memory_is_refused(tmp_path):
    ids = [ChannelInfo(id=number) for number in (0, 1, 2)]
    record = LayerRecord(bottom=29_000, right=29_000, channel_info=ids, name="bomb")
    path = handmade(tmp_path, record, channels_of(1, 2, 3))
    with pytest.raises(LayercliError, match="pixels"):
        psd.read(path)


def test_packed_data_that_claims_to_grow_a_thousandfold_is_refused(tmp_path):
    side = 9_000
    counts = struct.pack(f">{side}H", *[0] * side)
    channels = [ChannelData(compression=Compression.RLE, data=counts) for _ in range(3)]
    ids = [ChannelInfo(id=number) for number in (0, 1, 2)]
    record = LayerRecord(bottom=side, right=side, channel_info=ids, name="bomb")
    with pytest.raises(LayercliError):
        psd.read(handmade(tmp_path, record, channels))
