"""The scoreboard on a tiny model: drawn once, resumed, complete, and refused where it cannot be."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from layercli.cli.board_methods import _timed
from layercli.core.errors import LayercliError
from layercli.core.pixels import open_image
from layercli.evaluate import _board as board
from layercli.evaluate._board_methods import compare_methods
from layercli.evaluate._run import Evaluation
from layercli.evaluate.recognition import noun_in
from layercli.generate._frames import draw_frames
from layercli.models.vocabulary import embedded_words
from layercli.vision.object_net import embedded_net
from tests import tiny
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("embedded", tmp_path_factory.mktemp("model"))


def words(model: Path, *more: str) -> tuple[str, ...]:
    sizes = ("--nouns", "cat,car,sofa", "--seeds", "2", "--stacks", "2", "--steps", "2")
    return ("eval", "embedded", "--model", str(model), *sizes, "-o", "board", *more)


def test_the_board_is_drawn_measured_and_resumed(run: Run, here: Path, model: Path):
    done = run(*words(model, "--json"))
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made == json.loads((here / "board/scoreboard.json").read_text())
    assert made["objects"] == 6 and set(made["recognition"]["by_noun"]) == {"cat", "car", "sofa"}
    assert 0 < made["recognition"]["ceiling"]["top1"] <= 1
    assert [word["word"] for word in made["synonyms"]] == ["kitty", "kitten", "sedan"]
    assert made["kid"]["objects"]["n"] == 6 and made["kid"]["scenes"]["n"] == 40
    found = made["methods"]["layerfusion"]
    assert found["samples"] == 2 and found["memory_mib"] > 100
    assert found["shell"]["processor_seconds"] > 0 and found["shell"]["seconds"] > 0.5
    scores = {score["metric"] for score in found["scores"]}
    assert "agreement.mean" in scores and made["compared"] == {}
    assert {goal["goal"].split(",")[0] for goal in made["goals"]} >= {"top-1", "top-5"}
    page = (here / "board/scoreboard.html").read_text()
    assert page.count("data:image/png;base64,") == 6

    files = {path: path.stat().st_mtime_ns for path in here.rglob("*.p*") if path.suffix in (".png", ".psd")}
    lost = here / "board/objects/seed-1/cat.png"
    before = open_image(lost)
    lost.unlink()
    again = run(*words(model))
    assert again.exit_code == 0, again.output
    assert "Drawing 1 foregrounds" in again.stderr and "goal: top-1" in again.stdout
    assert np.abs(open_image(lost) - before).mean() < 0.5 / 255  # a batch of one adds up in another order
    assert all(path.stat().st_mtime_ns == time for path, time in files.items() if path != lost)
    other = run(*words(model, "--guidance", "2"))
    assert other.exit_code == 2
    assert "made with another guidance" in other.stderr


def test_methods_are_compared_and_the_best_is_named(run: Run, here: Path, model: Path):
    own = shutil.copytree(model, here / "model")
    few = ("eval", "embedded", "--model", "model", "--nouns", "cat", "--seeds", "1", "--stacks", "2")
    words = (*few, "--steps", "1", "-o", "board", "--json", "--methods")
    absent = run(*words, "dreamlayer")
    assert absent.exit_code == 2 and "layercli train dreamlayer" in absent.stderr
    assert not (here / "board").exists()
    tiny.adapter(own, own / "dreamlayer", "dreamlayer", 1)
    done = run(*words, "all")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert list(made["methods"]) == ["dreamlayer", "layerfusion"]
    assert set(made["compared"]["points"]) == set(made["methods"])
    page = (here / "board/scoreboard.html").read_text()
    assert f"Best method: <b>{made['compared']['best']}</b>" in page
    tiny.adapter(own, own / "dreamlayer", "dreamlayer", 2)
    assert "made with another adapter" in run(*words, "all").stderr
    assert run(*words, "layerfusion").exit_code == 0
    assert "have no alpha of their own" in run(*words, "layerdiffuse").stderr


def test_the_better_method_gets_the_points():
    """By numbers of which more is better, and less; one that is the same for both gives none."""
    good, bad = (
        {
            str(i): {
                "recognition.top1": max(high, i % 2),
                "leakage.share": low + k * i / 99,
                "health.cut": 0.0,
            }
            for i in range(9)
        }
        for high, low, k in ((1.0, 0.1, 0.01), (0.0, 0.5, 0.02))
    )
    found = compare_methods({"layerfusion": bad, "dreamlayer": good})
    assert found["points"] == {"layerfusion": -2, "dreamlayer": 2} and found["best"] == "dreamlayer"
    told = {row["number"]: (row["best"], row["told"]) for row in found["numbers"]}
    assert told["leakage.share"] == ("dreamlayer", "shown against layerfusion")
    assert told["health.cut"][1] == "no difference shown"
    same = compare_methods({"dreamlayer": good, "layerfusion": good})
    assert same["best"] == "layerfusion"  # the default stays where nothing is shown
    assert compare_methods({"layerfusion": good}) == {}


def test_a_synonym_is_judged_by_its_noun():
    nouns = tuple(board.SYNONYMS.values())
    assert {word: noun_in(f"a {word}", nouns) for word in board.SYNONYMS} == dict(board.SYNONYMS)


def test_synonyms_are_in_no_caption():
    counts = embedded_words().counts
    assert not [word for word in board.SYNONYMS if word in counts]
    assert all(noun in counts for noun in board.SYNONYMS.values()) and len(board.SYNONYMS) >= 20


def test_what_is_wrong_has_its_sentence(refused, model: Path):
    assert 'does not know "okapi"' in refused("eval", "embedded", "--nouns", "okapi")
    assert "There are 100 nouns, not 900." in refused("eval", "embedded", "--nouns", "900")
    assert 'There is no method "magic"' in refused("eval", "embedded", "--methods", "magic")
    assert 'There is no model "none"' in refused("eval", "embedded", "--model", "none", "-o", ".")


def test_frames_do_not_depend_on_their_batch():
    model = tiny.embedded()
    settings = {"seed": 3, "steps": 2, "guidance": 4.0, "levels": (0.06, 0.94), "specks": 0.01}
    prompts = ["a cat", "a car", "a sofa"]
    together = list(draw_frames(model, prompts, "foreground", **settings))
    alone = list(draw_frames(model, prompts, "foreground", batch=1, **settings))
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(together, alone, strict=True))
    scene = next(draw_frames(model, ["a beach"], "background", **settings))
    assert scene[..., 3].min() == 1


def test_the_prompt_file_holds_fifty_pictures_of_two_and_three_layers():
    found = board.layered_prompts()
    assert len(found) == len(set(found)) == 50
    assert [len(things) for things, _ in found].count(1) == 30
    nouns = embedded_net().nouns
    assert all(noun_in(thing, nouns) for things, _ in found for thing in things)


def test_the_noun_of_a_prompt():
    nouns = embedded_net().nouns
    assert noun_in("a fluffy cat on a sofa", nouns) == "cat"
    assert noun_in("two red cars, 3d render", nouns) == "car"
    assert noun_in("a kitty", nouns) == "cat" and noun_in("an armchair", nouns) == "chair"
    assert noun_in("a contraption", nouns) == ""


def test_rates_count_nouns_alike_and_failures_as_misses():
    found = Evaluation(values={"a": {"recognition.top1": 1.0}, "b": {"recognition.top1": 0.0}, "c": {}})
    by_noun = board.by_noun(found, {"a": "cat", "b": "cat", "c": "dog"}, "recognition.top1")
    assert by_noun == {"cat": 0.5, "dog": 0.0}
    assert board.rate(by_noun).value == 0.25


def test_goals_are_met_at_least_or_at_most():
    top = {"top1": board.Rate(value=0.4), "top5": board.Rate(value=0.6)}
    words = [{"word": "kitty", "noun": "cat", "short": 0.1}]
    found = board.goals(top, {"top1": 0.6, "top5": 0.8}, words, 12.0)
    assert [goal["met"] for goal in found] == [True, False, True, False]
    assert found[0]["value"] == pytest.approx(0.4 / 0.6)


def test_the_memory_of_a_process_is_its_own_and_not_that_of_the_one_that_started_it(tmp_path):
    held = np.ones(400 * 2**20, np.uint8)  # every page of it
    took = _timed([sys.executable, "-c", "print('a')"], tmp_path)
    assert held.nbytes / 2**20 > 2 * took["memory_mib"] > 4
    assert took["seconds"] > 0 and took["processor_seconds"] > 0
    with pytest.raises(LayercliError, match="failed: no such thing"):
        _timed([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path)
