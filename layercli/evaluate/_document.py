"""The evaluation as a document: JSON with everything, CSV and LaTeX with the scores; two of them compared."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.score import Score
from layercli.evaluate._run import Evaluation, Run
from layercli.evaluate._statistics import paired

SCHEMA = 1
_COUNTS = ("n", "n_reference")
"""Numbers of pictures: no setting, but what a biased score cannot be compared across."""
_PLACES = ("net", "model", "head")
"""Options that name a net or the place of one; the hashes beside them say whether two are the same."""
_AGAIN = "Make it again: layercli eval RUN_DIR -o report.json"


def document(
    found: Evaluation,
    run: Run,
    reference: Run | None,
    *,
    layout: str,
    command: str,
    versions: Mapping[str, str],
    device: str = "cpu",
) -> dict[str, Any]:
    """Plain values only: what was evaluated, with what, and what came out."""
    return {
        "layercli_eval": SCHEMA,
        "command": command,
        "versions": dict(versions),
        "device": device,
        "run": {
            "name": run.name,
            "layout": layout,
            "sha256": run.digest,
            "samples": len(run.entries),
            "read": len(found.counts),
            "seeds": sorted(found.seeds),
            "layer_counts": dict(sorted(_counted(found.counts.values()).items())),
            "sizes": _counted(found.sizes.values()),
        },
        "reference": None
        if reference is None
        else {"name": reference.name, "sha256": reference.digest, "samples": len(reference.entries)},
        "scores": [score.to_dict() for score in found.scores],
        "samples": {
            name: {
                "layers": found.counts[name],
                "prompt": found.prompts[name],
                "values": found.values[name],
            }
            for name in sorted(found.counts)
        },
        "unreadable": found.unreadable,
        "unjudged": found.unjudged,
        "notes": found.notes,
    }


def seeds_of(found: Mapping[str, Any]) -> str:
    """The seeds of a document's run in words."""
    seeds = found["run"]["seeds"]
    if not seeds:
        return "seeds unknown"
    listed = ", ".join(map(str, seeds[:12])) + (", …" if len(seeds) > 12 else "")
    return f"seed {listed}" if len(seeds) == 1 else f"{len(seeds)} seeds: {listed}"


def _counted(values: Any) -> dict[str, int]:
    counted: dict[str, int] = {}
    for value in values:
        counted[str(value)] = counted.get(str(value), 0) + 1
    return counted


def read_document(path: Path) -> dict[str, Any]:
    """A document of this schema; raises LayercliError for anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LayercliError(f"There is no file {path}.", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise LayercliError(f"{path} is not a report of layercli eval: {error}.", _AGAIN) from error
    if not isinstance(found, dict) or "layercli_eval" not in found:
        raise LayercliError(f"{path} is not a report of layercli eval.", _AGAIN)
    if found["layercli_eval"] != SCHEMA:
        raise LayercliError(
            f"{path} is a report of schema {found['layercli_eval']}, and this version reads {SCHEMA}.",
            _AGAIN,
        )
    scores, samples = found.get("scores"), found.get("samples")
    listed = isinstance(scores, list) and all(isinstance(one, dict) for one in scores)
    if not listed or not isinstance(samples, dict) or not all(map(_is_sample, samples.values())):
        raise LayercliError(f"{path} is a damaged report: scores or samples are missing.", _AGAIN)
    return found


def _is_sample(found: Any) -> bool:
    return isinstance(found, dict) and "layers" in found and isinstance(found.get("values"), dict)


def scores_in(found: Mapping[str, Any]) -> list[Score]:
    """The scores of a document."""
    return [Score.from_dict(values) for values in found["scores"]]


def differing(first: Score, second: Score) -> list[str]:
    """The settings on which two scores of one metric do not agree, as "name: this, that".

    Where the weights are the same, it does not matter in which folder they lay.
    """
    found = []
    weights = [score.settings.get("weights") for score in (first, second)]
    places = _PLACES if weights[0] and weights[0] == weights[1] else ()
    left_out = (*_COUNTS, *(("net",) if places else ()))
    names = [name for name in dict.fromkeys((*first.settings, *second.settings)) if name not in left_out]
    for name in names:
        mine, theirs = first.settings.get(name), second.settings.get(name)
        if mine == theirs:
            continue
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            for key in dict.fromkeys((*mine, *theirs)):
                if key not in places and mine.get(key) != theirs.get(key):
                    found.append(f"{name} {key}: {mine.get(key)}, {theirs.get(key)}")
        else:
            found.append(f"{name}: {_brief(mine)}, {_brief(theirs)}")
    return found


def compared(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every score that both documents hold, side by side; per-sample metrics are paired by sample.

    Samples pair by name, unless their prompts are known and differ; the difference of paired numbers is that
    of the pairs.
    Raises LayercliError where nothing is shared, and where settings differ, naming all that do.
    """
    mine = {score.key: score for score in scores_in(first)}
    theirs = {score.key: score for score in scores_in(second)}
    shared = [key for key in mine if key in theirs]
    if not shared:
        raise LayercliError(
            "The two reports have no score in common.", "Evaluate both with the same --metrics."
        )
    wrong: dict[str, str] = {}
    for key in shared:
        for difference in differing(mine[key], theirs[key]):
            wrong.setdefault(f"{mine[key].metric.partition('.')[0]} ({difference})", key[0])
    if wrong:
        listed = "; ".join(list(wrong)[:4]) + ("; …" if len(wrong) > 4 else "")
        raise LayercliError(
            f"These scores were made with other settings and cannot be compared: {listed}.",
            "Evaluate both runs again with the same options and the same reference.",
        )
    return [_side_by_side(mine[key], theirs[key], first, second) for key in shared]


