"""PSD files as other programs read them: psd-tools' file structures, Pillow, ImageMagick, ag-psd."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import ChannelID, ColorMode, Compression, Resource, Tag
from psd_tools.psd.document import PSD

from layercli.core.composite import matte
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize, srgb_profile
from layercli.core.trim import trim
from layercli.formats import _psd_plan, psd, psd_pytoshop
from tests.formats.imagemagick import convert, identify
from tests.formats.stacks import assert_same, edited, noise, sample_stack

BLENDS = {"normal": b"norm", "multiply": b"mul ", "screen": b"scrn", "overlay": b"over"}


@pytest.fixture(params=[psd, psd_pytoshop], ids=["psd-tools", "pytoshop"])
def writer(request):
    return request.param


def low(path: Path) -> PSD:
    """The file's own structures, nothing interpreted."""
    with open(path, "rb") as file:
        return PSD.read(file)


def layer_records(file: PSD) -> list:
    info = file.layer_and_mask_information.layer_info
    return list(zip(info.layer_records, info.channel_image_data, strict=True))


def pixel_records(file: PSD) -> list:
    return [pair for pair in layer_records(file) if Tag.SECTION_DIVIDER_SETTING not in pair[0].tagged_blocks]


def merged(file: PSD) -> np.ndarray:
    planes = file.image_data.get_data(file.header)
    return np.stack([np.frombuffer(p, np.uint8).reshape(file.header.height, -1) for p in planes], axis=-1)


def opaque_stack() -> LayerStack:
    return sample_stack(24)


def test_the_header_is_rgb_and_every_channel_is_rle(writer, tmp_path):
    file = low(writer.write(opaque_stack(), tmp_path / "a.psd"))
    header = file.header
    assert (header.version, header.channels, header.depth, header.color_mode) == (1, 3, 8, ColorMode.RGB)
    assert (header.width, header.height) == (24, 24)
    assert file.image_data.compression == Compression.RLE
    assert file.layer_and_mask_information.layer_info.layer_count > 0  # negative would promise merged alpha
    for record, channels in pixel_records(file):
        assert all(channel.compression == Compression.RLE for channel in channels)
        assert {info.id for info in record.channel_info} - {-2} == {-1, 0, 1, 2}


def test_records_say_what_the_layers_are(writer, tmp_path):
    stack = opaque_stack()
    file = low(writer.write(stack, tmp_path / "a.psd"))
    records = pixel_records(file)
    assert len(records) == len(stack.layers)
    for layer, (record, channels) in zip(stack.layers, records, strict=True):
        cut = trim(layer)
        _, height, width = cut.planes.shape
        assert record.tagged_blocks.get_data(Tag.UNICODE_LAYER_NAME) == layer.name
        assert record.name == layer.name  # plain ASCII here
        assert (record.top, record.left, record.height, record.width) == (cut.top, cut.left, height, width)
        assert record.opacity == cut.opacity
        assert record.blend_mode.value == BLENDS[layer.blend]
        assert record.flags.visible == layer.visible
        planes = dict(zip([info.id for info in record.channel_info], channels, strict=True))
        for number, plane in zip((0, 1, 2, -1), cut.planes, strict=True):
            data = planes[ChannelID(number)].get_data(width, height, 8)
            np.testing.assert_array_equal(np.frombuffer(data, np.uint8).reshape(height, width), plane)
        if layer.mask is not None:
            mask = record.mask_data
            assert (mask.top, mask.left, mask.height, mask.width) == (cut.top, cut.left, height, width)
            data = planes[ChannelID.USER_LAYER_MASK].get_data(width, height, 8)
            np.testing.assert_array_equal(np.frombuffer(data, np.uint8).reshape(height, width), cut.mask)
        else:
            assert record.mask_data is None
            assert len(planes) == 4


def test_layers_and_groups_have_ids_and_groups_pass_through(writer, tmp_path):
    path = writer.write(opaque_stack(), tmp_path / "a.psd")
    ids = [record.tagged_blocks.get_data(Tag.LAYER_ID) for record, _ in layer_records(low(path))]
    assert len(set(ids)) == len(ids)
    assert min(ids) >= 1
    image = PSDImage.open(path)
    groups = {group.name: group for group in image.descendants() if group.is_group()}
    assert set(groups) == {"things", "inner", "effects"}
    assert groups["inner"].parent.name == "things"
    assert all(group.blend_mode.name == "PASS_THROUGH" and group.open_folder for group in groups.values())
    assert [layer.name for layer in groups["things"]] == ["soft", "inner"]


