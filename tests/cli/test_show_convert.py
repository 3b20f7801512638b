"""Files are listed, drawn and converted, and what cannot be read or written is said in one sentence."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from PIL import Image

from layercli.cli.files import read_stack
from layercli.core import registry
from layercli.core.layers import Layer, LayerStack
from layercli.formats import ora, psd

FORMATS = sorted(registry.plugins("layercli.formats"))


def test_show_lists_the_layers_and_draws_them(run, here, boat_psd):
    result = run("show", "boat.psd")
    assert result.exit_code == 0, result.stderr
    assert "a/../boat" in result.stdout
    assert "80%" in result.stdout
    assert "4x4" in result.stdout
    assert "2,3" in result.stdout
    assert result.stdout.index("sea") < result.stdout.index("a/../boat")
    with Image.open(here / "boat-sheet.png") as sheet:
        assert sheet.width == 1600
    assert "boat-sheet.png" in result.stderr


def test_show_answers_in_json(run, here, boat_psd):
    result = run("show", "boat.psd", "--json", "--no-sheet")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    told = json.loads(result.stdout)
    assert told["canvas"] == [12, 8]
    assert [layer["name"] for layer in told["layers"]] == ["sea", "a/../boat"]
    assert told["layers"][1]["offset"] == [2, 3]
    assert told["layers"][1]["opacity"] == pytest.approx(0.8, abs=1 / 255)
    assert told["sheet"] is None
    assert sorted(path.name for path in here.iterdir()) == ["boat.psd"]


def test_a_sheet_never_replaces_another_unless_forced(run, here, boat_psd):
    (here / "boat-sheet.png").write_text("mine")
    assert run("show", "boat.psd", "--quiet").exit_code == 0
    assert (here / "boat-sheet.png").read_text() == "mine"
    assert (here / "boat-sheet-2.png").stat().st_size > 1000
    assert run("show", "boat.psd", "--quiet", "--force").exit_code == 0
    assert (here / "boat-sheet.png").stat().st_size > 1000


@pytest.mark.parametrize("name", FORMATS)
def test_convert_writes_every_format_and_it_reads_the_same(run, here, boat_psd, stack, name):
    result = run("convert", "boat.psd", "out/", "--format", name)
    assert result.exit_code == 2  # the folder is not there yet
    (here / "out").mkdir()
    result = run("convert", "boat.psd", "out/", "--format", name)
    assert result.exit_code == 0, result.stderr
    path = here / result.stdout.strip()
    assert path.parent == here / "out"
    again = read_stack(path, name)
    assert np.abs(again.flatten() - stack.flatten()).max() <= 1.5 / 255
    assert len(list((here / "out").iterdir())) == 1


def test_convert_goes_by_extension_and_there_and_back(run, here, boat_psd):
    assert run("convert", "boat.psd", "boat.ora").exit_code == 0
    result = run("convert", "boat.ora", "again.psd", "--json")
    assert json.loads(result.stdout) == {"files": [{"path": "again.psd", "format": "psd"}]}
    told = [
        json.loads(run("show", name, "--json", "--no-sheet").stdout) for name in ("boat.psd", "again.psd")
    ]
    assert told[0]["layers"] == told[1]["layers"]


def test_convert_hands_options_to_the_format(run, here, boat_psd):
    assert run("convert", "boat.psd", "boat.layers", "-O", "full_canvas=yes").exit_code == 0
    sizes = {Image.open(path).size for path in (here / "boat.layers").glob("*.png")}
    assert sizes == {(12, 8)}


def test_convert_never_overwrites_unless_forced(run, here, boat_psd):
    (here / "out.ora").write_text("mine")
    result = run("convert", "boat.psd", "out.ora")
    assert result.stdout.strip() == "out-2.ora"
    assert (here / "out.ora").read_text() == "mine"
    assert run("convert", "boat.psd", "out.ora", "--force").stdout.strip() == "out.ora"
    assert len(read_stack(here / "out.ora").layers) == 2


def test_a_folder_of_layers_is_never_written_into(run, here, boat_psd):
    words = ("convert", "boat.psd", "a.layers")
    assert [run(*words).stdout.strip() for _ in range(2)] == ["a.layers", "a-2.layers"]
    assert run("edit", "boat.psd", "hide", "sea", "-o", "a.layers").stdout.strip() == "a-3.layers"
    files = sorted((here / "a.layers").iterdir())
    assert run("convert", "a-3.layers", "a.layers", "--force").stdout.strip() == "a.layers"
    assert sorted((here / "a.layers").iterdir()) == files
    assert not read_stack(here / "a.layers").layer("sea").visible


def test_what_a_format_must_tell_is_a_note(run, here):
    long = Layer(name="line", rgba=np.ones((1, 30_001, 4), dtype=np.float32))
    ora.write(LayerStack(canvas=long.size, layers=(long,)), here / "long.ora")
    result = run("convert", "long.ora", "long.psd")
    assert result.stdout == "long.psb\n"
    assert result.stderr.startswith('Note: "long.psb" is a PSB, which fewer programs open')
    assert "Warning" not in result.stderr


def test_files_written_before_one_that_failed_are_named(run, here, boat_psd, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.psd")

    monkeypatch.setattr(psd, "write", full)
    result = run("convert", "boat.psd", "a", "--format", "ora,tiff,psd")
    assert result.exit_code == 2
    assert "The disk is full: a.psd was not written." in result.stderr
    assert result.stderr.strip().endswith("Written already: a.ora, a.tif")
    assert len(read_stack(here / "a.ora").layers) == 2
    (here / "a.ora").unlink()
    assert "Written already" not in run("convert", "boat.psd", "b.psd").stderr


def test_links_that_lead_back_to_themselves(run, refused, here, boat_psd):
    for name in ("loop.psd", "loop.png", "loop.json"):
        (here / name).symlink_to(name)
    for words in (
        ("show", "loop.psd"),
        ("convert", "loop.psd", "a.ora"),
        ("edit", "loop.psd", "hide", "sea"),
    ):
        assert "There is no file loop.psd." in refused(*words)
    for words in (("decompose", "loop.png"), ("edit", "boat.psd", "replace", "sea", "loop.png")):
        assert '"loop.png" is' in refused(*words)
    own = "loop.json is a link that leads back to itself."
    assert own in refused("edit", "boat.psd", "--script", "loop.json")
    assert run("convert", "boat.psd", "loop.psd").stdout == "loop-2.psd\n"
    assert run("convert", "boat.psd", "loop.psd", "--force").stdout == "loop.psd\n"
    assert len(read_stack(here / "loop.psd").layers) == 2


def test_a_layer_too_far_away_is_refused(refused, here, boat_psd):
    place = f"{10**9 + 1},0"
    assert "1,000,000,000 pixels" in refused("edit", "boat.psd", "move", "sea", "--to", place, "--off-canvas")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "none.psd"), "There is no file none.psd."),
        (("show", "boat.xyz"), 'No format has the extension ".xyz" of boat.xyz. There are: '),
        (("show", "broken.psd"), "broken.psd"),
        (("show", "cut.psd"), "cut.psd"),
        (("show", "broken.png"), "broken.png"),
        (("show", "broken.ora"), "broken.ora"),
        (("show", "broken.tif"), "broken.tif"),
        (("show", "empty"), "empty"),
        (("show", "boat.psd", "--format", "pds"), 'There is no "pds" in formats. Did you mean psd?'),
        (("show", "boat.psd", "--width", "5"), "A sheet 5 pixels wide cannot be drawn."),
        (("show", "boat.psd", "--background", "green"), 'A sheet cannot be "green".'),
        (("show", "boat.psd", "--sheet", "none/s.png"), "There is no folder none."),
        (("show",), "Missing argument"),
        (("convert", "boat.psd", "a.xyz"), 'No format has the extension ".xyz"'),
        (("convert", "boat.psd", "none/a.ora"), "There is no folder none."),
        (("convert", "boat.psd", "a.ora", "-O", "levl=1"), 'has no option "levl"'),
        (("convert", "boat.psd", "a.layers", "-O", "level=10"), "level of 10 is not from 0 to 9"),
        (("convert", "broken.psd", "a.ora"), "broken.psd"),
        (("convert", "none.psd", "a.ora"), "There is no file none.psd."),
    ],
)
def test_bad_input_is_one_sentence_and_harms_no_file(refused, here, boat_psd, words, told):
    (here / "boat.xyz").write_bytes(b"what")
    for name in ("broken.psd", "broken.png", "broken.ora", "broken.tif"):
        (here / name).write_bytes(b"8BPS not at all")
    (here / "cut.psd").write_bytes(boat_psd.read_bytes()[:300])
    (here / "empty").mkdir()
    assert told in refused(*words)
