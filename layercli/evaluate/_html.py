"""One self-contained HTML page: scores with intervals as drawings, and the best, median and worst samples."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.composite import composite
from layercli.core.errors import LayercliError
from layercli.core.html import page_head
from layercli.core.pixels import quantize
from layercli.core.score import Score
from layercli.evaluate._document import by_layers, figure, scores_in, seeds_of
from layercli.evaluate._run import Run
from layercli.evaluate._sample import Sample

THUMBNAIL = 132
MOST_SHOWN = 6
"""Metrics of which the best, median and worst samples are shown."""


def as_html(found: Mapping[str, Any], run: Run, extra: str = "") -> str:
    """The page of a document; run: to read the samples again that are shown; extra: further HTML."""
    scores = scores_in(found)
    about = found["run"]
    title = f"layercli eval: {about['name']}"
    parts = [
        page_head(title),
        f"<h1>{escape(title)}</h1>",
        f"<p class=faint>{about['read']} of {about['samples']} samples read, layout "
        f"{escape(about['layout'])}, {escape(seeds_of(found))}, {escape(', '.join(about['sizes']))}"
        f"{_memory(about)}. "
        f"Made by <code>{escape(found['command'])}</code>.</p>",
        _notes(found),
        "<h2>Scores</h2><p class=faint>Bars are 95% intervals: bootstrap over samples, or a jackknife for "
        "distances between sets; none where samples are too few or all alike. “With failures” counts every "
        "sample that could not be judged as the worst there is.</p>",
        score_table(scores),
        extra,
        _extremes(found, run),
        _histograms(found),
        _skips(found),
        _settings(found, scores),
    ]
    return "".join(parts) + "</html>\n"


def _memory(about: Mapping[str, Any]) -> str:
    taken = about.get("memory_mib")
    return "" if taken is None else f", drawn within {taken:.0f} MiB of memory"


def _notes(found: Mapping[str, Any]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in found["notes"])
    return f"<ul>{items}</ul>" if items else ""


def score_table(scores: Sequence[Score]) -> str:
    """Scores as an HTML table: one row a metric and part, the layer counts side by side."""
    groups = [group for group in dict.fromkeys(score.layers for score in scores) if group != "all"]
    rows = []
    for (metric, part), by_group in by_layers(scores).items():
        score = by_group.get("all") or next(iter(by_group.values()))
        ends = [
            one for each in by_group.values() for one in (each.value, each.low, each.high) if one is not None
        ]
        arrow = {"higher": "↑", "lower": "↓", "neither": ""}[score.better]
        failing = "" if score.failing is None else figure(score.failing)
        others = "".join(f"<td class=number>{_cell(by_group.get(group))}</td>" for group in groups)
        rows.append(
            f"<tr><td>{escape(metric)} {arrow}</td><td>{escape(part)}</td>"
            f"<td class=number>{figure(score.value)} {escape(score.unit)}</td>"
            f"<td>{_bar(score, min(ends), max(ends))}</td><td class=number>{score.n}</td>"
            f"<td class=number>{score.skipped or ''}</td><td class=number>{failing}</td>{others}"
            f"<td class=faint>{escape(score.note)}</td></tr>"
        )
    head = ["metric", "part", "all", "95% interval", "n", "skipped", "with failures"]
    heads = [*head, *(f"{group} layers" for group in groups)]
    sides = ["", "", " class=number", "", *[" class=number"] * (len(heads) - 4)]
    cells = "".join(f"<th{side}>{name}</th>" for name, side in zip([*heads, ""], [*sides, ""], strict=True))
    return f"<div class=scroll><table><tr>{cells}</tr>{''.join(rows)}</table></div>"


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    between = (
        "" if score.low is None or score.high is None else f", {figure(score.low)} to {figure(score.high)}"
    )
    return f"<span title='n {score.n}{between}'>{figure(score.value)}</span>"


def _bar(score: Score, low: float, high: float, width: int = 170) -> str:
    if score.low is None or score.high is None:
        return ""
    wide = (high - low) or 1.0

    def x(value: float) -> float:
        return 4 + (value - low) / wide * (width - 8)

    label = f"{figure(score.low)} to {figure(score.high)}"
    return (
        f"<svg width={width} height=18 role=img aria-label='{label}'><title>{label}</title>"
        f"<line x1=4 x2={width - 4} y1=9 y2=9 stroke='var(--line)'/>"
        f"<line x1={x(score.low):.1f} x2={x(score.high):.1f} y1=9 y2=9 stroke='var(--mark)' stroke-width=5 "
        f"stroke-linecap=round opacity=.35 />"
        f"<circle cx={x(score.value):.1f} cy=9 r=4 fill='var(--mark)'/></svg>"
    )


def _judged(found: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, float]]]:
    """metric.number -> (what is better, sample -> value), for numbers that say which sample is good."""
    judged: dict[str, tuple[str, dict[str, float]]] = {}
    for score in scores_in(found):
        values = {
            name: sample["values"][score.metric]
            for name, sample in found["samples"].items()
            if score.metric in sample["values"]
        }
        if values and score.better != "neither":
            judged[score.metric] = score.better, values
    return judged


def _extremes(found: Mapping[str, Any], run: Run) -> str:
    entries = {entry.name: entry for entry in run.entries}
    first_of: dict[str, str] = {}
    for number, (_, values) in _judged(found).items():
        if len(set(values.values())) > 1:
            first_of.setdefault(number.partition(".")[0], number)
    parts = ["<h2>Best, median and worst samples</h2>"]
    shown: dict[str, str] = {}
    for number in list(first_of.values())[:MOST_SHOWN]:
        better, values = _judged(found)[number]
        order = sorted(values, key=lambda name: (values[name], name), reverse=better == "higher")
        parts.append(f"<h3>{escape(number)}</h3>")
        for label, name in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])):
            if name not in shown:
                shown[name] = _pictures(entries[name]) if name in entries else ""
            head = f"<b>{label}<br><span class=faint>{figure(values[name])}</span></b>"
            parts.append(f"<div class=row>{head}{shown[name]}</div>")
    return "".join(parts) if len(parts) > 1 else ""


def _pictures(entry: Any) -> str:
    try:
        sample: Sample = entry.load()
    except LayercliError as error:
        return f"<p>{escape(str(error))}</p>"
    frames = [(f"{sample.name} (composite)", sample.composite)]
    frames += [(layer.name, sample.placed(layer)) for layer in sample.layers[:5]]
    return "".join(
        f"<figure><img src='{thumbnail(picture)}' alt=''><figcaption>{escape(text)}</figcaption></figure>"
        for text, picture in frames
    )


def thumbnail(rgba: np.ndarray, side: int = THUMBNAIL) -> str:
    """A picture on a fine checkerboard as a data address, its longer side `side` pixels."""
    height, width = rgba.shape[:2]
    rows, columns = np.indices((height, width)) * 24 // max(height, width)
    paper = np.ones_like(rgba)
    paper[..., :3] = np.where((rows + columns) % 2, 0.88, 0.98)[..., None]
    image = Image.fromarray(quantize(composite(paper, rgba)[..., :3]))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _histograms(found: Mapping[str, Any]) -> str:
    drawn = [
        f"<figure>{_histogram(list(values.values()))}<figcaption>{escape(number)}</figcaption></figure>"
        for number, (_, values) in _judged(found).items()
        if len(values) >= 5 and len(set(values.values())) > 2
    ]
    return f"<h2>Over the samples</h2><div class=row>{''.join(drawn)}</div>" if drawn else ""


def _histogram(values: Sequence[float], width: int = 170, height: int = 70) -> str:
    counts, edges = np.histogram(values, bins=min(20, max(5, len(values) // 3)))
    step, tall = width / len(counts), max(1, int(counts.max()))
    bars = "".join(
        f"<rect x={i * step:.1f} y={height - count / tall * height:.1f} width={step - 1:.1f} "
        f"height={count / tall * height:.1f} fill='var(--mark)' opacity=.7 />"
        for i, count in enumerate(counts)
    )
    ends = (
        f"<text x=0 y={height + 13}>{figure(float(edges[0]))}</text>"
        f"<text x={width} y={height + 13} text-anchor=end>{figure(float(edges[-1]))}</text>"
    )
    return f"<svg width={width} height={height + 18}>{bars}{ends}</svg>"


def _skips(found: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td>{escape(n)}</td><td>unreadable</td><td>{escape(w)}</td></tr>"
        for n, w in found["unreadable"].items()
    ]
    for metric, skipped in found["unjudged"].items():
        reasons: dict[str, list[str]] = {}
        for name, why in skipped.items():
            reasons.setdefault(why, []).append(name)
        for why, names in reasons.items():
            listed = ", ".join(names[:6]) + ("…" if len(names) > 6 else "")
            rows.append(
                f"<tr><td>{len(names)}: {escape(listed)}</td><td>{metric}</td><td>{escape(why)}</td></tr>"
            )
    if not rows:
        return ""
    return (
        "<h2>Skipped</h2><div class=scroll><table><tr><th>samples</th><th>by</th><th>why</th></tr>"
        + "".join(rows) + "</table></div>"
    )  # fmt: skip


def _settings(found: Mapping[str, Any], scores: Sequence[Score]) -> str:
    rows = []
    for metric in dict.fromkeys(score.metric.partition(".")[0] for score in scores):
        settings = next(score.settings for score in scores if score.metric.partition(".")[0] == metric)
        text = "; ".join(f"{key}: {value}" for key, value in settings.items() if value not in ("", None))
        rows.append(f"<tr><td>{escape(metric)}</td><td><code>{escape(text)}</code></td></tr>")
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    reference = found["reference"]
    against = ". No reference."
    if reference is not None:
        against = f". Reference {reference['name']}, {reference['samples']} samples, {reference['sha256']}."
    return (
        f"<details><summary>Settings, versions and hashes</summary><p class=faint>{escape(versions)}; "
        f"device {escape(found['device'])}. Run <code>{found['run']['sha256']}</code>{escape(against)}</p>"
        f"<div class=scroll><table>{''.join(rows)}</table></div></details>"
    )
