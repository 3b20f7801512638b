"""`layercli edit` on files of its own and of others, in place."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage
from psd_tools.psd.image_resources import ImageResource

from layercli.cli.chaining import BOXES, requests_of, usage, words_of
from layercli.cli.files import read_stack
from layercli.core.edit_requests import EditRequest
from layercli.core.pixels import open_image, save_png
from layercli.core.registry import constants, plugins
from layercli.formats import ora, png, psd, tiff, tiff_photoshop
from tests import tiny
from tests.core.test_pixels import linear_light_profile
from tests.edit import scenes
from tests.formats.test_psd_keep import bytes_of, foreign, named, raw, with_locks


@pytest.fixture
def scene(here: Path) -> Path:
    """A cat and a dog with shadow and light as a.psd."""
    psd.write(scenes.lit(), here / "a.psd")
    return Path("a.psd")


@pytest.fixture
def edit(run):
    """Edit a file; the exit code must be 0."""

    def edit_(*words: str):
        result = run("edit", *words)
        assert result.exit_code == 0, result.output
        return result

    return edit_


def test_a_chain_is_one_load_and_one_save(edit, here, scene):
    words = "move cat --by 4,-2 then opacity shadows 60% then rename dog wolf then hide wolf"
    result = edit(scene, *words.split())
    assert result.stdout == "a.psd\n"
    assert "0 of them outside the edited layers" in result.stderr
    stack = read_stack(scene)
    assert stack.layer("cat").offset.left == 8
    assert stack.layer("shadows of cat").opacity == 153 / 255
    assert not stack.layer("wolf").visible and not stack.layer("light of wolf").visible
    assert [path.name for path in here.iterdir()] == ["a.psd"]
    merged = np.asarray(PSDImage.open(scene).topil().convert("RGB"))
    np.testing.assert_array_equal(merged, stack.flatten_quantized()[..., :3])


def test_the_answer_as_json(edit, scene):
    told = json.loads(edit(scene, "move", "c*", "--by=3,0", "--json").stdout)
    assert told["edits"] == [{"edit": "move", "layers": ["c*"], "by": "3,0", "meant": ["cat"]}]
    assert told["changed"] > 100 and told["changed_outside"] == 0
    assert told["file"] == "a.psd" and told["written"] and told["backup"] is None


def test_a_dry_run_changes_nothing(edit, here, scene):
    before = scene.read_bytes()
    result = edit(scene, "delete", "dog", "then", "export", "cat", "--dry-run")
    assert "pixels would change" in result.stderr
    assert scene.read_bytes() == before
    assert [path.name for path in here.iterdir()] == ["a.psd"]


def test_backup_and_another_file(edit, here, scene):
    before = scene.read_bytes()
    edit(scene, "hide", "cat", "-o", "b.psd")
    assert scene.read_bytes() == before
    assert not read_stack(here / "b.psd").layer("cat").visible
    edit(scene, "hide", "cat", "--backup")
    edit(scene, "show", "cat", "--backup")
    assert (here / "a-backup.psd").read_bytes() == before
    assert not read_stack(here / "a-backup-2.psd").layer("cat").visible
    assert edit(scene, "hide", "dog", "-o", "b.psd").stdout == "b-2.psd\n"
    assert edit(scene, "hide", "dog", "-o", "b.psd", "--force").stdout == "b.psd\n"
    for name in ("c.ora", "c.psb"):
        edit(scene, "hide", "dog", "-o", name)
        assert not read_stack(here / name).layer("dog").visible
    assert (here / "c.psb").read_bytes()[:6] == b"8BPS\0\2"


def test_edits_are_remembered_and_replayed_on_another_file(edit, run, here, scene):
    psd.write(scenes.lit(), here / "b.psd")
    psd.write(scenes.lit(), here / "c.psd")
    edit(scene, "move", "cat", "--by", "4,0")
    edit(scene, "opacity", "dog", "50%", "then", "flip", "cat")
    receipt = read_stack(scene).receipt
    assert receipt is not None
    assert [step["edit"] for step in receipt.edits] == ["move", "opacity", "flip"]
    edit("b.psd", "--replay", scene)
    one, two = read_stack(scene), read_stack(here / "b.psd")
    np.testing.assert_array_equal(one.flatten_quantized(), two.flatten_quantized())
    assert two.receipt is not None and two.receipt.edits == receipt.edits
    edit("--replay", scene, "onto", "c.psd")
    np.testing.assert_array_equal(one.flatten_quantized(), read_stack(here / "c.psd").flatten_quantized())
    assert run("show", "b.psd", "--no-sheet").exit_code == 0


SCRIPT = [{"edit": "move", "layer": "cat", "by": [4, -2]}, {"edit": "opacity", "layers": ["dog"], "to": 0.5},
          {"edit": "flip", "layers": "cat"}]  # fmt: skip
YAML = """
edits:
  - {edit: move, layer: cat, by: "4,-2"}
  - edit: opacity
    layers: [dog]
    to: 50%
  - {edit: flip, layers: cat}