def _side_by_side(
    mine: Score, theirs: Score, first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": mine.metric, "part": mine.part, "layers": mine.layers, "better": mine.better,
        "first": mine.value, "second": theirs.value, "difference": theirs.value - mine.value, "note": "",
    }  # fmt: skip
    counts = [[score.settings.get(name, score.n) for name in _COUNTS] for score in (mine, theirs)]
    if (mine.note or theirs.note) and counts[0] != counts[1]:
        row |= {"difference": None, "note": f"N differs ({mine.n}, {theirs.n}), and it is biased in N"}
        return row
    values = [_values(found, mine.metric, mine.layers) for found in (first, second)]
    shared = [name for name in values[0] if name in values[1]]
    names = [name for name in shared if _alike(first["samples"][name], second["samples"][name])]
    if len(names) < len(shared):
        row["note"] = f"{len(shared) - len(names)} samples of one name have other prompts: not paired"
    if len(names) > 1:
        pair = paired(
            [values[0][name] for name in names],
            [values[1][name] for name in names],
            higher_is_better=mine.better != "lower",
        )
        row |= {"paired": asdict(pair), "difference": pair.difference}
        if not row["note"] and not len(names) == mine.n == theirs.n:
            row["note"] = f"over the {len(names)} samples that both have"
    return row


def _alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    prompts = [sample.get("prompt") for sample in (first, second)]
    return not all(prompts) or prompts[0] == prompts[1]


def _values(found: Mapping[str, Any], metric: str, layers: str) -> dict[str, float]:
    return {
        name: sample["values"][metric]
        for name, sample in found["samples"].items()
        if metric in sample["values"] and layers in ("all", str(sample["layers"]))
    }


def _brief(value: Any) -> str:
    text = "none" if value in ("", None) else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def as_csv(scores: Sequence[Score]) -> str:
    """One row a score; settings as JSON in the last column."""
    out = io.StringIO()
    columns = [name for name in Score.__dataclass_fields__ if name != "settings"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*columns, "settings"])
    for score in scores:
        plain = [getattr(score, name) for name in columns]
        cells = ["" if value is None else value for value in plain]
        writer.writerow([*cells, json.dumps(dict(score.settings), sort_keys=True)])
    return out.getvalue()


def as_latex(found: Mapping[str, Any]) -> str:
    """A booktabs table: one row a metric and part, one column a layer count; comments say the rest."""
    scores = scores_in(found)
    groups = list(dict.fromkeys(score.layers for score in scores))
    reference = found["reference"]
    told = [
        f"{found['run']['read']} of {found['run']['samples']} samples; {seeds_of(found)}; "
        f"run {found['run']['sha256'][:12]}; reference {reference['sha256'][:12] if reference else 'none'}",
        ", ".join(f"{name} {number}" for name, number in found["versions"].items()),
        found["command"],
        *found["notes"],
    ]
    heads = " & ".join(group if group == "all" else f"{group} layers" for group in groups)
    lines = [
        *("% " + " ".join(line.split()) for line in told),
        r"\begin{tabular}{llr" + "r" * len(groups) + "}",
        r"\toprule",
        rf"metric & part & $n$ & {heads} \\",
        r"\midrule",
    ]
    for (metric, part), by_group in by_layers(scores).items():
        score = by_group.get("all") or next(iter(by_group.values()))
        arrow = {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}.get(score.better, "")
        cells = " & ".join(_cell(by_group.get(group)) for group in groups)
        name = metric.replace("_", r"\_")
        lines.append(rf"{name}{arrow} & {part} & {score.n} & {cells} \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def by_layers(scores: Sequence[Score]) -> dict[tuple[str, str], dict[str, Score]]:
    """Scores by metric and part, and then by layer count."""
    rows: dict[tuple[str, str], dict[str, Score]] = {}
    for score in scores:
        rows.setdefault((score.metric, score.part), {})[score.layers] = score
    return rows


def _cell(score: Score | None) -> str:
    if score is None:
        return "--"
    if score.low is None or score.high is None:
        return figure(score.value)
    return rf"{figure(score.value)} {{\scriptsize [{figure(score.low)}, {figure(score.high)}]}}"


def figure(value: float) -> str:
    """A number as people read it: four significant digits, no exponent where it can be helped."""
    if value == 0 or not 1e-5 <= abs(value) < 1e7:
        return f"{value:.3g}"
    digits = max(0, 3 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{digits}f}"
