"""A whole protocol in one folder: every prompt with every seed, drawn, evaluated, reported; it resumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from layercli.cli.drawing import draw_missing, hold_to, model_weights, planned
from layercli.cli.evaluating import Asked, Report, by_protocol, evaluate_folder, write_reports
from layercli.cli.naming import check_folder
from layercli.cli.output import Output
from layercli.core.errors import LayercliError
from layercli.evaluate._board import PROMPTS, layered_prompts

METRICS = ("recomposition", "leakage", "layers", "health", "seam", "recognition", "variety", "speed")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is drawn, how, and what it is compared with; prompts: a file, None for the fifty of layercli."""

    out: Path
    prompts: Path | None
    most: int
    seeds: int
    model: str
    method: str
    steps: int
    guidance: float
    protocol: str | None
    reference: Path | None


def run_bench(talk: Output, bench: Bench) -> Report:
    """Draw what is missing, evaluate all of it, and write report.json, .html, .csv and .tex beside it."""
    bench.out.mkdir(parents=True, exist_ok=True)
    check_folder(bench.out)
    file = bench.prompts or PROMPTS
    if not file.is_file():
        raise LayercliError(f"There is no file {file}.", "One picture a line: a thing + a thing / a ground")
    prompts = layered_prompts(file)[: bench.most or None]
    if not prompts:
        raise LayercliError(f"{file} holds no prompt.", "One picture a line: a thing + a thing / a ground")
    fields = {
        "model": bench.model, "method": bench.method, "steps": bench.steps, "guidance": bench.guidance,
    }  # fmt: skip
    told = [[list(things), ground] for things, ground in prompts]
    hold_to(bench.out, {**fields, "prompts": told, "weights": model_weights(bench.model)})
    folder = bench.out / "pictures"
    folder.mkdir(exist_ok=True)
    pictures = list(planned(prompts, range(bench.seeds), folder, **fields))
    drawn = draw_missing(talk, pictures)
    talk.say(f"{drawn} of {len(pictures)} pictures drawn, the others were there.")
    asked = Asked(
        folder=folder, reference=bench.reference, layout="files", metrics=METRICS, named=False, options={},
        seed=0, cache=True,
    )  # fmt: skip
    if bench.protocol is not None:
        asked = by_protocol(talk, asked, bench.protocol)
    found = evaluate_folder(talk, asked)
    write_reports(
        talk, found, None, [bench.out / f"report.{kind}" for kind in ("json", "html", "csv", "tex")]
    )
    return found