def test_the_merged_picture_is_the_flattened_stack(writer, tmp_path):
    stack = opaque_stack()
    path = writer.write(stack, tmp_path / "a.psd")
    shown = stack.flatten_quantized()
    assert shown[..., 3].min() == 255
    np.testing.assert_array_equal(merged(low(path)), shown[..., :3])
    with Image.open(path) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), shown[..., :3])


def test_the_merged_picture_of_a_transparent_stack_lies_on_white(writer, tmp_path):
    layers = tuple(
        Layer(name=blend, rgba=noise(20, 30, i), blend=blend, opacity=0.8) for i, blend in enumerate(BLENDS)
    )
    stack = LayerStack(canvas=Size(30, 20), layers=layers)
    found = merged(low(writer.write(stack, tmp_path / "a.psd"))).astype(int)
    wanted = quantize(matte(dequantize(stack.flatten_quantized()), 1.0))
    assert np.abs(found - wanted).max() <= 1


def test_another_compositor_sees_the_same_picture(writer, tmp_path):
    stack = opaque_stack()
    image = PSDImage.open(writer.write(stack, tmp_path / "a.psd"))
    found = np.asarray(image.composite(force=True, apply_icc=False).convert("RGB")).astype(int)
    assert np.abs(found - stack.flatten_quantized()[..., :3]).max() <= 1


def test_the_resources_describe_the_file(writer, tmp_path):
    stack = LayerStack(canvas=Size(600, 300), layers=(Layer(name="a", rgba=noise(300, 600)),))
    path = writer.write(stack, tmp_path / "a.psd", writer.Options(dpi=300))
    resources = low(path).image_resources
    assert resources.get_data(Resource.ICC_PROFILE) == srgb_profile()
    resolution = resources.get_data(Resource.RESOLUTION_INFO)
    assert (resolution.horizontal, resolution.vertical) == (300 << 16, 300 << 16)
    assert (resolution.horizontal_unit, resolution.vertical_unit) == (1, 1)
    assert resources.get_data(Resource.VERSION_INFO).has_composite
    assert resources.get_data(Resource.XMP_METADATA).startswith(b"<?xpacket begin=")
    with Image.open(path) as image:
        assert image.info["icc_profile"] == srgb_profile()


@pytest.mark.parametrize("size", [(600, 300), (10, 2000), (3, 2), (1, 1)])
def test_the_thumbnail_is_a_small_picture_of_the_merged_one(writer, tmp_path, size):
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    rgba = np.stack([x, y, 0 * x + 0.5, 0 * x + 1], axis=-1).astype(np.float32)
    path = writer.write(
        LayerStack(canvas=Size(*size), layers=(Layer(name="a", rgba=rgba),)), tmp_path / "a.psd"
    )
    image = PSDImage.open(path)
    small = image.thumbnail()
    assert max(small.size) <= 256
    assert small.size[0] / size[0] == pytest.approx(small.size[1] / size[1], abs=1 / min(size))
    whole = Image.fromarray(merged(low(path))).resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(int) - np.asarray(whole)).mean() < 4


def test_what_both_writers_make_reads_the_same(tmp_path):
    stack = opaque_stack()
    one = low(psd.write(stack, tmp_path / "1.psd"))
    two = low(psd_pytoshop.write(stack, tmp_path / "2.psd"))
    assert one.header == two.header
    assert list(one.image_resources) == list(two.image_resources)
    for key in one.image_resources:
        assert one.image_resources[key] == two.image_resources[key]
    np.testing.assert_array_equal(merged(one), merged(two))
    for (a, channels_a), (b, channels_b) in zip(layer_records(one), layer_records(two), strict=True):
        for key in ("top", "left", "bottom", "right", "blend_mode", "opacity", "clipping", "flags", "name"):
            assert getattr(a, key) == getattr(b, key), key
        assert a.mask_data == b.mask_data
        assert a.tagged_blocks == b.tagged_blocks
        planes_a = dict(zip([info.id for info in a.channel_info], channels_a, strict=True))
        planes_b = dict(zip([info.id for info in b.channel_info], channels_b, strict=True))
        assert set(planes_a) == set(planes_b)
        for number, channel in planes_a.items():  # a mask here is as large as its layer
            assert channel.compression == planes_b[number].compression
            if a.width and a.height:
                size = (a.width, a.height, 8)
                assert channel.get_data(*size) == planes_b[number].get_data(*size)
    assert_same(psd.read(tmp_path / "1.psd"), psd.read(tmp_path / "2.psd"))


