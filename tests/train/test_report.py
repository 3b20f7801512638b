"""The page that a run leaves in its folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from layercli.train._report import curve, rows_by_step, running_mean, write_report


def _run(folder: Path, rows: int) -> Path:
    (folder / "options.json").write_text(json.dumps({"batch": 8, "note": "<b>"}))
    log = [
        {"step": 20 * n, "loss": 1 / n, "lr": 1e-3, "pictures_per_second": 5.0} for n in range(1, rows + 1)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    return folder


def test_the_report_shows_curves_samples_and_options(tmp_path: Path) -> None:
    out = _run(tmp_path, 60)
    (out / "losses.jsonl").write_text('{"step": 500, "noise": 0.4}\n{"step": 900, "noise": 0.3}\n')
    for step in (500, 1200):
        (out / f"samples-{step:06}.png").write_bytes(b"")
    page = write_report(out, "dreamlayer", 1200, 3000).read_text()
    assert "layercli train dreamlayer: under way" in page and "1,200 of 3,000 steps, 5 pictures" in page
    assert re.findall(r"aria-label='([^']*)'", page) == [
        "loss", "learning rate", "pictures a second", "loss: noise"
    ]  # fmt: skip
    assert page.index("samples-001200.png") < page.index("Earlier") < page.index("samples-000500.png")
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert "finished" in write_report(out, "base", 3000, 3000).read_text()


def test_a_run_without_rows_has_a_report_too(tmp_path: Path) -> None:
    page = write_report(_run(tmp_path, 0), "base", 3, 10).read_text()
    assert "3 of 10 steps." in page and "<svg" not in page


def test_of_a_step_that_was_logged_twice_the_later_row_counts(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        '{"step": 20, "loss": 1}\n{"step": 40, "loss": 2}\n{"step": 20, "loss": 3}\n'
    )
    assert rows_by_step(tmp_path / "log.jsonl") == [{"step": 20, "loss": 3}, {"step": 40, "loss": 2}]


def test_the_running_mean_is_that_of_the_neighbours() -> None:
    values = np.random.default_rng(0).normal(size=100)
    means = running_mean(values)
    assert means[50] == pytest.approx(values[48:53].mean())
    assert means[0] == pytest.approx(values[:3].mean()) and means[-1] == pytest.approx(values[-3:].mean())


def test_a_curve_stays_within_its_frame_and_goes_up_with_its_values() -> None:
    drawn = curve(range(0, 1000, 10), [50.0, *np.linspace(0, 1, 99)], "loss")
    points = [[float(n) for n in pair.split(",")] for pair in re.findall(r"[\d.]+,[\d.]+", drawn)][:100]
    heights = [y for _, y in points]
    assert min(heights) >= 0 and max(heights) <= 178
    assert heights[1] > heights[50] > heights[99]  # a large y lies low
    assert curve([20], [1.0], "loss") == ""
