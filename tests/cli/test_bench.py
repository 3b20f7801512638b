"""A whole protocol in one folder, resumed after an interrupt; the papers' tables beside ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layercli.core.registry import load, options_for, plugins
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
    again = run(*words, "--json")
    assert again.exit_code == 0, again.output
    names = sorted(path.name for path in (here / "out/pictures").iterdir())
    assert names == ["001-seed0.psd", "001-seed1.psd", "002-seed0.psd", "002-seed1.psd"]
    found = scores(again.stdout)
    assert found["layers.count", "composite", "2"]["n"] == 2
    assert found["layers.count", "composite", "all"]["value"] == 1
    assert found["variety.within", "composite", "all"]["n"] == 4
    assert all((here / f"out/report.{kind}").stat().st_size for kind in ("json", "html", "csv", "tex"))
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
