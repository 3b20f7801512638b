"""From a folder to its scores: gather, measure, write the reports, and say what came out."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from layercli.cli.gathering import gather
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError, as_word
from layercli.core.score import Score
from layercli.evaluate._baselines import baseline_of
from layercli.evaluate._document import as_csv, as_latex, by_layers, compared, document, figure, scores_in
from layercli.evaluate._features import cache_folder
from layercli.evaluate._protocols import beside, protocol
from layercli.evaluate._run import Metric, Run, evaluate, load_metrics
from layercli.formats._files import atomic, unique_path

COLUMNS = ("metric", "part", "all", "95% interval", "n", "skipped", "with failures")
_ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What shall be evaluated, and how; named: whether the metrics were chosen by name."""

    folder: Path
    reference: Path | None
    layout: str
    metrics: tuple[str, ...]
    named: bool
    options: Mapping[str, Mapping[str, str]]
    seed: int
    cache: bool
    protocol: str = ""
    baseline: str = ""
    against: str = ""

    def of(self, other: Path) -> Asked:
        """The same for another folder, or for a baseline made of this one where there is no such folder."""
        if other.exists():
            return dataclasses.replace(self, folder=other, against="")
        return dataclasses.replace(self, baseline=str(other), against="")

    @property
    def command(self) -> str:
        """The shell line that repeats it."""
        words = ["layercli", "eval", str(self.folder), "--metrics", ",".join(self.metrics)]
        if self.reference is not None:
            words += ["--reference", str(self.reference)]
        if self.layout != "auto":
            words += ["--layout", self.layout]
        if self.protocol:
            words += ["--protocol", self.protocol]
        if self.against:
            words += ["--against", self.against]
        for metric, values in self.options.items():
            for key, value in values.items():
                words += ["-O", f"{metric}.{key}={value}"]
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """A run and the document of its evaluation."""

    run: Run
    document: dict[str, Any]


def by_protocol(talk: Output, asked: Asked, name: str) -> Asked:
    """The metrics and settings of a paper, less those that need a model or a reference that was not given.

    What was typed goes before what the paper has; everything that is left out is said.
    """
    chosen = protocol(name)
    options = {metric: dict(values) for metric, values in chosen.options.items()}
    for metric, values in asked.options.items():
        options[metric] = options.get(metric, {}) | dict(values)
    wanted = asked.metrics if asked.named else chosen.metrics
    needs = registry.constants("layercli.evaluate", "NEEDS")
    kept = []
    for metric in wanted:
        lacks = {"clip": "model", "aesthetic": "head"}.get(metric)
        if lacks and lacks not in options.get(metric, {}):
            talk.warn(f"{metric} is left out. Give its model: -O {metric}.{lacks}=…")
        elif needs[metric] in ("truth", "reference") and asked.reference is None:
            talk.warn(f"{metric} is left out. Give what to compare with: --reference DIR")
        else:
            kept.append(metric)
    options = {metric: values for metric, values in options.items() if metric in kept}
    return dataclasses.replace(asked, metrics=tuple(kept), named=True, options=options, protocol=name)


def evaluate_folder(talk: Output, asked: Asked) -> Report:
    """Evaluate one folder; metrics that cannot be had here are refused where they were named."""
    run, layout = gather(asked.folder, asked.layout)
    if asked.baseline:
        run = baseline_of(run, asked.baseline)
    reference = None if asked.reference is None else gather(asked.reference)[0]
    metrics = _possible(talk, asked, load_metrics(asked.metrics, asked.options), run, reference)
    count = "1 sample" if len(run.entries) == 1 else f"{len(run.entries)} samples"
    talk.say(f"{run.name}: {count}, layout {layout}")
    with talk.progress(asked.folder.name) as on_step:
        found = evaluate(
            run,
            reference,
            metrics,
            kept=cache_folder() if asked.cache else None,
            seed=asked.seed,
            on_step=lambda what, done, total: on_step(done, total),
        )
    made = document(found, run, reference, layout=layout, command=asked.command, versions=versions())
    if asked.protocol:
        chosen = protocol(asked.protocol)
        sizes = list(made["run"]["sizes"])
        made["protocol"] = {
            "name": asked.protocol, "paper": chosen.paper, "notes": list(chosen.notes),
            "rows": beside(chosen, scores_in(made), sizes),
        }  # fmt: skip
    return Report(run=run, document=made)


def _possible(
    talk: Output, asked: Asked, metrics: Sequence[Metric], run: Run, reference: Run | None
) -> list[Metric]:
    """The metrics that need no reference where there is none; where one was named, an error says so."""
    kept = []
    for metric in metrics:
        if metric.needs in ("truth", "reference") and reference is None:
            raise LayercliError(
                f'The metric "{metric.name}" compares with a reference, and there is none.',
                f"Try: layercli eval {as_word(asked.folder)} --metrics {metric.name} --reference DIR",
            )
        if metric.needs == "seeds" and not asked.named and len(run.entries) < 2:
            continue
        kept.append(metric)
    return kept


