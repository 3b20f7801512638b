"""Data sets and stages are plug-ins: listed, outlined and run by the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from layercli.core import registry
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.formats import psd
from tests.data.mini_corpus import make_corpus

STAGES = registry.plugins("layercli.train")
SETS = registry.plugins("layercli.data")


@pytest.mark.parametrize(("group", "names"), [("train", STAGES), ("data", SETS)])
def test_a_group_lists_its_plugins(run, group, names):
    result = run(group, "--help")
    assert result.exit_code == 0
    assert names
    assert all(name in result.stdout for name in names)


@pytest.mark.parametrize("name", STAGES)
def test_the_help_of_a_stage_lists_its_options_with_their_defaults(run, name):
    result = run("train", name, "--help")
    assert result.exit_code == 0
    for field, outline in registry.outline("layercli.train", name).items():
        assert f"{field}: {outline.split()[0]}" in result.stdout


def test_an_unknown_stage_lists_those_there_are(refused):
    assert 'There is no "bas" in train. Did you mean base?' in refused("train", "bas")


def test_own_files_become_a_data_set(run, here):
    (here / "mine").mkdir()
    ground, cat = np.ones((2, 64, 64, 4), np.float32)
    cat[:, :32, 3] = 0
    stack = LayerStack(
        canvas=Size(64, 64), layers=(Layer(name="a wall", rgba=ground), Layer(name="a cat", rgba=cat))
    )
    psd.write(stack, here / "mine/one.psd", psd.Options())
    for words, out in (
        (("files", "--data", "mine"), "set"),
        (("build", "--from-files", "mine", "--jobs", "1"), "same"),
    ):
        result = run("data", *words, "--out", out, "-O", "size=32", "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == {"made": out}
    told = json.loads((here / "set/index.jsonl").read_text())
    assert told["captions"] == ["a wall", "a cat", "a cat, a wall"]
    assert json.loads((here / "same/index.jsonl").read_text()) == told


def test_a_data_set_is_built_and_its_folder_told(run, here):
    make_corpus(here / "corpus")
    result = run("data", "corpus", "--corpus", "corpus", "--out", "sets/a", "-O", "size=32", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"made": "sets/a"}
    assert json.loads((here / "sets/a/dataset.json").read_text())["size"] == 32


def test_a_layered_set_tells_what_it_holds(run, here):
    make_corpus(here / "corpus")
    assert run("data", "corpus", "--corpus", "corpus", "--out", "set", "-O", "size=64").exit_code == 0
    result = run("data", "layered", "--data", "set", "--out", "layers", "-O", "samples=3", "-O", "counts=1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == "layers"
    assert "pictures: 3\nforegrounds: 1 3\n" in result.stderr and "licences: CC0-1.0 3" in result.stderr
    words = ("--from-data", "set", "--out", "again", "-O", "samples=3", "-O", "counts=1")
    assert run("data", "build", *words).stderr == result.stderr


def test_a_stage_is_trained_resumed_and_its_folder_told(run, here):
    make_corpus(here / "corpus")
    assert run("data", "corpus", "--corpus", "corpus", "--out", "set", "-O", "size=32").exit_code == 0
    words = ["--data", "set", "--out", "run", "--device", "cpu", "-O", "crop=32", "-O", "batch=2"]
    words += ["-O", "precision=fp32", "-O", "threads=1"]
    result = run("train", "autoencoder", "--steps", "1", *words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == "run/autoencoder"
    assert (here / "run/autoencoder/config.json").exists()
    assert run("train", "autoencoder", "--steps", "2", "--resume", *words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data", "corpus"), 'corpus needs the option "corpus".'),
        (("data", "corpus", "--corpus", "none"), "none"),
        (("data", "corpus", "-O", "corpu=x"), 'corpus has no option "corpu". Did you mean corpus?'),
        (("data", "corpus", "--corpus", "c", "-O", "size=big"), 'size="big" is not a whole number.'),
        (("data", "corpus", "--corpus", "c", "--device", "cpu"), 'corpus has no option "device".'),
        (("train", "autoencoder", "--data", "none"), "none"),
        (("train", "autoencoder", "--steps", "many"), "--steps"),
        (("train", "base", "-O", "size"), '"size" is not KEY=VALUE.'),
        (("data", "build", "--from-photos", "a", "--from-files", "b"), "from one source"),
        (("data", "build"), "No prepared data set in runs/data."),
        (("data", "build", "--from-models", "none"), "No furniture catalogues (*.sh3f) in none."),
        (("data", "build", "--from-prompts", "none.txt"), "none.txt"),
    ],
)
def test_bad_input_is_one_sentence(refused, words, told):
    assert told in refused(*words)