"""


def test_scripts_in_json_and_yaml(edit, here, scene):
    (here / "s.json").write_text(json.dumps(SCRIPT))
    (here / "s.yaml").write_text(YAML)
    edit(scene, "--script", "s.json", "-o", "b.psd")
    edit(scene, "--script", "s.yaml", "-o", "c.psd")
    edit(scene, *["move", "cat", "--by", "4,-2", "then", "opacity", "dog", "0.5", "then", "flip", "cat"])
    one, *others = (read_stack(here / name).flatten_quantized() for name in ("a.psd", "b.psd", "c.psd"))
    assert all(np.array_equal(one, other) for other in others)


@pytest.mark.parametrize("module", [ora, png, tiff, tiff_photoshop])
def test_other_formats_are_edited_too(edit, here, module):
    path = module.write(scenes.lit(), here / f"a{module.EXTENSIONS[0]}", module.Options())
    edit(path, "move", "cat", "--by", "4,0", "then", "blend", "dog", "multiply")
    stack = read_stack(path)
    assert (stack.layer("dog").blend, stack.layer("dog").mask is not None) == ("multiply", True)
    assert stack.receipt is not None and len(stack.receipt.edits) == 2
    wanted = psd.write(scenes.lit(), here / "b.psd")
    edit(wanted, "move", "cat", "--by", "4,0", "then", "blend", "dog", "multiply")
    np.testing.assert_array_equal(stack.flatten_quantized(), read_stack(wanted).flatten_quantized())


def test_a_file_of_another_program_keeps_what_we_do_not_know(edit, here):
    path = foreign(here)
    before = named(raw(path))
    moves = ["move", "top", "--by", "-2,2", "then", "move", "text", "--by", "1,1", "then", "rename", "empty"]
    looks = ["leer", "then", "hide", "invert it", "then", "opacity", "Gruppe", "50%"]
    result = edit(path, *moves, *looks)
    assert "keeps what layercli cannot draw: other blend modes (soft)" in result.stderr
    assert "0 of them outside the edited layers" in result.stderr
    after = named(raw(path))
    for name in ("back", "soft", "shape", "clipped", "Gruppe"):
        assert bytes_of(after[name]) == bytes_of(before[name])
    assert after["text"].block(b"zzZz") == b"secret"
    assert after["in it"].looks[0] == 128
    assert after["invert it"].looks[2] & 2
    assert "leer" in after


LINES = (
    "move text --by 2,1", "scale top 150%", "rotate top 30", "flip top vertical", "opacity soft 50%",
    "blend top screen", "rename top oben", "reorder soft --above top", "duplicate text --by 4,4",
    "delete clipped", "hide Gruppe", "show Gruppe", "mask top m.png", "crop 2,2,30,20", "canvas 50x40",
    "group top soft --name both", "replace top m.png", "export top out.png",
)  # fmt: skip


def test_every_edit_is_tried_on_files_of_other_programs():
    tried = {line.split()[0] for line in LINES}
    assert tried == set(plugins("layercli.edit")) - set(constants("layercli.edit", "MODEL"))


@pytest.mark.parametrize("line", LINES)
def test_edits_on_a_file_of_another_program(edit, here, line):
    save_png(here / "m.png", np.ones((30, 40, 4), dtype=np.float32))
    path = foreign(here)
    before, whole = named(raw(path)), raw(path)
    told = json.loads(edit(path, *line.split(), "--json").stdout)
    assert told["changed_outside"] == 0
    after = named(raw(path))
    canvas = line.startswith(("crop", "canvas"))
    touched = {"in it"} if "Gruppe" in line else set()
    for name in {"back", "in it", "Gruppe", "shape", "invert it"} - touched:
        if canvas:
            assert after[name].channels == before[name].channels
        else:
            assert bytes_of(after[name]) == bytes_of(before[name]), name
    assert raw(path).resource(4000) == whole.resource(4000) == b"plug-in"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("move text --by 1,1", '"text" cannot be moved: its position is locked.'),
        ("scale text 150%", '"text" cannot be moved: its position is locked.'),
        (
            "hide top then move Gruppe --by 1,1",
            'Step 2, move: "in it" cannot be moved',
        ),
        ("rename text title then move title --by 1,1", 'Step 2, move: "title" cannot be moved'),
        ("flip shape", '"shape" cannot be drawn on: its pixels are locked.'),
        ("replace shape m.png", '"shape" cannot be drawn on'),
        ("restyle shape --prompt x --model tiny", '"shape" cannot be drawn on'),
        ("rotate top 30", '"top" cannot be given another outline: its transparency is locked.'),
        ("opacity soft 50%", '"soft" cannot be changed: all of it is locked.'),
        ("duplicate soft then delete soft", 'Step 2, delete: "soft" cannot be deleted: all of it is locked.'),
        ("delete clipped", '"clipped" cannot be deleted: all of it is locked.'),
    ],
)
def test_locks_of_a_file_are_kept_to(refused, edit, here, tiny_model, words, told):
    (here / "tiny").symlink_to(tiny_model)
    save_png(here / "m.png", np.ones((30, 40, 4), dtype=np.float32))
    path = with_locks(foreign(here))
    before = path.read_bytes()
    said = refused("edit", str(path), *words.split())
    assert said.startswith(told) and "--locked" in said
    assert path.read_bytes() == before


def test_locked_layers_are_edited_when_that_is_asked_for(edit, here):
    path = with_locks(foreign(here))
    before = named(raw(path))
    edit(path, "move", "text", "--by", "1,1", "then", "opacity", "soft", "50%", "--locked")
    after = named(raw(path))
    assert after["text"].box[:2] == tuple(side + 1 for side in before["text"].box[:2])
    for name in ("text", "soft"):
        assert after[name].block(b"lspf") == before[name].block(b"lspf")


@pytest.mark.parametrize(
    "line",
    ["move shape --by 1,1", "move top --by -1,1", "rename soft x", "hide soft", "reorder soft --to back",
     "mask text m.png", "opacity text 50%",
     "duplicate text --by 3,3 then delete text", "crop 2,2,30,20", "canvas 50x40", "duplicate soft --by 3,3"],
)  # fmt: skip
def test_locks_forbid_no_more_than_they_say(edit, here, line):
    save_png(here / "m.png", np.ones((30, 40, 4), dtype=np.float32))
    edit(with_locks(foreign(here)), *line.split())


def test_exported_pictures(edit, here, scene):
    before = scene.read_bytes()
    assert edit(scene, "export", "cat", "fox.png").stdout == "fox.png\n"
    assert open_image(here / "fox.png").shape == (15, 15, 4)
    assert edit(scene, "export", "dog", "fox.png").stdout == "fox-2.png\n"
    assert edit(scene, "export", "dog", "fox.png", "--force").stdout == "fox.png\n"
    (here / "out").mkdir()
    result = edit(scene, "export", "cat", "dog", "out/", "--whole")
    assert result.stdout.splitlines() == ["out/cat.png", "out/dog.png"]
    assert Image.open(here / "out/dog.png").size == (48, 40)
    assert scene.read_bytes() == before
    edit(scene, "hide", "dog", "then", "export", "cat")
    assert (here / "cat.png").exists() and scene.read_bytes() != before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("hide", "fox"), 'No layer "fox" in a.psd. Layers: ground, cat, dog, shadows, light.'),
        (("hide", "cat", "then", "hide", "fox"), 'Step 2, hide: No layer "fox" in a.psd.'),
        (("hide", "?x?"), 'No layer matches "?x?" in a.psd.'),
        (("rename", "*o*", "x"), '"*o*" means 3 layers'),
        (("move", "cat", "--by", "90,0"), "would lie outside the canvas of 48x40"),
        (("move", "cat"), "move needs either --by or --to. Try: move LAYER --by 40,0"),
        (("mov", "cat"), 'There is no edit "mov". Did you mean move?'),
        (("move", "cat", "--bye", "1,1"), 'move has no option "--bye".'),
        (("move", "cat", "--by"), "--by of move has no value. Usage: move LAYER…"),
        (("move", "cat", "--by", "1,1", "--by", "2,2"), "move is given --by twice."),
        (("crop", "--layer", "cat", "--margin", "-9"), 'is left around "cat" with a margin of -9.'),
        (("crop", "1,1,2,2", "3"), 'crop cannot use "3". Usage: crop [TO]'),
        (("hide", "cat", "then"), 'There is no edit before or after a "then".'),
        ((), "There is no edit to do."),
        (("hide", "cat", "--script", "s.json"), "Edits are given in more than one way."),
        (("--script", "none.json"), "There is no file none.json."),
        (("--script", "bad.json"), "The script bad.json cannot be read"),
        (("--script", "bad.yaml"), "The script bad.yaml cannot be read"),
        (("--script", "odd.json"), "This is no edit"),
        (("--replay", "a.psd"), "a.psd says nothing of edits to repeat."),
        (("hide", "cat", "-o", "none/b.psd"), "There is no folder none."),
        (("hide", "cat", "-o", "b.xyz"), 'No format has the extension ".xyz"'),
        (("export", "cat", "none/b.png"), "There is no folder none."),
        (("regenerate", "cat", "--prompt", "\udcff"), "A prompt is not UTF-8 text"),
        (("regenerate", "cat", "--negative", "\udcff"), "A prompt is not UTF-8 text"),
    ],
)
def test_what_cannot_be_done_leaves_the_file(refused, here, scene, words, told):
    (here / "bad.json").write_text("[{]")
    (here / "bad.yaml").write_text("a: [b")
    (here / "odd.json").write_text("[5]")
    assert told in refused("edit", "a.psd", *words)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("move", "cat", "--by", "10"), "is not 2 whole numbers. Try: {edit} move cat --by 40,0"),
        (("move", "cat", "--to=1", "--alone"), "Try: {edit} move cat --to 40,0 --alone"),
        (("blend", "cat", "Multiply"), "screen, overlay. Try: {edit} blend cat multiply"),
        (("crop", "0.1,0.1,0.9,0.9"), "Try: {edit} crop 0,0,40,40"),
        (("mask", "ca?", "--box", "0,0,0.5,0.5"), "Try: {edit} mask 'ca?' --box 0,0,40,40"),
        (("add", "--fg", "a bird", "--box", "1,2"), "Try: {edit} add --fg 'a bird' --box 0.1,0.4,0.5,0.9"),
        (("canvas", "9x9", "--anchor", "Top"), "Try: {edit} canvas 9x9 --anchor top"),
        (("restyle", "cat"), 'needs the option "prompt". Try: {edit} restyle cat --prompt …'),
        (("blend", "cat"), "Try: blend LAYER normal"),
        (("hide", "dog", "then", "rotate", "cat", "x"), "Try: {edit} rotate cat 0.5"),
        (("canvas", "0x0"), "from 1 to 300000 pixels. Try: {edit} canvas 256x256"),
        (("canvas", "big"), '"big" is not a size. Try: {edit} canvas 256x256'),
        (("scale", "cat", "--to", "0x0"), "Try: scale LAYER --to 80x60"),
        (("mask", "cat", "--remove"), "has no mask. Try: {edit} mask cat mask.png"),
        (("rename", "cat", "a cat", "then", "mask", "a cat", "--apply"), "Try: {edit} mask 'a cat' mask.png"),
    ],
)
def test_a_hint_is_a_command_that_can_be_typed(refused, here, scene, words, hint):
    scene.rename("a b.psd")
    assert refused("edit", "a b.psd", *words).endswith(hint.format(edit="layercli edit 'a b.psd'"))


def test_a_locked_file_stays_locked(refused, edit, here, scene):
    scene.chmod(0o444)
    told = refused("edit", "a.psd", "hide", "cat")
    assert told.startswith("a.psd is locked: it may only be read.")
    assert told.endswith("-o a-edited.psd")
    edit("a.psd", "hide", "cat", "-o", "b.psd")
    edit("a.psd", "hide", "cat", "--dry-run")


def test_a_file_that_changes_meanwhile_is_not_overwritten(run, here, scene, monkeypatch):
    from layercli.cli import editing

    unhurried = editing._run

    def slow(*arguments):
        done = unhurried(*arguments)
        os.utime(scene, ns=(1, 1))
        return done

    monkeypatch.setattr(editing, "_run", slow)
    before = scene.read_bytes()
    result = run("edit", "a.psd", "hide", "cat")
    assert result.exit_code == 2
    assert "was changed by another program meanwhile" in result.stderr
    assert scene.read_bytes() == before


def test_missing_and_damaged_files(refused, here, scene):
    assert "There is no file none.psd." in refused("edit", "none.psd", "hide", "cat")
    (here / "cut.psd").write_bytes(scene.read_bytes()[:900])
    assert "cut.psd" in refused("edit", "cut.psd", "hide", "cat")
    (here / "flat.png").write_bytes(b"x")
    assert "flat.png" in refused("edit", "flat.png", "hide", "cat")
    (here / "old.psd").write_bytes(b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 4, 32, 3) + bytes(12))
    assert "old.psd" in refused("edit", "old.psd", "hide", "cat")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save("embedded", tmp_path_factory.mktemp("tiny")))


def test_a_chain_that_moves_and_draws(edit, here, scene, tiny_model):
    before = named(raw(scene))
    few = ("--steps", "2")
    words = ["move", "cat", "--by", "2,0", "then", "regenerate", "cat", "--prompt", "a dog", *few]
    told = json.loads(edit(scene, *words, "then", "harmonize", *few, "--model", tiny_model, "--json").stdout)
    assert told["changed_outside"] == 0
    after = named(raw(scene))
    for name in ("ground", "dog"):
        assert bytes_of(after[name]) == bytes_of(before[name])
    assert after["cat"].channels != before["cat"].channels
    stack = read_stack(scene)
    assert (stack.layer("cat").prompt, stack.layer("dog").prompt) == ("a dog", "")
    assert {"shadows", "light"} <= set(stack.names)
    receipt = stack.receipt
    assert receipt is not None and receipt.weights and "torch" in receipt.versions
    assert [step["edit"] for step in receipt.edits] == ["move", "regenerate", "harmonize"]
    psd.write(scenes.lit(), here / "b.psd")
    assert receipt.edits[1]["model"] == tiny_model and "model" not in receipt.edits[0]
    edit("b.psd", "--replay", scene)
    again = read_stack(here / "b.psd")
    np.testing.assert_array_equal(again.flatten_quantized(), stack.flatten_quantized())


def test_layers_called_by_a_part_of_their_name(edit, here, tiny_model):
    stack = scenes.one_object()
    cat = dataclasses.replace(stack.layer("cat"), name="a cat")
    psd.write(stack.replace("cat", cat), here / "b.psd")
    words = "move cat --by 4,0 then opacity shadow 60% then harmonize --steps 2 --model"
    result = edit("b.psd", *words.split(), tiny_model)
    assert 'Note: "cat" was read as "a cat".' in result.stderr
    assert 'Note: "shadow" was read as "shadows".' in result.stderr
    assert read_stack(here / "b.psd").layer("a cat").offset.left == 8


def test_a_new_thing_and_another_background(edit, here, scene, tiny_model):
    more = ("--steps", "2", "--no-light", "--model", tiny_model)
    edit(scene, "add", "--fg", "a bird", "--box", "0.5,0,1,0.5", *more)
    assert "a bird" in read_stack(scene).names
    edit(scene, "background", "--prompt", "a beach", *more)
    stack = read_stack(scene)
    assert stack.layer("ground").prompt == "a beach"
    assert stack.names.index("a bird") == 3
    edit(scene, "restyle", "dog", "--prompt", "a dog, flat", "--strength", "0.5", *more)
    assert read_stack(scene).layer("dog").prompt == "a dog, flat"


def test_one_run_has_one_model(refused, here, scene):
    script = [{"edit": "harmonize", "model": name} for name in ("embedded", "sdxl")]
    (here / "s.json").write_text(json.dumps(script))
    assert "several models: embedded, sdxl." in refused("edit", "a.psd", "--script", "s.json")


def test_a_model_that_is_not_there_leaves_the_file(refused, scene):
    words = ("a.psd", "regenerate", "cat", "--prompt", "a dog", "--model", "sdxl")
    assert '"sdxl" is not on this machine' in refused("edit", *words)


def test_colours_of_another_profile_are_not_drawn_into(refused, edit, here):
    image = PSDImage.new("RGB", (8, 8))
    image.image_resources[1039] = ImageResource(key=1039, data=linear_light_profile())
    image.create_pixel_layer_from_array(np.full((4, 4, 3), 55, dtype=np.uint8), name="a")
    image.save(here / "p.psd")
    assert "has a profile other than sRGB" in refused("edit", "p.psd", "export", "a")
    edit("p.psd", "move", "a", "--by", "1,1")
    assert "could not hold" in refused("edit", "p.psd", "hide", "a", "-o", "p.ora")


def test_words_mean_what_they_say():
    [request] = requests_of(["opacity", "a", "b", "60%"])
    assert request == EditRequest(edit="opacity", layers=("a", "b"), options={"to": "60%"})
    assert requests_of(["flip", "a", "b"])[0].layers == ("a", "b")
    assert requests_of(["flip", "a", "vertical"])[0].options == {"axis": "vertical"}
    assert requests_of(["scale", "a", "b", "--to", "9x9"])[0].layers == ("a", "b")
    assert requests_of(["mask", "a", "m.png"])[0].options == {"picture": "m.png"}
    assert requests_of(["mask", "a", "--invert"])[0].options == {"invert": "yes"}
    assert requests_of(["move", "a", "--by", "-4,2", "--no-alone"])[0].options == {
        "by": "-4,2",
        "alone": "no",
    }
    for text in ("move a b --by=-4,2 --alone=yes", "crop --to=1,2,3,4", "rename a --to=b"):
        [request] = requests_of(text.split())
        assert words_of(request) == text.split()
        assert EditRequest.from_dict(request.to_dict()) == request


def test_help_lists_every_edit_without_loading_one():
    code = (
        "import sys; from layercli.cli.app import main; sys.argv = ['layercli', 'edit', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m in ('torch', 'scipy', 'psd_tools', 'layercli.edit.move')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    shown = "".join(done.stdout.split())
    for name in plugins("layercli.edit"):
        assert "".join(usage(name).split()) in shown


def test_usage_tells_boxes_of_fractions_from_boxes_of_pixels():
    assert "[--box L,T,R,B]" in usage("add")
    assert "[--box L,T,W,H]" in usage("mask")
    assert "L,T,W,H" in plugins("layercli.edit")["crop"]
    assert [line.partition(":")[0] for line in BOXES] == ["L,T,R,B", "L,T,W,H"]


def test_a_backup_of_a_file_that_stays_is_told_to_be_none(edit, here, scene):
    result = edit(scene, "hide", "cat", "--backup", "-o", "b.psd")
    assert "Note: No backup was made: b.psd is a new file, and a.psd stays as it was." in result.stderr
    result = edit(scene, "hide", "dog", "--backup", "-o", "b.psd", "--force")
    assert "No backup" not in result.stderr
    assert sorted(path.name for path in here.iterdir()) == ["a.psd", "b-backup.psd", "b.psd"]


def test_a_folder_of_pictures_has_a_backup_too(edit, here):
    png.write(scenes.plain(), here / "a.layers", png.Options())
    edit("a.layers", "hide", "cat", "--backup")
    assert read_stack(here / "a-backup.layers").layer("cat").visible
    assert not read_stack(here / "a.layers").layer("cat").visible
