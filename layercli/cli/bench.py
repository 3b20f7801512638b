"""A whole protocol in one folder: every prompt with every seed, drawn, evaluated, reported; it resumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from layercli.cli.drawing import draw_and_note, hold_to, model_weights, planned
from layercli.cli.evaluating import Asked, Report, by_protocol, evaluate_folder, write_reports
from layercli.cli.making import METHODS
from layercli.cli.naming import check_folder
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.evaluate._board import PAPERS, PROMPTS, layered_prompts, spread
from layercli.evaluate._protocols import protocol
from layercli.models.catalog import MODELS

METRICS = ("recomposition", "leakage", "layers", "health", "seam", "recognition", "variety", "speed")
_LINE = "One picture a line: a thing + a thing / a ground"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is drawn, how, and what it is compared with.

    prompts: a file, None for the fifty of layercli, or for the thirty of a protocol; size: None for the
    protocol's, where the model can draw it; against: another bench, run or baseline.
    """

    out: Path
    prompts: Path | None
    most: int
    seeds: int
    model: str
    method: str
    options: Mapping[str, str] = field(default_factory=dict)
    harmonize: str
    steps: int
    guidance: float
    size: Size | None = None
    protocol: str | None
    reference: Path | None
    against: Path | None = None

    @property
    def file(self) -> Path:
        """The prompts; a paper's own are not public, so that a protocol has some of two to four layers."""
        return self.prompts or (PROMPTS if self.protocol is None else PAPERS)

    @property
    def drawn_size(self) -> Size:
        """What was asked for, or the paper's; the embedded model has one size alone."""
        entry = MODELS.get(self.model)
        own = entry is not None and entry.family.startswith("embedded:")
        pixels = 0 if self.protocol is None or own else protocol(self.protocol).pixels
        return self.size or (Size(pixels, pixels) if pixels else Size(256, 256))


def run_bench(talk: Output, bench: Bench) -> tuple[Report, Report | None]:
    """Draw what is missing, evaluate all of it, and write report.json, .html, .csv and .tex beside it."""
    if not bench.file.is_file():
        raise LayercliError(f"There is no file {bench.file}.", _LINE)
    prompts = spread(layered_prompts(bench.file), bench.most)
    if not prompts:
        raise LayercliError(f"{bench.file} holds no prompt.", _LINE)
    weights = model_weights(bench.model)
    registry.options_for(registry.load(METHODS, bench.method), bench.options)
    folder = bench.out / "pictures"
    fields = {
        "model": bench.model, "method": bench.method, "options": dict(bench.options),
        "harmonize": bench.harmonize, "steps": bench.steps, "guidance": bench.guidance,
        "size": bench.drawn_size,
    }  # fmt: skip
    pictures = list(planned(prompts, range(bench.seeds), folder, **fields))  # refuses what cannot be drawn
    bench.out.mkdir(parents=True, exist_ok=True)
    check_folder(bench.out)
    if not any(folder.glob("*.psd")):  # nothing was drawn by what is noted there
        (bench.out / "settings.json").unlink(missing_ok=True)
    told = [[list(things), ground] for things, ground in prompts]
    hold_to(bench.out, {**fields, "size": str(bench.drawn_size), "prompts": told, "weights": weights})
    folder.mkdir(exist_ok=True)
    drawn, memory = draw_and_note(talk, pictures, bench.out)
    talk.say(f"{drawn} of {len(pictures)} pictures drawn, the others were there.")
    asked = Asked(
        folder=folder, reference=bench.reference, layout="files", metrics=METRICS, named=False, options={},
        seed=0, cache=True,
    )  # fmt: skip
    if bench.protocol is not None:
        asked = by_protocol(talk, asked, bench.protocol)
    against = None if bench.against is None else _pictures_of(bench.against)
    found = evaluate_folder(talk, dataclasses.replace(asked, against=str(against or "")))
    found.document["run"]["memory_mib"] = memory
    other = None if against is None else evaluate_folder(talk, asked.of(against))
    reports = [bench.out / f"report.{kind}" for kind in ("json", "html", "csv", "tex")]
    write_reports(talk, found, other, reports, force=True)
    return found, other


def _pictures_of(other: Path) -> Path:
    """The pictures of another bench, where it is one."""
    return other / "pictures" if (other / "settings.json").is_file() else other
