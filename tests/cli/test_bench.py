"""A whole protocol in one folder, resumed after an interrupt; the papers' tables beside ours."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from layercli.cli.bench import Bench
from layercli.cli.making import notes_on_prompts
from layercli.core.geometry import Size
from layercli.core.registry import load, options_for, plugins
from layercli.evaluate._board import layered_prompts, spread
from layercli.evaluate._protocols import PROTOCOLS, beside
from tests import tiny
from tests.cli.conftest import Run
from tests.cli.test_eval import cache, pictures, scores  # noqa: F401


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("embedded", tmp_path_factory.mktemp("model"))


def test_a_bench_draws_evaluates_reports_and_goes_on_after_an_interrupt(
    run: Run, here: Path, model: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "prompts.txt").write_text("# mine\na cat / a sofa\na dog + a ball / a beach\n")
    sizes = ("--prompts", "prompts.txt", "--seeds", "2", "--steps", "2", "--model", str(model))
    words = ("eval", "bench", "out", *sizes)
    from layercli.formats import psd

    write, done = psd.write, []

    def interrupted(*given: object) -> Path:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(given)
        return write(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(psd, "write", interrupted)
    assert run(*words).exit_code == 130
    assert len(list((here / "out/pictures").iterdir())) == 3
    monkeypatch.setattr(psd, "write", write)
    again = run(*words, "--against", "flat", "--json")
    assert again.exit_code == 0, again.output
    names = sorted(path.name for path in (here / "out/pictures").iterdir())
    assert names == ["001-seed0.psd", "001-seed1.psd", "002-seed0.psd", "002-seed1.psd"]
    found = scores(again.stdout)
    assert found["layers.count", "composite", "2"]["n"] == 2
    assert found["layers.count", "composite", "all"]["value"] == 1
    assert found["variety.within", "composite", "all"]["n"] == 4
    assert all((here / f"out/report.{kind}").stat().st_size for kind in ("json", "html", "csv", "tex"))
    told = json.loads((here / "out/report.json").read_text())
    assert told["run"]["seeds"] == [0, 1] and told["run"]["memory_mib"] > 100
    assert told["against"]["run"]["name"].endswith("(flat baseline)")
    page = (here / "out/report.html").read_text()
    assert "2 seeds: 0, 1" in page and "MiB of memory" in page and told["run"]["sha256"] in page
    assert "% 4 of 4 samples; 2 seeds: 0, 1; run " in (here / "out/report.tex").read_text()
    plain = run(*words, "--harmonize", "none")
    assert plain.exit_code == 2 and "made with another harmonize" in plain.stderr
    (here / "prompts.txt").write_text("a cow / hills\n")
    other = run(*words)
    assert other.exit_code == 2 and "made with another prompts" in other.stderr


def test_a_protocol_prints_the_papers_table_and_what_differs(run: Run, pictures: Path):  # noqa: F811
    words = ("eval", "pictures", "--protocol", "layerd", "--reference", "pictures")
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert (
        "LayerD" in done.stdout and "0.07090" in done.stdout and "other weights; other prompts" in done.stdout
    )
    told = json.loads(run(*words, "--json").stdout)
    rows = told["protocol"]["rows"]
    assert {row["system"] for row in rows} == {"LayerD", "Qwen-Image-Layered"}
    assert all(row["ours"] == pytest.approx(1 if "iou" in row["metric"] else 0, abs=1e-3) for row in rows)
    assert not any(score["value"] == 0.0709 for score in told["scores"])


def test_a_protocol_says_what_it_had_to_leave_out(run: Run, pictures: Path):  # noqa: F811
    done = run("eval", "pictures", "--protocol", "dreamlayer")
    assert done.exit_code == 0, done.output
    for metric in ("fid", "kid", "clip", "aesthetic"):
        assert f"{metric} is left out" in done.stderr
    refused = run("eval", "pictures", "--protocol", "dreamlair")
    assert refused.exit_code == 2 and "Did you mean dreamlayer?" in refused.stderr
    assert (
        "--protocol dreamlayer"
        in json.loads(run("eval", "pictures", "--protocol", "dreamlayer", "--json").stdout)["command"]
    )


def asked(**changes: object) -> Bench:
    given = {
        "out": Path("out"), "prompts": None, "most": 0, "seeds": 1, "model": "embedded",
        "method": "layerfusion", "harmonize": "irh", "steps": 2, "guidance": 4.0, "protocol": None,
        "reference": None,
    }  # fmt: skip
    return Bench(**{**given, **changes})  # type: ignore[arg-type]


def test_a_protocol_sets_prompts_of_two_to_four_layers_and_the_papers_size():
    prompts = layered_prompts(asked(protocol="dreamlayer").file)
    counts = Counter(len(things) + 1 for things, _ in prompts)
    assert counts == {2: 10, 3: 10, 4: 10}
    words = {word for things, ground in prompts for word in (*things, ground)}
    assert not notes_on_prompts("embedded", words)
    assert str(asked(protocol="dreamlayer", model="sd15").drawn_size) == "512x512"
    assert str(asked(protocol="layerdiff", model="sd15").drawn_size) == "256x256"
    assert str(asked(protocol="dreamlayer").drawn_size) == "256x256"  # the embedded model has one size
    assert str(asked(protocol="dreamlayer", size=Size(64, 64)).drawn_size) == "64x64"


def test_a_few_prompts_are_spread_over_all():
    assert spread(list(range(50)), 4) == [0, 16, 33, 49]
    assert spread([1, 2, 3], 1) == [1] and spread([1, 2, 3], 0) == spread([1, 2, 3], 9) == [1, 2, 3]


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(refused, model: Path):
    words = ("eval", "bench", "out", "--model", str(model))
    assert "harmonize cannot be" in refused(*words, "--harmonize", "nicely")
    assert 'has no option "nonsense"' in refused(*words, "-O", "nonsense=1")
    assert 'There is no protocol "dreamlair"' in refused(*words, "--protocol", "dreamlair")
    assert "There is no file none.txt." in refused(*words, "--prompts", "none.txt")
    assert "There is no model" in refused("eval", "bench", "out", "--model", "nothing")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_name_metrics_that_are_there(name: str):
    chosen = PROTOCOLS[name]
    assert set(chosen.metrics) <= set(plugins("layercli.evaluate"))
    for metric, values in chosen.options.items():
        options_for(load("layercli.evaluate", metric), values)
    for row in chosen.rows:
        metric, _, number = row.metric.partition(".")
        numbers = load("layercli.evaluate", metric).NUMBERS
        assert metric in chosen.metrics and numbers[number][0] in (row.part, "*")
    assert all(row["ours"] is None for row in beside(chosen, [], []))


def test_dreamlayers_table_is_the_papers():
    rows = {(r.system, r.metric, r.layers): r.value for r in PROTOCOLS["dreamlayer"].rows}
    assert rows["DreamLayer", "fid.fid", "4"] == 53.598
    assert rows["LayerDiffuse", "clip.whole", "3"] == 30.350
    assert len(rows) == 27


def test_a_bench_of_the_shipped_model(run: Run, here: Path):
    done = run("eval", "bench", "out", "--most", "2", "--seeds", "1", "--steps", "6", "--json")
    assert done.exit_code == 0, done.output
    found = scores(done.stdout)
    assert found["recomposition.max", "composite", "all"]["value"] <= 1
    assert found["layers.count", "composite", "all"]["value"] == 1
    assert found["leakage.copied", "background", "all"]["value"] < 0.5
    assert found["recognition.top1", "foreground", "all"]["n"] == 2
    assert found["speed.seconds", "composite", "all"]["value"] > 0
