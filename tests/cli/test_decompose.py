"""Photos come apart from the command line: files, names, places, receipts, and every way it goes wrong."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layercli.cli.files import read_stack
from layercli.core.decompose_request import DecomposeRequest
from layercli.core.pixels import quantize, save_png
from tests.decompose.made import ball, over, wall

BOX = "ball=0.25,0.2,0.75,0.8"


def photo(path: Path, colour=(0.8, 0.15, 0.1), seed: int = 0) -> np.ndarray:
    """Save a photo of a ball before a wall; its pixels."""
    rgb = over(wall(seed=seed), ball(), colour)
    Image.fromarray(quantize(rgb)).save(path)
    return quantize(rgb)


@pytest.fixture
def apart(run):
    """Decompose with words added; the exit code must be 0."""

    def apart_(*words: str):
        result = run("decompose", *words)
        assert result.exit_code == 0, result.output
        return result

    return apart_


def test_a_photo_becomes_a_psd_that_is_the_photo(apart, here):
    pixels = photo(here / "photo.png")
    result = apart("photo.png")
    assert result.stdout == "photo.psd\n"
    assert "Recomposition error: 0/255 at most, exact. Leakage into the background: object " in result.stderr
    assert "Objects are cut by colour alone" in result.stderr
    stack = read_stack(here / "photo.psd")
    assert stack.names == ("background", "object")
    np.testing.assert_array_equal(stack.flatten_quantized()[..., :3], pixels)


def test_every_format_gives_the_photo(apart, here):
    pixels = photo(here / "photo.png").astype(int)
    result = apart("photo.png", "--box", BOX, "--format", "psd,tiff,ora,png,tiff-photoshop")
    assert len(result.stdout.splitlines()) == 5
    for line in result.stdout.splitlines():
        stack = read_stack(here / line)
        assert np.abs(stack.flatten_quantized()[..., :3] - pixels).max() <= 1, line
        assert "ball" in stack.names


def test_the_answer_as_json(apart, here):
    photo(here / "photo.png")
    [told] = json.loads(apart("photo.png", "--box", BOX, "--json").stdout)["pictures"]
    assert told["files"] == ["photo.psd"]
    assert told["layers"] == ["background", "ball"]
    assert told["recomposition"] == {"most": 0, "psnr": None, "off": 0.0}
    assert 0 <= told["leakage"]["ball"] < 0.1
    assert DecomposeRequest.from_dict(told["request"]).boxes == {"ball": (0.25, 0.2, 0.75, 0.8)}


def test_a_file_repeats_itself_and_so_does_its_command(apart, here):
    photo(here / "photo.png")
    apart("photo.png", "--box", BOX, "--seed", "3", "-O", "radius=2", "-o", "one.psd")
    receipt = read_stack(here / "one.psd").receipt
    assert receipt is not None
    assert receipt.weights["photo.png"]
    apart("--from", "one.psd", "-o", "two.psd")
    apart(*shlex.split(receipt.command)[2:], "-o", "three.psd")
    one, two, three = (read_stack(here / f"{name}.psd") for name in ("one", "two", "three"))
    assert one.names == two.names == three.names
    for name in one.names:
        np.testing.assert_array_equal(one.placed(name), two.placed(name))
        np.testing.assert_array_equal(one.placed(name), three.placed(name))
    again = read_stack(here / "two.psd").receipt
    assert again is not None
    assert again.request == receipt.request


def test_a_photo_that_has_changed_since_is_told(apart, here):
    photo(here / "photo.png")
    apart("photo.png", "--box", BOX, "-o", "one.psd")
    photo(here / "photo.png", seed=1)
    assert "photo.png has changed since" in apart("--from", "one.psd", "-o", "two.psd").stderr


def test_folders_and_patterns_name_many_photos_and_nothing_is_overwritten(apart, here):
    (here / "in").mkdir()
    (here / "out").mkdir()
    for name in ("a.png", "b.png"):
        photo(here / "in" / name)
    (here / "in" / "notes.txt").write_text("no photo")
    assert apart("in", "-o", "out/").stdout.split() == ["out/a.psd", "out/b.psd"]
    assert apart("in/*.png", "-o", "out/").stdout.split() == ["out/a-2.psd", "out/b-2.psd"]
    assert apart("in", "-o", "all.psd").stdout.split() == ["all-1.psd", "all-2.psd"]
    assert apart("in/a.png", "in/a.png", "-o", "out/", "--force").stdout.split() == ["out/a.psd"]


def test_photos_of_one_name_get_files_of_their_own(apart, here):
    for folder in ("x", "y"):
        (here / folder).mkdir()
        photo(here / folder / "a.png")
    assert apart("x/a.png", "y/a.png").stdout.split() == ["a.psd", "a-2.psd"]


def test_one_bad_photo_does_not_stop_the_others(run, here):
    photo(here / "a.png")
    (here / "b.png").write_bytes(b"broken")
    Image.new("RGB", (40, 30), "gray").save(here / "c.png")
    photo(here / "d.png")
    result = run("decompose", "a.png", "b.png", "c.png", "d.png")
    assert result.exit_code == 2
    assert result.stdout.split() == ["a.psd", "d.psd"]
    assert "b.png" in result.stderr
    assert "c.png: Nothing stands out" in result.stderr
    assert "2 of 4 photos failed." in result.stderr


def test_masks_are_named_by_their_files(apart, here):
    photo(here / "photo.png")
    save_png(here / "red ball.png", ball()[..., None].repeat(3, axis=-1))
    result = apart("photo.png", "--mask", "red ball.png")
    assert read_stack(here / "photo.psd").names == ("background", "red ball")
    assert "Objects are cut by colour alone" not in result.stderr


def test_points_and_boxes_may_go_without_names(apart, here):
    photo(here / "photo.png")
    apart("photo.png", "--point", "48,36")
    assert read_stack(here / "photo.psd").names == ("background", "point 1")


def test_layers_that_are_asked_for_are_looked_for_in_what_is_left(apart, here):
    rgb = over(wall(), ball(centre=(0.5, 0.35), radius=0.2), (0.8, 0.15, 0.1))
    rgb = over(rgb, ball(centre=(0.5, 0.95), radius=0.2), (0.1, 0.5, 0.2))
    Image.fromarray(quantize(rgb)).save(here / "two.png")
    apart("two.png", "--layers", "2", "-o", "one.psd")
    apart("two.png", "--layers", "3", "-o", "both.psd")
    assert len(read_stack(here / "one.psd").layers) == 2
    both = read_stack(here / "both.psd").layers
    assert len(both) == 3
    assert all((layer.rgba[..., 3] > 0.5).any() for layer in both)


def test_a_dry_run_says_what_would_be_done(apart, here):
    photo(here / "photo.png")
    [told] = json.loads(apart("photo.png", "--box", BOX, "--dry-run", "--json").stdout)["pictures"]
    assert told["files"] == ["photo.psd"]
    assert told["command"] == "layercli decompose photo.png --box ball=0.25,0.2,0.75,0.8"
    assert not (here / "photo.psd").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "There is no photo to take apart. Try: layercli decompose photo.jpg"),
        (("none.jpg",), "There is no photo none.jpg."),
        (("folder",), "There is no photo in the folder folder."),
        (("gray.png",), "Nothing stands out in gray.png. Say where the object is: --box"),
        (("dot.png",), "Nothing stands out in dot.png."),
        (("broken.jpg",), "broken.jpg"),
        (("loop.jpg",), '"loop.jpg" is a link that leads back to itself.'),
        (("photo.png", "--objects", "b\udcff"), "An object's name is not UTF-8 text"),
        (("photo.png", "--box", "1,2,3"), '--box "1,2,3" is not 4 numbers.'),
        (("photo.png", "--box", "cat=0.5,0.1,0.4,0.9"), 'The box of "cat" is empty.'),
        (("photo.png", "--point", "900,3"), "lies outside the photo of 96x72."),
        (("photo.png", "--point", "a"), '--point "a" is not 2 numbers.'),
        (("photo.png", "--layers", "many"), '--layers "many" is no number.'),
        (("photo.png", "--layers", "1"), "One layer is the photo itself."),
        (("photo.png", "--layers", "0"), "One layer is the photo itself."),
        (("photo.png", "--layers", "99"), "layers 99 is not a whole number from 2 to 32."),
        (("photo.png", "--mask", "none.png"), 'There is no file "none.png".'),
        (("photo.png", "--mask", "gray.png"), 'The mask "gray.png" is 40x30, but the picture is 96x72.'),
        (("photo.png", "--method", "matter"), 'There is no "matter" in decompose. Did you mean matte?'),
        (("photo.png", "--net", "u3net"), 'There is no net "u3net".'),
        (("photo.png", "--net", "u2net"), "u2net is not on this machine."),
        (("photo.png", "--objects", "the cat; the cup"), "Grounding DINO is not on this machine"),
        (("photo.png", "--objects", "a cat", "-O", "detector=folder"), "cannot be read as Grounding DINO"),
        (
            (
                "photo.png",
                "--objects",
                "a cat",
                "--method",
                "inversion",
                "-O",
                "foregrounds=a",
                "-O",
                "background=b",
            ),
            "inversion does not look for objects by name.",
        ),
        (("photo.png", "--objects", ""), "--objects names nothing."),
        (("photo.png", "--objects", "a cat", "--objects", " ; "), "--objects names nothing."),
        (("photo.png", "--model", "sdxl"), 'matte has no option "model".'),
        (
            (
                "photo.png",
                "--method",
                "inversion",
                "--offload",
                "model",
                "-O",
                "foregrounds=a",
                "-O",
                "background=b",
            ),
            "nothing to gain from --offload model",
        ),
        (("photo.png", "-O", "bnad=3"), 'matte has no option "bnad". Did you mean band?'),
        (("photo.png", "-O", "band=0"), "band=0 is not from 0 to 0.5."),
        (("photo.png", "-o", "no/photo.psd"), "There is no folder no."),
        (("--from", "plain.psd"), "holds no photo's request to repeat."),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(refused, here, stack, words, told, monkeypatch):
    from layercli.formats import psd

    monkeypatch.setenv("U2NET_HOME", str(here / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "none"))
    photo(here / "photo.png")
    (here / "folder").mkdir()
    (here / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (here / "loop.jpg").symlink_to("loop.jpg")
    Image.new("RGB", (40, 30), "gray").save(here / "gray.png")
    Image.new("RGB", (1, 1), "gray").save(here / "dot.png")
    psd.write(stack, here / "plain.psd", psd.Options())
    assert told in refused("decompose", *words)


def test_names_to_look_for_are_kept_in_the_request(apart, here):
    photo(here / "photo.png")
    words = ("--objects", "the cat; the  cup", "--objects", "a ball", "--dry-run", "--json")
    [told] = json.loads(apart("photo.png", *words).stdout)["pictures"]
    assert told["request"]["sought"] == ["the cat", "the cup", "a ball"]
    assert told["command"] == "layercli decompose photo.png --objects 'the cat; the cup; a ball'"
    [again] = json.loads(apart(*shlex.split(told["command"])[2:], "--dry-run", "--json").stdout)["pictures"]
    assert again["request"] == told["request"]
    assert DecomposeRequest.from_dict(told["request"]).to_dict() == told["request"]


def test_a_tiff_is_never_overwritten_by_its_own_layers(refused, here):
    photo(here / "photo.tif")
    told = refused("decompose", "photo.tif", "--format", "tiff", "--force")
    assert "photo.tif is a photo to take apart." in told
