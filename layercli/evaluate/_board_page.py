"""The scoreboard as one self-contained HTML page: goals, numbers, and every noun with its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from layercli.core.html import page_head
from layercli.core.score import Score
from layercli.evaluate._document import figure
from layercli.evaluate._html import score_table, thumbnail

_MORE = """
.nouns { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .5rem 1rem }
.nouns figure { display: flex; gap: .2rem; align-items: center } .nouns figcaption { width: 5.4rem }
.yes { color: #1a8a4a } .no { color: #c23b3b }
"""


def as_page(board: Mapping[str, Any], thumbnails: Mapping[str, Sequence[np.ndarray]]) -> str:
    """The page of a scoreboard; thumbnails: noun -> (H, W, 4) pictures."""
    about = board["model"]
    parts = [
        page_head(f"Scoreboard of {about['name']}", _MORE),
        f"<h1>Scoreboard of {escape(about['name'])}</h1>",
        f"<p class=faint>{board['objects']} objects of {len(board['recognition']['by_noun'])} nouns, "
        f"{len(board['seeds'])} seed(s), {about['steps']} steps, guidance {about['guidance']:g}. "
        f"Classifier: {board['classifier']['note']}</p>",
        "<h2>Goals</h2>",
        _table(["goal", "reached", "wanted", ""], [_goal(row) for row in board["goals"]]),
        "<h2>Numbers</h2>",
        _table(["", "value", "95% interval"], [_line(*row) for row in lines(board)]),
        _synonyms(board["synonyms"]),
    ]
    parts.append(_compared(board["compared"]))
    for method, found in board["methods"].items():
        memory = "".join(f", {name}: {value}" for name, value in shell_rows(found["shell"]))
        parts.append(f"<h2>Layered pictures by {escape(method)}</h2>")
        parts.append(f"<p class=faint>{found['samples']} pictures{memory}</p>")
        parts.append(score_table([Score.from_dict(values) for values in found["scores"]]))
    parts.append("<h2>Every noun</h2><div class=nouns>")
    order = sorted(board["recognition"]["by_noun"].items(), key=lambda entry: (entry[1]["top1"], entry[0]))
    for noun, rates in order:
        images = "".join(f"<img src='{thumbnail(p, 56)}' alt=''>" for p in thumbnails.get(noun, [])[:4])
        parts.append(
            f"<figure><figcaption>{escape(noun)}<br><b>{rates['top1']:.0%}</b> {rates['top5']:.0%}"
            f"</figcaption>{images}</figure>"
        )
    return "".join(parts) + "</div></html>\n"


def lines(board: Mapping[str, Any]) -> list[tuple[str, float, float | None, float | None, str]]:
    """The scoreboard's own numbers as name, value, low, high, what it is compared with."""
    found = []
    recognition = board["recognition"]
    for name in ("top1", "top5"):
        one = recognition[name]
        found.append((f"recognition {name}", one["value"], one["low"], one["high"], ""))
        found.append(
            (f"ceiling {name} (held-out real objects)", recognition["ceiling"][name], None, None, "")
        )
    for part, distance in board["kid"].items():
        if distance is not None:
            spread = distance["kid_std"]
            low, high = distance["kid"] - spread, distance["kid"] + spread
            found.append((f"KID {part} (± std)", distance["kid"], low, high, ""))
    for score in board["object_scores"]:
        if score["layers"] == "all" and not score["metric"].startswith("recognition"):
            found.append(
                (f"objects {score['metric']}", score["value"], score["low"], score["high"], score["unit"])
            )
    return found


def _line(name: str, value: float, low: float | None, high: float | None, unit: str) -> list[str]:
    between = "" if low is None or high is None else f"{figure(low)} – {figure(high)}"
    return [escape(name), f"{figure(value)} {unit}".strip(), between]


def _goal(row: Mapping[str, Any]) -> list[str]:
    mark = "<span class=yes>met</span>" if row["met"] else "<span class=no>not met</span>"
    return [escape(row["goal"]), figure(row["value"]), f"at {row['at']} {row['wanted']:g}", mark]


def shell_rows(shell: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What one picture took from the shell, in words."""
    names = (("seconds", "from the shell", "s"), ("processor_seconds", "of a processor", "s"))
    rows = [(name, f"{shell[key]:.1f} {unit}") for key, name, unit in names if shell[key] is not None]
    if shell["memory_mib"] is not None:
        rows.append(("peak memory", f"{shell['memory_mib']:.0f} MiB"))
    return rows


def _compared(found: Mapping[str, Any]) -> str:
    """Every number by every method, the best one named; nothing for one method alone."""
    if not found:
        return ""
    methods = list(found["points"])
    rows = []
    for row in found["numbers"]:
        means = [figure(row["means"][name]) if name in row["means"] else "" for name in methods]
        rows.append([escape(row["number"]), *means, escape(row["best"]), escape(row["told"])])
    heads = ["", *map(escape, methods), "best", ""]
    told = f"<p>Best method: <b>{escape(found['best'])}</b>. {escape(found['told'])}</p>"
    return "<h2>Methods side by side</h2>" + _table(heads, rows) + told


def _synonyms(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    cells = [
        [escape(r["word"]), f"{r['top1']:.0%}", escape(r["noun"]), f"{r['noun_top1']:.0%}"] for r in rows
    ]
    return "<h2>Synonyms</h2>" + _table(["word", "top-1", "noun", "top-1"], cells)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=scroll><table><tr>{head}</tr>{body}</table></div>"
