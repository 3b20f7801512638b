"""The report of a run, a page in its folder: how far it is, its curves, its sample sheets, its options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from layercli.core.html import page_head
from layercli.data._shards import write_text

WIDE, HIGH, LEFT, LOW = 560, 200, 60, 22
"""Of a curve, in pixels: its size, and the room for figures on the left and below."""

MOST_SHEETS = 12

_MORE = "figcaption { max-width: none } .sheets img { max-width: 100% }"


def write_report(out: Path, stage: str, step: int, steps: int) -> Path:
    """Write `out/report.html` from what the run has left in its folder, and return its path.

    `log.jsonl` (step, loss, lr, pictures_per_second), `losses.jsonl` (step and the parts of the loss, where
    the stage has parts), `options.json` and `samples-*.png`, which the page shows from beside it. A resumed
    run may have logged a step twice; the later row counts.
    """
    log, parts = rows_by_step(out / "log.jsonl"), rows_by_step(out / "losses.jsonl")
    title = f"layercli train {stage}: {'finished' if step >= steps else 'under way'}"
    speeds = [row["pictures_per_second"] for row in log]
    speed = f", {np.median(speeds):.3g} pictures a second" if speeds else ""
    drawn = [curve([row["step"] for row in log], [row[key] for row in log], name) for key, name in _CURVES]
    for key in [key for key in parts[-1] if key != "step"] if parts else []:
        rows = [row for row in parts if key in row]
        drawn.append(curve([row["step"] for row in rows], [row[key] for row in rows], f"loss: {key}"))
    sheets = sorted(out.glob("samples-*.png"), reverse=True)
    page = [
        page_head(title, _MORE),
        f"<h1>{escape(title)}</h1><p class=faint>{step:,} of {steps:,} steps{speed}.</p>",
        f"<h2>Curves</h2><div class=row>{''.join(drawn)}</div>",
        _sheets(sheets),
        _options(json.loads((out / "options.json").read_text(encoding="utf-8"))),
    ]
    write_text(out / "report.html", "".join(page) + "</html>\n")
    return out / "report.html"


_CURVES = (("loss", "loss"), ("lr", "learning rate"), ("pictures_per_second", "pictures a second"))


def rows_by_step(file: Path) -> list[dict[str, Any]]:
    """The rows of a log in order of their steps, one a step: the last that was written."""
    if not file.is_file():
        return []
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted({row["step"]: row for row in rows}.values(), key=lambda row: row["step"])


def curve(steps: Sequence[int], values: Sequence[float], name: str) -> str:
    """Values over steps as an HTML figure: faint as measured, and strong as their centred running mean.

    The mean is over a twentieth of the values. Fewer than two values make no curve: an empty string.
    """
    if len(values) < 2:
        return ""
    x, y = np.asarray(steps, float), np.asarray(values, float)
    low, high = float(y.min()), float(y.max())
    # A few wild values at the beginning must not flatten the rest.
    if len(y) >= 40:
        high = min(high, float(np.quantile(y, 0.98)))
    span = (high - low) or abs(high) or 1.0

    def points(height: np.ndarray) -> str:
        across = LEFT + (x - x[0]) / (x[-1] - x[0]) * (WIDE - LEFT - 6)
        up = HIGH - LOW - (height.clip(low, high) - low) / span * (HIGH - LOW - 8)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))

    base = HIGH - LOW
    return (
        f"<figure><svg width={WIDE} height={HIGH} role=img aria-label='{escape(name)}'>"
        f"<path d='M{LEFT} 4V{base}H{WIDE}' fill=none stroke='var(--line)'/>"
        f"<text x={LEFT - 6} y=12 text-anchor=end>{high:.3g}</text>"
        f"<text x={LEFT - 6} y={base} text-anchor=end>{low:.3g}</text>"
        f"<text x={LEFT} y={HIGH - 6}>{int(x[0]):,}</text>"
        f"<text x={WIDE - 4} y={HIGH - 6} text-anchor=end>{int(x[-1]):,}</text>"
        f"<polyline points='{points(y)}' fill=none stroke='var(--mark)' opacity=.35 />"
        f"<polyline points='{points(running_mean(y))}' fill=none stroke='var(--mark)' stroke-width=2 />"
        f"</svg><figcaption>{escape(name)}: {values[-1]:.4g} at the end, "
        f"{min(values):.4g} to {max(values):.4g}</figcaption></figure>"
    )


def running_mean(values: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) means over a twentieth of the values around each, of fewer at the ends."""
    half = len(values) // 40
    sums = np.concatenate([[0.0], values.cumsum()])
    places = np.arange(len(values))
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _sheets(sheets: Sequence[Path]) -> str:
    """The newest sheet, and the earlier ones folded away."""
    shown = [
        f"<figure class=sheets><img src='{escape(sheet.name)}' alt='' loading=lazy>"
        f"<figcaption>step {int(sheet.stem.rpartition('-')[2]):,}</figcaption></figure>"
        for sheet in sheets[:MOST_SHEETS]
    ]
    if not shown:
        return ""
    earlier = f"<details><summary>Earlier</summary>{''.join(shown[1:])}</details>" if shown[1:] else ""
    return f"<h2>Samples: the same prompts and noise at every checkpoint</h2>{shown[0]}{earlier}"


def _options(asked: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(key)}</td><td><code>{escape(json.dumps(value))}</code></td></tr>"
        for key, value in asked.items()
    )
    return f"<details><summary>Options</summary><div class=scroll><table>{rows}</table></div></details>"
