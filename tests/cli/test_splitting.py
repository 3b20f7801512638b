"""`generate --prompt` alone: split, shown on stderr, in the answer and in the file."""

from __future__ import annotations

import json
import shlex

import pytest

from layercli.cli.files import read_stack
from tests import tiny


def test_a_description_alone_is_split_shown_and_kept(run, here, tmp_path_factory):
    model = tiny.save("embedded", tmp_path_factory.mktemp("tiny"))
    text = "a cat without a hat sleeping on a sofa"
    words = ("--prompt", text, "--model", str(model), "--steps", "1", "--harmonize", "none")
    result = run("generate", *words, "--json", "-o", "cat.psd")
    assert result.exit_code == 0, result.output
    [told] = json.loads(result.stdout)["pictures"]
    assert told["split"] == {
        "foregrounds": ["a sleeping cat"],
        "background": "a sofa",
        "whole": text,
        "negative": "hat",
        "by": "rules",
    }
    stack = read_stack(here / "cat.psd")
    assert "a sleeping cat" in stack.names
    assert stack.receipt is not None
    kept = stack.receipt.request
    assert (kept["foregrounds"], kept["background"]) == (["a sleeping cat"], "a sofa")
    assert (kept["prompt"], kept["negative"]) == (text, "hat")
    again = run(*shlex.split(told["command"])[1:], "--dry-run", "--json")
    assert json.loads(again.stdout)["pictures"][0]["request"] == told["request"]


def test_the_split_is_shown_in_words_that_can_be_typed(run):
    result = run("generate", "--prompt", "a dog", "--dry-run")
    assert "Split by rules: --fg 'a dog' --bg 'a plain light background'" in result.stderr
    assert "No background is named; a plain one is taken." in result.stderr


def test_what_is_typed_counts_more_than_what_is_split(run):
    words = ("--prompt", "a cat on a sofa", "--bg", "a beach", "--negative", "blur", "--dry-run", "--json")
    [told] = json.loads(run("generate", *words).stdout)["pictures"]
    request = told["request"]
    assert (request["foregrounds"], request["background"]) == (["a cat"], "a beach")
    assert request["negative"] == "blur"
    idle = run("generate", "--fg", "a cat", "--bg", "a sofa", "--planner", "nowhere", "--dry-run")
    assert idle.exit_code == 0 and "--planner has nothing to split" in idle.stderr
    both = run("generate", "--prompt", "ein Bild", "--fg", "a cat", "--bg", "a sofa", "--dry-run", "--json")
    assert "split" not in json.loads(both.stdout)["pictures"][0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--prompt", "eine Katze auf dem Sofa"), "split English alone"),
        (("--prompt", "a beach at sunset"), "nothing that stands in front"),
        (("--prompt", "a cat", "--planner", "nowhere"), "The folder nowhere holds no language model"),
    ],
)
def test_what_cannot_be_split_stops_it(refused, words, told):
    assert told in refused("generate", *words)
