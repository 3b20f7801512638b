"""OpenRaster by zipfile, ElementTree and Pillow alone, files of other programs, and hostile files."""

from __future__ import annotations

import io
import struct
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import quantize
from layercli.formats.ora import Options, read, write
from tests.formats.stacks import RECEIPT, noise, sample_stack
from tests.formats.test_png import bomb


@pytest.fixture
def archive(tmp_path):
    with zipfile.ZipFile(write(sample_stack(), tmp_path / "a.ora")) as opened:
        yield opened


def picture(archive: zipfile.ZipFile, name: str) -> Image.Image:
    return Image.open(io.BytesIO(archive.read(name)))


def test_the_mimetype_comes_first_and_uncompressed(archive):
    first = archive.infolist()[0]
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
    with open(archive.filename, "rb") as file:
        assert file.read(54)[30:] == b"mimetypeimage/openraster"


def test_merged_picture_and_thumbnail_are_there(tmp_path, archive):
    np.testing.assert_array_equal(picture(archive, "mergedimage.png"), sample_stack().flatten_quantized())
    assert picture(archive, "Thumbnails/thumbnail.png").size == (24, 24)
    large = LayerStack(canvas=Size(600, 300), layers=(Layer(name="a", rgba=noise(300, 600)),))
    with zipfile.ZipFile(write(large, tmp_path / "b.ora")) as opened:
        assert picture(opened, "Thumbnails/thumbnail.png").size == (256, 128)


def test_the_stack_lists_layers_front_to_back_in_their_groups(archive):
    image = ElementTree.fromstring(archive.read("stack.xml"))
    assert (image.tag, image.get("w"), image.get("h")) == ("image", "24", "24")
    (root,) = image
    shape = [(child.tag, child.get("name")) for child in root]
    assert shape == [("stack", "effects"), ("stack", "things"), ("layer", "hidden"), ("layer", "ground")]
    assert all(group.get("isolation") == "auto" for group in root.iter("stack") if group is not root)
    inner, soft = root[1]
    assert (inner.tag, inner.get("name"), inner[0].get("name")) == ("stack", "inner", "masked")
    assert (soft.get("name"), float(soft.get("opacity"))) == ("soft", 204 / 255)
    operators = [layer.get("composite-op") for layer in root[0]]
    assert operators == ["svg:overlay", "svg:screen", "svg:multiply", "svg:src-over"]
    assert [layer.get("visibility") for layer in root.iter("layer")].count("hidden") == 1


def test_pillow_sees_every_layer_where_it_belongs_and_masks_in_its_alpha(archive):
    stack = sample_stack()
    elements = list(ElementTree.fromstring(archive.read("stack.xml")).iter("layer"))
    for element, layer in zip(reversed(elements), stack.layers, strict=True):
        found = np.asarray(picture(archive, element.get("src")))
        left, top = int(element.get("x")) - layer.offset.left, int(element.get("y")) - layer.offset.top
        box = (slice(top, top + found.shape[0]), slice(left, left + found.shape[1]))
        rgba = layer.rgba.copy()
        if layer.mask is not None:
            rgba[..., 3] *= layer.mask
        wanted = quantize(rgba)
        assert wanted[..., 3].sum() == wanted[box][..., 3].sum()  # all that is seen is in the box
        seen = wanted[box][..., 3] > 0
        np.testing.assert_array_equal(found[seen], wanted[box][seen])


def test_the_receipt_is_a_file_of_its_own(archive):
    assert archive.read("layercli/receipt.json").decode() == RECEIPT.to_json()