def test_psd_tools_saves_the_unedited_file_byte_for_byte(writer, tmp_path):
    path = writer.write(opaque_stack(), tmp_path / "a.psd")
    image = PSDImage.open(path)
    image.save(tmp_path / "b.psd")
    if writer is psd:
        assert (tmp_path / "b.psd").read_bytes() == path.read_bytes()
    assert_same(psd.read(tmp_path / "b.psd"), psd.read(path))


def test_names_that_ascii_cannot_hold(writer, tmp_path):
    names = ["🦊 Füchse", "日本", "tab\there", "x" * 300, "x" * 299, "\x00", "e" * 254 + "🦊🦊"]
    layers = tuple(Layer(name=n, rgba=noise(2, 2, i), group=("Größe 🦊",)) for i, n in enumerate(names))
    path = writer.write(LayerStack(canvas=Size(4, 4), layers=layers), tmp_path / "a.psd")
    records = [record for record, _ in pixel_records(low(path))]
    unicode_names = [record.tagged_blocks.get_data(Tag.UNICODE_LAYER_NAME) for record in records]
    assert unicode_names[:5] == ["🦊 Füchse", "日本", "tab here", "x" * 255, "x" * 253 + " 2"]
    assert all(1 <= len(name.encode("utf-16-le")) // 2 <= 255 for name in unicode_names)
    assert [record.name for record in records][:3] == ["Fuchse", "layer 3", "tab here"]
    assert all(record.name.isascii() and record.name.isprintable() and record.name for record in records)
    again = writer.read(path)
    assert list(again.names) == unicode_names
    assert {layer.group for layer in again.layers} == {("Größe 🦊",)}


def test_the_edge_colour_bleeds_as_far_as_asked(writer, tmp_path):
    rgba = np.zeros((40, 40, 4), dtype=np.float32)
    rgba[..., 0] = 1
    rgba[10, 10, 3] = rgba[30, 30, 3] = 1
    stack = LayerStack(canvas=Size(40, 40), layers=(Layer(name="a", rgba=rgba),))
    for pixels in (0, 2, 8):
        found = writer.read(writer.write(stack, tmp_path / "a.psd", writer.Options(bleed=pixels))).layers[0]
        assert found.offset == Offset(10 - pixels, 10 - pixels)
        assert found.rgba[..., 0].sum() == (2 * pixels + 1) ** 2 * 2
        assert not found.rgba[..., 1:3].any()


@pytest.mark.parametrize("options", [{"dpi": 0}, {"dpi": float("nan")}, {"bleed": -1}, {"bleed": 65}])
def test_senseless_options_are_refused(writer, options):
    with pytest.raises(LayercliError) as caught:
        writer.Options(**options)
    assert "-O" in caught.value.hint


def long_stack() -> LayerStack:
    rgba = np.ones((2, 30_001, 4), dtype=np.float32)
    rgba[0, ::7, 0] = 0.5
    return LayerStack(canvas=Size(30_001, 2), layers=(Layer(name="a", rgba=rgba),))


def test_over_30000_pixels_it_is_a_psb_and_says_so(writer, tmp_path):
    taken = tmp_path / "a.psb"
    taken.write_bytes(b"mine")
    with pytest.warns(UserWarning, match="is a PSB") as caught:
        path = writer.write(long_stack(), tmp_path / "a.psd")
    assert len(caught) == 1
    assert path == tmp_path / "a-2.psb"
    assert taken.read_bytes() == b"mine"
    assert low(path).header.version == 2
    assert_same(long_stack(), writer.read(path))


def test_a_layer_over_30000_pixels_makes_a_psb_too(writer, tmp_path):
    stack = LayerStack(canvas=Size(5, 5), layers=long_stack().layers)
    with pytest.warns(UserWarning, match="30,000"):
        assert writer.write(stack, tmp_path / "a.psd").suffix == ".psb"


def test_over_2_gb_it_is_a_psb(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(_psd_plan, "LARGEST_PSD_BYTES", 5000)
    monkeypatch.setattr(psd, "LARGEST_PSD_BYTES", 5000)
    flat = LayerStack(canvas=Size(90, 90), layers=(Layer(name="a", rgba=np.ones((90, 90, 4), np.float32)),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if writer is psd:  # which knows the packed size
            assert writer.write(flat, tmp_path / "flat.psd").suffix == ".psd"
    with pytest.warns(UserWarning, match="2 GB"):
        path = writer.write(sample_stack(30), tmp_path / "a.psd")
    assert low(path).header.version == 2
    assert_same(sample_stack(30), writer.read(path))


def test_a_path_that_asks_for_psb_gets_one(writer, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = writer.write(opaque_stack(), tmp_path / "a.psb")
    assert path == tmp_path / "a.psb"
    assert low(path).header.version == 2
    assert_same(opaque_stack(), writer.read(path))


def test_an_empty_stack_is_a_file_with_a_white_picture(writer, tmp_path):
    path = writer.write(LayerStack(canvas=Size(3, 2), layers=()), tmp_path / "a.psd")
    assert (merged(low(path)) == 255).all()
    assert writer.read(path).canvas == Size(3, 2)


def test_pillow_reads_names_and_boxes(writer, tmp_path):
    """Not pixels: Pillow takes channels to be stored as red, green, blue, alpha; Photoshop does otherwise."""
    stack = opaque_stack()
    plain = [layer for layer in stack.layers if layer.mask is None]  # Pillow passes over the others
    with Image.open(writer.write(stack, tmp_path / "a.psd")) as image:
        entries = [entry for entry in image.layers if entry[2][2] > entry[2][0]]
    assert len(entries) == len(plain)
    for layer, (name, mode, box, *_) in zip(plain, entries, strict=True):
        cut = trim(layer)
        _, height, width = cut.planes.shape
        assert (name, mode) == (layer.name, "RGBA")
        assert box == (cut.left, cut.top, cut.left + width, cut.top + height)


@pytest.fixture(params=["written", "edited"])
def made(request, writer, tmp_path) -> tuple[LayerStack, Path]:
    """A stack and the file it was written to, or edited in place."""
    stack = opaque_stack()
    path = writer.write(stack, tmp_path / "a.psd")
    return (edited(stack, path) if request.param == "edited" else stack), path


def test_imagemagick_reads_boxes_and_pixels(made, tmp_path):
    stack, path = made
    pictures = identify("%w %h %X %Y %l", str(path))[1:]
    assert len(pictures) == len(stack.layers)
    for number, (layer, told) in enumerate(zip(stack.layers, pictures, strict=True), 1):
        cut = trim(layer)
        _, height, width = cut.planes.shape
        shown_width, shown_height, left, top, label = told.split(" ", 4)
        assert (int(shown_width), int(shown_height)) == (width, height)
        assert (int(left), int(top)) == (cut.left, cut.top)
        assert label == layer.name
        convert(f"{path}[{number}]", "-depth", "8", f"RGBA:{tmp_path / 'raw'}")
        found = np.fromfile(tmp_path / "raw", dtype=np.uint8).reshape(height, width, 4)
        seen = cut.planes[3] > 0
        np.testing.assert_array_equal(found[seen][:, :3], np.moveaxis(cut.planes, 0, -1)[seen][:, :3])
    convert(f"{path}[0]", "-depth", "8", f"RGB:{tmp_path / 'raw'}")
    shown = np.fromfile(tmp_path / "raw", dtype=np.uint8).reshape(24, 24, 3)
    np.testing.assert_array_equal(shown, stack.flatten_quantized()[..., :3])


AG_PSD = r"""
const {readPsd, initializeCanvas} = require('ag-psd');
initializeCanvas(() => { throw new Error('no canvas') },
                 (width, height) => ({width, height, data: new Uint8ClampedArray(width * height * 4)}));
const file = readPsd(require('fs').readFileSync(process.argv[1]), {useImageData: true, skipThumbnail: true});
const hex = image => Buffer.from(image.data).toString('hex');
const layers = [];
const walk = (list, path) => { for (const l of list) {
  if (l.children) walk(l.children, [...path, l.name]);
  else layers.push({name: l.name, group: path, box: [l.left, l.top, l.right, l.bottom], opacity: l.opacity,
                    blend: l.blendMode, visible: !l.hidden, pixels: hex(l.imageData),
                    mask: l.mask ? hex(l.mask.imageData) : null}); } };
walk(file.children, []);
console.log(JSON.stringify({size: [file.width, file.height], merged: hex(file.imageData), layers}));
"""


def ag_psd(path: Path) -> dict:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, and ag-psd runs in it")
    asked = subprocess.run([node, "-e", "require('ag-psd')"], capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("ag-psd is not installed (npm install ag-psd, and NODE_PATH set to its node_modules)")
    told = subprocess.run([node, "-e", AG_PSD, str(path)], capture_output=True, text=True, check=True)
    return json.loads(told.stdout)


def test_ag_psd_reads_all_of_it(made):
    stack, path = made
    found = ag_psd(path)
    assert found["size"] == [24, 24]
    shown = np.frombuffer(bytes.fromhex(found["merged"]), np.uint8).reshape(24, 24, 4)
    np.testing.assert_array_equal(shown, stack.flatten_quantized())
    assert [entry["name"] for entry in found["layers"]] == list(stack.names)
    for layer, entry in zip(stack.layers, found["layers"], strict=True):
        cut = trim(layer)
        _, height, width = cut.planes.shape
        assert entry["box"] == [cut.left, cut.top, cut.left + width, cut.top + height]
        assert entry["opacity"] == pytest.approx(cut.opacity / 255)
        assert (entry["blend"], entry["visible"]) == (layer.blend, layer.visible)
        assert tuple(entry["group"]) == layer.group
        pixels = np.frombuffer(bytes.fromhex(entry["pixels"]), np.uint8).reshape(height, width, 4)
        np.testing.assert_array_equal(pixels, np.moveaxis(cut.planes, 0, -1))
        assert (entry["mask"] is None) == (layer.mask is None)
        if entry["mask"] is not None:
            mask = np.frombuffer(bytes.fromhex(entry["mask"]), np.uint8).reshape(height, width, 4)
            np.testing.assert_array_equal(mask[..., 0], cut.mask)


def small_file(tmp_path: Path) -> bytes:
    layers = (
        Layer(name="ä", rgba=noise(3, 4), group=("g",), prompt="p"),
        Layer(name="b", rgba=noise(2, 2, 1), mask=np.full((2, 2), 0.5, dtype=np.float32)),
    )
    return psd.write(LayerStack(canvas=Size(5, 4), layers=layers), tmp_path / "small.psd").read_bytes()


def read_or_refuse(path: Path, data: bytes) -> LayerStack | None:
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return psd.read(path)
        except LayercliError as error:
            assert path.name in error.message
            assert error.hint
    return None


def test_every_truncation_is_refused_or_harmless(tmp_path):
    whole = small_file(tmp_path)
    start = whole.index(b"luni") - 400
    wanted = psd.read(tmp_path / "small.psd")
    complete = 0
    for length in [*range(0, start, 97), *range(start, len(whole), 3)]:
        stack = read_or_refuse(tmp_path / "cut.psd", whole[:length])
        if stack is not None:  # nothing but the merged picture, which is not read, can be missing
            complete += 1
            assert_same(wanted, stack)
    assert 0 < complete < 60


def test_flipped_bytes_are_refused_or_harmless(tmp_path):
    whole = small_file(tmp_path)
    rng = np.random.default_rng(0)
    start = whole.index(b"luni") - 400
    refused = 0
    for turn in range(400):
        broken = bytearray(whole)
        first = 0 if turn % 4 == 0 else start  # most of the damage where the layers are
        for place in rng.integers(first, len(whole), rng.integers(1, 5)):
            broken[place] = rng.choice([0, 255, 127, 128, rng.integers(0, 256)])
        refused += read_or_refuse(tmp_path / "broken.psd", bytes(broken)) is None
    assert 50 < refused < 400


def test_a_header_that_promises_a_giant_is_refused_at_once(tmp_path):
    data = io.BytesIO()
    data.write(
        b"8BPS\x00\x02" + bytes(6) + b"\x00\x03" + (299_999).to_bytes(4, "big") * 2 + b"\x00\x08\x00\x03"
    )
    data.write(bytes(4) + bytes(4) + bytes(8) + b"\x00\x01" + bytes(64))
    path = tmp_path / "giant.psb"
    path.write_bytes(data.getvalue())
    with pytest.raises(LayercliError, match="pixels"):
        psd.read(path)
