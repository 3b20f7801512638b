"""Blind studies: nothing on the page names a run, and answers come back to the right one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layercli.formats import psd
from tests.cli.conftest import Run
from tests.cli.test_eval import pictures, stack  # noqa: F401


@pytest.fixture
def other(here: Path) -> Path:
    folder = here / "secretly-better"
    folder.mkdir()
    for seed in range(6):
        psd.write(stack(1, seed, shift=2), folder / f"{seed}.psd", psd.Options())
    return folder


def rate(here: Path, name: str, answers: dict[str, str]) -> str:
    key = json.loads((here / "study.key.json").read_text())
    told = {"study": key["layercli_study"], "rater": "x", "answers": answers}
    (here / name).write_text(json.dumps(told))
    return name


def test_pairs_are_blind_shuffled_and_scored(run: Run, here: Path, pictures: Path, other: Path):  # noqa: F811
    done = run("eval", "study", "pictures", "secretly-better", "-o", "study.html")
    assert done.exit_code == 0, done.output
    page = (here / "study.html").read_text()
    key = json.loads((here / "study.key.json").read_text())
    assert "secretly" not in page and "pictures" not in page and page.count("<section class=item>") == 6
    assert {tuple(item["sides"]) for item in key["items"].values()} == {(0, 1), (1, 0)}
    assert len({item["sample"] for item in key["items"].values()}) == 6

    wins = {code: str(item["sides"].index(1) + 1) for code, item in key["items"].items()}
    mixed = dict.fromkeys(list(wins)[:2], "0") | dict(list(wins.items())[2:])
    told = run(
        "eval",
        "study",
        "score",
        "study.key.json",
        rate(here, "a.json", wins),
        rate(here, "b.json", mixed),
        "--json",
    )
    assert told.exit_code == 0, told.output
    first, second = json.loads(told.stdout)["runs"]
    assert second["run"] == "secretly-better" and second["raters"] == 2 and second["answers"] == 12
    assert second["value"] == pytest.approx((4 * 1 + 2 * 0.75) / 6)
    assert first["value"] == pytest.approx(1 - second["value"])
    assert second["low"] <= second["value"] <= second["high"]
    assert "preferred" in run("eval", "study", "score", "study.key.json", "a.json").stdout


def test_one_run_is_rated_from_one_to_five(run: Run, here: Path, pictures: Path):  # noqa: F811
    assert run("eval", "study", "make", "pictures", "--most", "4").exit_code == 0
    key = json.loads((here / "study.key.json").read_text())
    assert key["mode"] == "rating" and len(key["items"]) == 4
    given = dict(zip(key["items"], ["1", "2", "4", "5"], strict=True))
    told = run("eval", "study", "score", "study.key.json", rate(here, "a.json", given), "--json")
    assert json.loads(told.stdout)["runs"][0]["value"] == 3


def test_unreadable_samples_are_left_out_and_named(run: Run, here: Path, pictures: Path, other: Path):  # noqa: F811
    (other / "2.psd").write_bytes(b"8BPS")
    done = run("eval", "study", "pictures", "secretly-better", "--most", "5")
    assert done.exit_code == 0, done.output
    key = json.loads((here / "study.key.json").read_text())
    assert sorted(item["sample"] for item in key["items"].values()) == ["0", "1", "3", "4", "5"]
    assert "2 is left out: " in done.stderr
    for file in other.iterdir():
        file.write_bytes(b"8BPS")
    none = run("eval", "study", "pictures", "secretly-better")
    assert none.exit_code == 2 and "No sample of pictures and secretly-better could be read." in none.stderr


def test_what_is_wrong_has_its_sentence(run: Run, refused, here: Path, pictures: Path, other: Path):  # noqa: F811
    run("eval", "study", "pictures")
    (here / "old.json").write_text(json.dumps({"study": "another", "answers": {"0000": "3"}}))
    assert "of another study" in refused("eval", "study", "score", "study.key.json", "old.json")
    assert "is no answer" in refused(
        "eval", "study", "score", "study.key.json", rate(here, "a.json", {"0000": "9"})
    )
    assert "no item" in refused("eval", "study", "score", "study.key.json", rate(here, "b.json", {"x": "3"}))
    assert "hold no answer" in refused("eval", "study", "score", "study.key.json", rate(here, "c.json", {}))
    assert "not the key" in refused("eval", "study", "score", "a.json", "a.json")
    assert "Pairs are of two runs" in refused("eval", "study", "pictures", "--mode", "pairs")
    for file in other.iterdir():
        file.rename(file.with_name(f"x{file.name}"))
    assert "share no sample" in refused("eval", "study", "pictures", "secretly-better")


def test_a_study_that_was_sent_out_keeps_its_key(run: Run, here: Path, pictures: Path, other: Path):  # noqa: F811
    """Ratings come weeks later: a new study beside the old one is numbered, page and key alike."""
    first = run("eval", "study", "pictures", "secretly-better")
    assert first.stdout.split() == ["study.html", "study.key.json"]
    key = (here / "study.key.json").read_bytes()
    (here / "study.html").rename(here / "sent.html")  # the key alone is there, and is kept too
    again = run("eval", "study", "secretly-better", "--json")
    told = json.loads(again.stdout)
    assert (told["page"], told["key"]) == ("study-2.html", "study-2.key.json")
    assert (here / "study.key.json").read_bytes() == key and not (here / "study.html").exists()
    rating = json.loads((here / "study-2.key.json").read_text())
    assert rating["mode"] == "rating" and rating["layercli_study"] in (here / "study-2.html").read_text()

    same = run("eval", "study", "pictures", "secretly-better", "--force")
    assert same.stdout.split() == ["study.html", "study.key.json"] and "is replaced" not in same.stderr
    replaced = run("eval", "study", "secretly-better", "--force")
    assert "study.key.json is replaced: what raters say" in replaced.stderr
    assert json.loads((here / "study.key.json").read_text()) == rating