def versions() -> dict[str, str]:
    """What the numbers were computed with."""
    found = {"python": platform.python_version()}
    for name in ("layercli", "numpy", "scipy", "pillow", "torch", "torch-fidelity"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def free_names(paths: Sequence[Path]) -> list[Path]:
    """Each path once, numbered where a file is there already; those of one stem share their number."""
    return [
        unique_path(path, [one.suffix for one in paths if one.with_suffix("") == path.with_suffix("")])
        for path in dict.fromkeys(paths)
    ]


def write_reports(
    talk: Output, found: Report, other: Report | None, paths: Sequence[Path], *, force: bool
) -> list[Path]:
    """Write the document as JSON, HTML, CSV or LaTeX, each whole or not at all; the paths that were written.

    Without `force` files that are there are kept, and the new ones are numbered.
    """
    import json

    from layercli.evaluate._html import as_html

    scores = scores_in(found.document)
    paths = list(dict.fromkeys(paths)) if force else free_names(paths)
    for path in paths:
        makers = {
            ".json": lambda: json.dumps(_with_other(found, other), ensure_ascii=False, indent=1) + "\n",
            ".html": lambda: as_html(found.document, found.run, _comparison_html(found, other)),
            ".csv": lambda: as_csv(scores),
            ".tex": lambda: as_latex(found.document),
        }
        text = makers[path.suffix.lower()]()
        with atomic(path) as part:
            part.write_text(text, encoding="utf-8")
        talk.say(f"Wrote {path}")
    return paths


def report(talk: Output, found: Report, other: Report | None, written: Sequence[Path] = ()) -> None:
    """The table of scores on stdout, notes on stderr; with json the files that were written are named too."""
    for note in found.document["notes"]:
        talk.warn(note)
    scores = scores_in(found.document)
    groups = [group for group in dict.fromkeys(score.layers for score in scores) if group != "all"]
    heads = [*COLUMNS, *(f"{group} layers" for group in groups), ""]
    files = {"files": [str(path) for path in written]} if written else {}
    talk.table(
        _with_other(found, other) | files,
        heads,
        [row(by_group, groups) for by_group in by_layers(scores).values()],
    )
    if "protocol" in found.document and not talk.json:
        _report_protocol(talk, found.document["protocol"])
    if other is not None and not talk.json:
        report_comparison(talk, compared(other.document, found.document))


def _report_protocol(talk: Output, told: Mapping[str, Any]) -> None:
    """The paper's table beside ours; what differs is in the last column and in the notes."""
    talk.line("", f"{told['paper']}: its numbers, and ours beside them. {'; '.join(told['notes'])}.")
    rows = [
        (
            one["system"], one["metric"], one["part"], one["layers"], figure(one["paper"]),
            "" if one["ours"] is None else figure(one["ours"]), "; ".join(one["differs"]),
        )
        for one in told["rows"]
    ]  # fmt: skip
    talk.table({}, ("system", "metric", "part", "layers", "paper", "ours", "what differs"), rows)


def row(by_group: Mapping[str, Score], groups: Sequence[str]) -> list[str]:
    """The scores of a metric and part as a line of the table: over all samples, and by layer count."""
    score = by_group.get("all") or next(iter(by_group.values()))
    return [
        f"{score.metric} {_ARROWS[score.better]}".strip(),
        score.part,
        f"{figure(score.value)} {score.unit}".strip(),
        "" if score.low is None or score.high is None else f"{figure(score.low)} – {figure(score.high)}",
        str(score.n),
        str(score.skipped or ""),
        "" if score.failing is None else figure(score.failing),
        *(figure(by_group[group].value) if group in by_group else "" for group in groups),
        score.note,
    ]


def report_comparison(talk: Output, rows: Sequence[Mapping[str, Any]]) -> None:
    """Two runs side by side, the difference with its interval, and on how many samples the second wins."""
    talk.table(
        {"compared": list(rows)},
        ("metric", "part", "layers", "first", "second", "difference", "95% interval", "wins", "p", ""),
        [_compared_row(one) for one in rows],
    )


def _compared_row(one: Mapping[str, Any]) -> tuple[str, ...]:
    pair = one.get("paired")
    return (
        f"{one['metric']} {_ARROWS[one['better']]}".strip(),
        one["part"],
        one["layers"],
        figure(one["first"]),
        figure(one["second"]),
        one["note"] if one["difference"] is None else figure(one["difference"]),
        f"{figure(pair['low'])} – {figure(pair['high'])}" if pair and pair["low"] is not None else "",
        f"{pair['wins']:.0%}" if pair and one["better"] != "neither" else "",
        figure(pair["chance"]) if pair else "",
        "" if one["difference"] is None else one["note"],
    )


def _with_other(found: Report, other: Report | None) -> dict[str, Any]:
    if other is None:
        return found.document
    rows = compared(other.document, found.document)
    return {**found.document, "against": {"run": other.document["run"], "compared": rows}}


def _comparison_html(found: Report, other: Report | None) -> str:
    if other is None:
        return ""
    from html import escape

    head = ["metric", "part", "layers", "other", "this", "difference", "interval", "wins", "p", ""]
    rows = [_compared_row(one) for one in compared(other.document, found.document)]
    cells = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in rows
    )
    heads = "".join(f"<th>{name}</th>" for name in head)
    return (
        f"<h2>Against {escape(other.run.name)}</h2><p class=faint>The difference is this run less the other, "
        "sample by sample where both have them; wins: the share of samples that are better here, ties half; "
        "p: a sign-flip test.</p>"
        f"<div class=scroll><table><tr>{heads}</tr>{cells}</table></div>"
    )
