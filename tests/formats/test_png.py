"""A folder of PNGs: what Pillow and a manifest alone make of it, and what a hostile folder cannot do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import quantize
from layercli.formats import png
from layercli.formats.png import Options, read, write
from tests.formats.stacks import RECEIPT, assert_same, noise, sample_stack


def plain_stack() -> LayerStack:
    """Normal, opaque in opacity and without masks: what any program that pastes can put together."""
    layers = [
        dataclasses.replace(layer, blend="normal", opacity=1.0, mask=None) for layer in sample_stack().layers
    ]
    return LayerStack(canvas=Size(24, 24), layers=tuple(layers), receipt=RECEIPT)


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def change_manifest(folder, **changes):
    manifest = manifest_of(folder)
    manifest["layers"][0].update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_pillow_and_the_manifest_put_the_picture_together(tmp_path):
    stack = plain_stack()
    folder = write(stack, tmp_path / "a.layers")
    manifest = manifest_of(folder)
    assert [entry["order"] for entry in manifest["layers"]] == list(range(len(stack.layers)))
    canvas = Image.new("RGBA", (manifest["canvas"]["width"], manifest["canvas"]["height"]))
    for entry in manifest["layers"]:
        picture = Image.open(folder / entry["file"])
        assert picture.mode == "RGBA" and picture.size == (entry["width"], entry["height"])
        if entry["visible"]:
            placed = Image.new("RGBA", canvas.size)
            placed.paste(picture, (entry["x"], entry["y"]))
            canvas = Image.alpha_composite(canvas, placed)
    composite = np.asarray(Image.open(folder / "composite.png")).astype(int)
    np.testing.assert_array_equal(composite, stack.flatten_quantized())
    assert np.abs(np.asarray(canvas).astype(int) - composite).max() <= 2  # Pillow rounds after every layer


def test_the_manifest_names_every_file_with_its_sha256(tmp_path):
    folder = write(sample_stack(), tmp_path / "a.layers")
    manifest = manifest_of(folder)
    entries = [*manifest["layers"], manifest["composite"]]
    entries += [entry["mask"] for entry in manifest["layers"] if "mask" in entry]
    for entry in entries:
        assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert sorted(os.listdir(folder)) == sorted(["manifest.json", *(entry["file"] for entry in entries)])


def test_the_receipt_is_in_the_composite_too(tmp_path):
    folder = write(sample_stack(), tmp_path / "a.layers")
    assert json.loads(Image.open(folder / "composite.png").text["layercli"]) == json.loads(RECEIPT.to_json())
    assert read(folder / "composite.png").receipt == RECEIPT


def test_on_the_full_canvas_files_can_be_stacked_blindly(tmp_path):
    stack = sample_stack()
    layers = tuple(dataclasses.replace(layer, blend="normal") for layer in stack.layers if layer.visible)
    stack = dataclasses.replace(stack, layers=layers)
    folder = write(stack, tmp_path / "a.layers", Options(full_canvas=True))
    files = sorted(f for f in os.listdir(folder) if f.endswith(".png") and f != "composite.png")
    assert len(files) == len(layers)
    blind = Image.new("RGBA", (24, 24))
    for file in files:
        blind = Image.alpha_composite(blind, Image.open(folder / file))
    assert np.abs(np.asarray(blind).astype(int) - stack.flatten_quantized()).max() <= 2
    again = read(folder)
    assert all(layer.size == stack.canvas and layer.mask is None for layer in again.layers)
    assert np.abs(again.flatten_quantized().astype(int) - stack.flatten_quantized()).max() <= 1


def test_names_of_layers_never_lead_out_of_the_folder(tmp_path):
    names = ["../../up", "/etc/passwd", "..", "a/b", "c:\\d", "nul", "e\x00f", "same", "SAME"]
    layers = tuple(Layer(name=name, rgba=noise(2, 2)) for name in names)
    folder = write(LayerStack(canvas=Size(2, 2), layers=layers), tmp_path / "a.layers")
    assert os.listdir(tmp_path) == ["a.layers"]
    assert len(os.listdir(folder)) == len(names) + 2 == len({f.casefold() for f in os.listdir(folder)})
    assert all((folder / f).is_file() for f in os.listdir(folder))


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "sub/x.png", "..", "", "link.png", "gone.png"]
)
def test_a_manifest_cannot_name_files_elsewhere(tmp_path, name):
    secret = tmp_path / "secret.png"
    Image.new("RGBA", (24, 24)).save(secret)
    folder = write(sample_stack(), tmp_path / "a.layers")
    (folder / "sub").mkdir()
    Image.new("RGBA", (24, 24)).save(folder / "sub" / "x.png")
    (folder / "link.png").symlink_to(secret)
    change_manifest(folder, file=name, sha256=hashlib.sha256(secret.read_bytes()).hexdigest())
    with pytest.raises(LayercliError, match=r"not a file of the folder|missing"):
        read(folder)


def test_a_file_that_was_changed_is_told_and_can_be_allowed(tmp_path):
    folder = write(plain_stack(), tmp_path / "a.layers")
    file = folder / manifest_of(folder)["layers"][0]["file"]
    Image.new("RGBA", (24, 24), (9, 8, 7, 255)).save(file)
    with pytest.raises(LayercliError, match="SHA-256") as caught:
        read(folder)
    assert file.name in caught.value.message and "manifest.json" in caught.value.hint
    manifest = manifest_of(folder)
    del manifest["layers"][0]["sha256"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert quantize(read(folder).layers[0].rgba)[0, 0].tolist() == [9, 8, 7, 255]


WRONG = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = ["file", "name", "x", "y", "width", "height", "opacity", "blend", "visible", "group", "mask", "order"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), wrong=WRONG)
def test_a_manifest_of_wrong_values_is_refused_or_read(tmp_path, key, wrong):
    shutil.rmtree(tmp_path / "a.layers", ignore_errors=True)
    folder = write(sample_stack(), tmp_path / "a.layers")
    change_manifest(folder, **{key: wrong})
    try:
        assert isinstance(read(folder), LayerStack)
    except LayercliError as error:
        assert error.message.endswith(".") and error.hint


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "null", '{"layers": NaN}', '{"canvas": {}, "layers": []}', "[" * 100_000, "\xff", "{"],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text):
    folder = write(sample_stack(), tmp_path / "a.layers")
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(LayercliError, match="layers"):
        read(folder)


def test_a_folder_without_a_manifest_is_read_by_name(tmp_path):
    for number, name in enumerate(["02-fox.png", "01_hill.PNG", "00 sky.png", "10.png", "11-fox.png"]):
        Image.new("RGBA", (5, 4), (number, 0, 0, 200)).save(tmp_path / name, "PNG")
    Image.new("RGBA", (5, 4)).save(tmp_path / "composite.png")
    (tmp_path / "notes.txt").write_text("hello")
    stack = read(tmp_path)
    assert stack.names == ("sky", "hill", "fox", "10", "fox 2")
    assert [int(quantize(layer.rgba)[0, 0, 0]) for layer in stack.layers] == [2, 1, 0, 3, 4]
    assert stack.canvas == Size(5, 4) and all(layer.offset == Offset() for layer in stack.layers)


def test_without_a_manifest_all_pictures_have_one_size(tmp_path):
    Image.new("RGBA", (5, 4)).save(tmp_path / "0.png")
    Image.new("RGBA", (5, 5)).save(tmp_path / "1.png")
    with pytest.raises(LayercliError, match=r'"1\.png" has another'):
        read(tmp_path)


def test_a_flat_picture_is_a_stack_of_one_layer(tmp_path):
    Image.new("RGB", (6, 3), (1, 2, 3)).save(tmp_path / "my cat.png")
    stack = read(tmp_path / "my cat.png")
    assert stack.names == ("my cat",) and stack.canvas == Size(6, 3) and stack.receipt is None


@pytest.mark.parametrize("prepare", ["other", "extra", "broken"])
def test_a_folder_with_other_things_in_it_is_never_replaced(tmp_path, prepare):
    folder = tmp_path / "a.layers"
    if prepare == "other":
        folder.mkdir()
    else:
        write(sample_stack(), folder)
    if prepare == "broken":
        (folder / "manifest.json").write_text("{")
    (folder / "holiday.jpg").write_bytes(b"precious")
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with pytest.raises(LayercliError):
        write(sample_stack(), folder)
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "a.layers").mkdir()
    assert_same(sample_stack(), read(write(sample_stack(), tmp_path / "a.layers")))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_pictures_that_claim_to_be_enormous_are_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(bomb(60_000, 60_000))
    with pytest.raises(LayercliError, match="pixels"):
        read(tmp_path)
    with pytest.raises(LayercliError, match="pixels"):
        read(tmp_path / "0.png")


@pytest.mark.parametrize("level", [-1, 10])
def test_levels_are_checked(level):
    with pytest.raises(LayercliError, match="level"):
        Options(level=level)


def test_the_module_says_where_its_files_go():
    assert png.EXTENSIONS[0] == ".layers"
