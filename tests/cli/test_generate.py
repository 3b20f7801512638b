"""The main job, end to end, on a tiny model of the embedded family: real classes, random weights."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layercli.cli.files import read_stack
from layercli.cli.making import notes_on_words
from layercli.core.pixels import quantize, save_png
from layercli.core.requests import GenerateRequest
from layercli.formats import psd
from tests import tiny
from tests.cli.conftest import STOPPED, started

CAT = ("--fg", "a cat", "--bg", "a sofa")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("embedded", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def draw(run, tiny_model):
    """Generate with the tiny model in two steps; the exit code must be 0."""

    def draw_(*words: str):
        model = () if "--from" in words else ("--model", str(tiny_model), "--steps", "2")
        result = run("generate", *model, *words)
        assert result.exit_code == 0, result.output
        return result

    return draw_


def pixels(path: Path) -> np.ndarray:
    return read_stack(path).flatten_quantized()


def test_a_cat_on_a_sofa_is_a_layered_psd(draw, here):
    result = draw(*CAT, "--seed", "7")
    assert result.stdout == "a-cat-on-a-sofa.psd\n"
    stack = read_stack(here / "a-cat-on-a-sofa.psd")
    assert str(stack.canvas) == "256x256"
    assert "a cat" in stack.names
    assert stack.names.index("a cat") > 0
    assert np.all(stack.placed(0)[..., 3] == 1)
    assert {layer.blend for layer in stack.layers if layer.group} <= {"multiply", "screen"}
    assert stack.receipt is not None
    assert GenerateRequest.from_dict(stack.receipt.request).seed == 7
    assert stack.receipt.weights
    assert set(stack.receipt.versions) >= {"layercli", "torch"}
    assert stack.receipt.seconds > 0
    assert stack.receipt.command.startswith("layercli generate --fg 'a cat' --bg 'a sofa'")


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(draw, here):
    for name, seed in (("one", "7"), ("two", "7"), ("three", "8")):
        draw(*CAT, "--seed", seed, "-o", f"{name}.psd")
    one, two, three = (read_stack(here / f"{name}.psd") for name in ("one", "two", "three"))
    assert one.names == two.names
    assert all(np.array_equal(one.placed(i), two.placed(i)) for i in range(len(one.layers)))
    assert not np.array_equal(one.flatten(), three.flatten())


def test_foregrounds_lie_in_the_order_they_are_given(draw, here):
    draw("--fg", "a dog", "--fg", "a ball", "--bg", "a beach", "-o", "dog.psd")
    names = read_stack(here / "dog.psd").names
    assert names.index("a dog") < names.index("a ball")


def test_four_pictures_are_four_files_with_four_seeds(draw, here):
    result = draw(*CAT, "--count", "4", "--seed", "3", "--json")
    told = json.loads(result.stdout)["pictures"]
    assert [picture["files"] for picture in told] == [[f"a-cat-on-a-sofa-{n}.psd"] for n in (1, 2, 3, 4)]
    assert [picture["request"]["seed"] for picture in told] == [3, 4, 5, 6]
    assert result.stderr == "" or "Note:" in result.stderr
    draw(*CAT, "--seed", "5", "-o", "third.psd")
    assert np.array_equal(pixels(here / "a-cat-on-a-sofa-3.psd"), pixels(here / "third.psd"))


def test_four_formats_hold_the_same_picture(draw, here):
    result = draw(*CAT, "--format", "png,tiff,ora,psd", "-o", "cat")
    paths = [here / line for line in result.stdout.splitlines()]
    assert [path.name for path in paths] == ["cat.layers", "cat.tif", "cat.ora", "cat.psd"]
    first = pixels(paths[0]).astype(int)
    for path in paths:
        shown = pixels(path).astype(int)
        assert np.abs(shown - first).max() <= 1, path


def test_a_file_repeats_itself(draw, here):
    draw(*CAT, "--seed", "7", "--guidance", "2", "-o", "cat.psd")
    draw("--from", "cat.psd", "-o", "again.psd")
    draw("--from", "cat.psd", "--seed", "8", "-o", "other.psd")
    assert np.array_equal(pixels(here / "cat.psd"), pixels(here / "again.psd"))
    assert not np.array_equal(pixels(here / "cat.psd"), pixels(here / "other.psd"))
    receipt = read_stack(here / "other.psd").receipt
    assert receipt is not None
    assert receipt.request["guidance"] == 2


def test_the_command_in_the_receipt_repeats_it_too(draw, run, here):
    import shlex

    draw(*CAT, "--seed", "7", "--box", "cat=0.1,0.4,0.5,0.9", "-o", "cat.psd")
    receipt = read_stack(here / "cat.psd").receipt
    assert receipt is not None
    assert run(*shlex.split(receipt.command)[1:], "-o", "again.psd").exit_code == 0
    assert np.array_equal(pixels(here / "cat.psd"), pixels(here / "again.psd"))


def test_a_box_says_where_a_foreground_stands(draw, here):
    draw(*CAT, "--box", "cat=0.5,0.5,1,1", "-o", "box.psd")
    alpha = read_stack(here / "box.psd").placed("a cat")[..., 3]
    assert alpha.max() > 0
    assert alpha[:96].sum() + alpha[:, :96].sum() < 0.1 * alpha.sum()


def test_a_mask_says_where_a_foreground_stands(draw, here):
    mask = np.zeros((256, 256, 4), dtype=np.float32)
    mask[..., 3] = 1
    mask[128:, 128:, :3] = 1
    save_png(here / "m.png", mask)
    draw(*CAT, "--mask", "cat=m.png", "-o", "mask.psd")
    alpha = read_stack(here / "mask.psd").placed("a cat")[..., 3]
    assert alpha.max() > 0
    assert alpha[:96].sum() + alpha[:, :96].sum() < 0.1 * alpha.sum()


def test_nothing_is_overwritten_unless_forced(draw, here):
    (here / "cat.psd").write_text("mine")
    assert draw(*CAT, "-o", "cat.psd").stdout == "cat-2.psd\n"
    assert (here / "cat.psd").read_text() == "mine"
    assert draw(*CAT, "-o", "cat.psd", "--force").stdout == "cat.psd\n"
    assert len(read_stack(here / "cat.psd").layers) >= 2


def test_a_name_with_slashes_is_a_layer_name_and_no_path(draw, here):
    draw("--fg", "../../a/cat", "--bg", "/etc/passwd", "--format", "psd,png")
    assert sorted(path.name for path in here.iterdir()) == [
        "a-cat-on-etc-passwd.layers",
        "a-cat-on-etc-passwd.psd",
    ]
    assert "../../a/cat" in read_stack(here / "a-cat-on-etc-passwd.psd").names
    assert all(path.parent == here / "a-cat-on-etc-passwd.layers" for path in here.rglob("*.png"))


def test_a_background_alone_is_one_picture(draw, here):
    result = draw("--bg", "a sofa", "--seed", "3")
    assert result.stdout == "a-sofa.psd\n"
    stack = read_stack(here / "a-sofa.psd")
    assert stack.names == ("background",) and (stack.layers[0].rgba[..., 3] == 1).all()
    assert stack.layers[0].rgba[..., :3].std() > 0.02
    assert stack.receipt.command.startswith("layercli generate --bg 'a sofa' --seed 3")
    draw("--from", "a-sofa.psd", "-o", "again.psd")
    assert np.array_equal(pixels(here / "again.psd"), pixels(here / "a-sofa.psd"))
    draw("--fg", "a cat", "--from", "a-sofa.psd", "-o", "with.psd", "--harmonize", "over")
    assert read_stack(here / "with.psd").names == ("background", "a cat")


def test_a_given_background_is_the_canvas_and_stays_pixel_by_pixel(draw, here):
    photo = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    Image.fromarray(photo).save(here / "photo.png")
    words = ("--given", "photo.png", "--fg", "a ball", "--bg", "a cat", "--harmonize", "over")
    assert "scaled" not in draw(*words, "-o", "gv.psd").stderr
    stack = read_stack(here / "gv.psd")
    assert str(stack.canvas) == "150x100"
    assert np.array_equal(quantize(stack.placed("background"))[..., :3], photo)
    assert "--size 150x100" in stack.receipt.command
    draw("--from", "gv.psd", "-o", "again.psd")
    assert np.array_equal(pixels(here / "again.psd"), pixels(here / "gv.psd"))
    # A size that is asked for is kept, also the one that is usual without a picture.
    told = draw(*words, "--size", "256x256", "-o", "scaled.psd").stderr
    assert (
        "photo.png is 150x100 and is scaled to a canvas of 256x256. Its own pixels stay with --size 150x100"
        in told
    )
    scaled = read_stack(here / "scaled.psd")
    assert str(scaled.canvas) == "256x256" and "--size 256x256" in scaled.receipt.command


def test_a_foreground_alone_is_a_thing_on_transparency(draw, here):
    assert draw("--fg", "a cat", "--seed", "3").stdout == "a-cat.psd\n"
    stack = read_stack(here / "a-cat.psd")
    assert stack.names == ("a cat",)
    assert stack.receipt.command.startswith("layercli generate --fg 'a cat' --seed")
    assert stack.placed("a cat")[..., 3].std() > 0.01
    draw("--from", "a-cat.psd", "-o", "again.psd")
    assert np.array_equal(pixels(here / "again.psd"), pixels(here / "a-cat.psd"))
    draw("--fg", "a cat", "--box", "cat=0,0.5,0.5,1", "-o", "placed.psd")
    layer = read_stack(here / "placed.psd").layer("a cat")
    assert layer.offset.top >= 127 and layer.rgba.shape[1] <= 129
    draw("--from", "a-cat.psd", "--bg", "a sofa", "--harmonize", "over", "-o", "with.psd")
    assert read_stack(here / "with.psd").names == ("background", "a cat")


def test_a_foreground_alone_needs_a_model_with_alpha(run, refused, here):
    folder = str(tiny.save("sd15", here / "mine"))
    small = ("--size", "32x32", "--steps", "2", "--device", "cpu")
    words = ("generate", "--fg", "a cat", "--model", folder, *small)
    told = refused(*words)
    assert "draws no transparency" in told and "--method layerdiffuse" in told
    weights = tiny.layerdiffuse(here / "weights", "sd15")
    more = ("--method", "layerdiffuse", "-O", f"weights={weights}", "-o", "cat.psd")
    result = run(*words, *more)
    assert result.exit_code == 0, result.stderr
    receipt = read_stack(here / "cat.psd").receipt
    assert "layerdiffuse/layer_sd15_transparent_attn.safetensors" in receipt.weights


def test_long_prompts_are_told(run, here):
    tiny.save("sd15", here / "tiny")
    long = "a small red boat on calm water at noon"
    result = run("generate", "--bg", long, "--model", "tiny", "--steps", "1", "--size", "32x32")
    assert result.exit_code == 0, result.stderr
    assert 'longer prompts are read in parts: "a small red boat on calm water…" in 3 parts' in result.stderr


def test_a_dry_run_tells_and_makes_nothing(run, here):
    result = run("generate", *CAT, "--count", "2", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "a-cat-on-a-sofa-1.psd\na-cat-on-a-sofa-2.psd\n"
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--fg", "", "--bg", "a sofa"), "The foreground prompt is empty."),
        (("--fg", "a cat", "--bg", "  "), "The background prompt is empty."),
        (("--fg", "a cat", "--bg", ""), "The background prompt is empty."),
        (("--prompt", "a cat on a sofa", "--bg", ""), "The background prompt is empty."),
        (("--fg", "a cat", "--given", "small.png"), "what small.png shows is to be said in words too."),
        (("--fg", "a cat", "--fg", "a dog", "--given", "small.png"), "what small.png shows is to be said"),
        ((), "There is no picture to draw."),
        (("--fg", "a cat", "--fg", "a dog"), "There is no background to draw."),
        ((*CAT, "--model", "embeded"), 'There is no model "embeded". Did you mean "embedded"?'),
        ((*CAT, "--model", "sdxl"), '"sdxl" is not on this machine'),
        ((*CAT, "--method", "layerfuson"), 'There is no "layerfuson" in generate.'),
        ((*CAT, "-O", "no-such-key=1"), 'has no option "no-such-key".'),
        ((*CAT, "--method", "dreamlayer"), "layercli train dreamlayer"),
        ((*CAT, "--method", "layerdiff", "-O", "adapter=none"), "There is no layerdiff adapter in none."),
        ((*CAT, "-o", "none/cat.psd"), "There is no folder none."),
        ((*CAT, "-o", "/proc/cat.psd"), "Nothing can be written to /proc"),
        ((*CAT, "-o", "cat.xyz"), 'No format has the extension ".xyz"'),
        ((*CAT, "--format", "psd,xyz"), 'There is no format "xyz".'),
        ((*CAT, "--size", "0x0"), "A picture cannot be 0x0"),
        ((*CAT, "--bg", "\udcff"), "A prompt is not UTF-8 text"),
        ((*CAT, "--size", "200000x100000", "--dry-run"), "A picture of 200000x100000 needs about 894 GiB"),
        ((*CAT, "--size", "big"), '"big" is not a size.'),
        ((*CAT, "--count", "0"), "--count"),
        ((*CAT, "--steps", "0"), "steps 0 is not from 1 to 1000."),
        ((*CAT, "--seed", "-1"), "seed -1 is not from 0"),
        ((*CAT, "--guidance", "nan"), "guidance is a number"),
        ((*CAT, "--harmonize", "ihr"), 'harmonize cannot be "ihr".'),
        ((*CAT, "--box", "dog=0,0,1,1"), 'No foreground is called "dog".'),
        ((*CAT, "--box", "cat=0,0,1"), "is not four numbers."),
        ((*CAT, "--mask", "cat=small.png"), 'The mask "small.png" is 8x8, but the picture is 256x256.'),
        ((*CAT, "--mask", "cat=broken.png"), "broken.png"),
        ((*CAT, "--mask", "cat=none.png"), "none.png"),
        ((*CAT, "--mask", "cat"), '"cat" is not KEY=VALUE.'),
        ((*CAT, "--device", "gpu"), 'There is no kind of device called "gpu".'),
        ((*CAT, "--dtype", "int8"), 'There is no number type called "int8".'),
        (("--from", "none.psd"), "There is no file none.psd."),
        (("--from", "broken.psd"), "broken.psd"),
        (("--from", "plain.psd"), "plain.psd holds no request to repeat."),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(refused, here, tiny_model, stack, words, told):
    save_png(here / "small.png", np.ones((8, 8, 4), dtype=np.float32))
    (here / "broken.png").write_bytes((here / "small.png").read_bytes()[:40])
    (here / "broken.psd").write_bytes(b"8BPS\0\1")
    psd.write(stack, here / "plain.psd", psd.Options())
    model = () if {"--model", "--from"} & set(words) else ("--model", str(tiny_model))
    assert told in refused("generate", *model, *words)


def test_a_truncated_weight_file_is_named(refused, here, tiny_model):
    shutil.copytree(tiny_model, here / "model")
    weights = here / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "diffusion_pytorch_model.safetensors" in refused("generate", *CAT, "--model", "model")


def test_a_word_the_model_never_saw_is_told_with_its_neighbours():
    known = GenerateRequest(foregrounds=("a cat",), background="a sofa")
    assert notes_on_words(known) == []
    [note] = notes_on_words(known.replace(foregrounds=("a cat", "a molecule", "a molecule")))
    assert '"molecule"; the nearest words it knows are ' in note
    assert note.endswith("layercli models")
    [note] = notes_on_words(known.replace(background="猫"))
    assert 'never saw "猫", and knows no word like it. For more' in note
    assert notes_on_words(known.replace(foregrounds=("a molecule",), model="sdxl")) == []


def test_a_long_run_is_estimated_before_it_begins(draw):
    told = draw(*CAT, "-o", "cat.psd").stderr
    assert "GiB are free" in told
    assert told.index("GiB are free") < told.index(" s\n", told.index("GiB are free"))


@pytest.mark.parametrize("wait", [0.0, 3.0])
def test_ctrl_c_leaves_nothing_behind(here, tiny_model, wait):
    words = ["generate", *CAT, "--model", str(tiny_model), "--steps", "1000", "-o", "cat.psd"]
    running = started(*words)
    assert running.stderr is not None
    assert "Loading" in running.stderr.readline()
    time.sleep(wait)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode in STOPPED
    assert "Stopped." in told
    assert "Traceback" not in told
    assert list(here.iterdir()) == []


def test_a_trained_method_draws_with_its_adapter_and_tells_its_hash(draw, here, tiny_model):
    from layercli.models.catalog import load_model
    from layercli.models.dreamlayer import DreamLayer

    DreamLayer(load_model(str(tiny_model), "cpu").unet).save(here / "adapter")
    draw(*CAT, "--method", "dreamlayer", "-O", "adapter=adapter", "-o", "cat.psd")
    receipt = read_stack(here / "cat.psd").receipt
    assert receipt is not None
    assert receipt.request["method"] == "dreamlayer"
    assert len(receipt.weights["dreamlayer/adapter.safetensors"]) == 64