def build(path, stack_xml: str | bytes, **members: bytes):
    """An .ora file of another program."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", stack_xml)
        for name, content in members.items():
            archive.writestr(f"{name}.png", content)
    return path


def dot(*colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (2, 2), colour).save(file, "PNG")
    return file.getvalue()


def test_groups_of_other_programs_pass_on_what_they_have(tmp_path):
    xml = """<?xml version='1.0' encoding='UTF-8'?><image w="9" h="8"><stack>
      <stack name="outer" x="1" y="2" opacity="0.5">
        <layer src="a.png" x="3" y="-4" opacity="0.5"/>
        <stack name="" visibility="hidden"><layer name="in" src="a.png"/></stack>
      </stack>
      <text x="1">hello</text>
      <layer name="back" src="b.png" composite-op="svg:multiply"/>
    </stack></image>"""
    path = build(tmp_path / "a.ora", xml, a=dot(1, 2, 3, 255), b=dot(4, 5, 6, 7))
    stack = read(path)
    back, inside, nameless = stack.layers
    assert (back.name, back.blend, back.group) == ("back", "multiply", ())
    assert (inside.name, inside.visible, inside.group) == ("in", False, ("outer", "group"))
    assert (inside.offset, inside.opacity) == (Offset(1, 2), 0.5)
    assert (nameless.offset, nameless.opacity, nameless.group) == (Offset(4, -2), 0.25, ("outer",))
    assert quantize(back.rgba)[0, 0].tolist() == [4, 5, 6, 7]


def test_a_blend_mode_that_stacks_do_not_have_is_told(tmp_path):
    xml = '<image w="2" h="2"><stack><layer name="glow" src="a.png" composite-op="svg:plus"/></stack></image>'
    path = build(tmp_path / "a.ora", xml, a=dot(1, 2, 3, 4))
    with pytest.warns(UserWarning, match=r'"glow".*svg:plus'):
        assert read(path).layers[0].blend == "normal"


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "{}">]>'.format("&a;" * 50)
HOSTILE = {
    "entities": LAUGHS + '<image w="2" h="2"><stack><layer name="&b;" src="a.png"/></stack></image>',
    "other files": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    '<image w="2" h="2"><stack><layer name="&a;" src="a.png"/></stack></image>',
    "depth": '<image w="2" h="2">' + "<stack>" * 5000 + "</stack>" * 5000 + "</image>",
    "traversal": '<image w="2" h="2"><stack><layer src="../../etc/passwd"/></stack></image>',
    "absolute": '<image w="2" h="2"><stack><layer src="/etc/hostname"/></stack></image>',
    "no picture": '<image w="2" h="2"><stack><layer name="a"/></stack></image>',
    "not a picture": '<image w="2" h="2"><stack><layer src="stack.xml"/></stack></image>',
    "huge canvas": '<image w="200000" h="200000"><stack><layer src="a.png"/></stack></image>',
    "no canvas": '<image><stack><layer src="a.png"/></stack></image>',
    "negative": '<image w="-2" h="2"><stack><layer src="a.png"/></stack></image>',
    "nan": '<image w="2" h="2"><stack><layer src="a.png" opacity="nan"/></stack></image>',
    "text for a number": '<image w="2" h="2"><stack><layer src="a.png" x="left"/></stack></image>',
    "no stack": '<image w="2" h="2"/>',
    "something else": "<svg><stack/></svg>",
    "not closed": '<image w="2" h="2"><stack>',
    "empty": "",
    "many": '<image w="2" h="2"><stack>' + '<layer src="a.png"/>' * 20_000 + "</stack></image>",
    "huge pictures": '<image w="2" h="2"><stack><layer src="bomb.png"/></stack></image>',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(tmp_path, kind):
    path = build(tmp_path / "a.ora", HOSTILE[kind], a=dot(1, 2, 3, 4), bomb=bomb(60_000, 60_000))
    with pytest.raises(LayercliError, match=r"a\.ora") as caught:
        read(path)
    assert caught.value.message.endswith(".") and caught.value.hint


def test_a_description_without_end_is_not_unpacked(tmp_path):
    path = build(tmp_path / "a.ora", b'<image w="2" h="2">' + b" " * (17 << 20))
    with pytest.raises(LayercliError, match="too long"):
        read(path)


def test_pictures_that_unpack_to_more_than_fits_are_refused_by_their_heads(tmp_path):
    xml = '<image w="2" h="2"><stack><layer src="a.png"/></stack></image>'
    path = build(tmp_path / "a.ora", xml, a=dot(1, 2, 3, 4))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")  # the last entry of the central directory: a.png
    content[place + 24 : place + 28] = struct.pack("<I", 0xF0000000)
    path.write_bytes(content)
    with pytest.raises(LayercliError, match="more than can be read"):
        read(path)


@pytest.mark.parametrize("level", [-1, 10])
def test_levels_are_checked(level):
    with pytest.raises(LayercliError, match="level"):
        Options(level=level)
