"""Blind studies from the command line: the page and its key, and what raters said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layercli.cli.gathering import gather
from layercli.cli.output import Output
from layercli.core.errors import LayercliError
from layercli.core.registry import suggest
from layercli.evaluate._document import figure
from layercli.evaluate._study import build_study, score_study
from layercli.formats._files import atomic, unique_path

MODES = ("pairs", "rating")
KEY = ".key.json"
"""The ending of a study's key, in place of the page's."""


def make_study(
    talk: Output, folders: Sequence[Path], page: Path, mode: str, most: int, seed: int, *, force: bool
) -> None:
    """Write the page, and beside it the key that names what it shows.

    Without `force` a page or a key that is there is kept, and both are numbered: what raters send back for an
    older page is worth nothing without its key.
    """
    chosen = mode or ("pairs" if len(folders) > 1 else "rating")
    if chosen not in MODES:
        raise LayercliError(f'There is no mode "{chosen}".', suggest(chosen, MODES))
    if chosen == "pairs" and len(folders) != 2:
        raise LayercliError(f"Pairs are of two runs, not {len(folders)}.", "Try: layercli eval study A B")
    if page.suffix.lower() != ".html":
        raise LayercliError(f"A study is an HTML page, not {page}.", "Try: -o study.html")
    made = build_study([gather(folder)[0] for folder in folders], chosen, most=most, seed=seed)  # type: ignore[arg-type]
    page = page if force else unique_path(page, [KEY])
    key = page.with_suffix(KEY)
    if key.exists() and _study_of(key) not in ("", made.key["layercli_study"]):
        talk.warn(f"{key} is replaced: what raters say of the page before cannot be scored any more.")
    for path, text in ((key, json.dumps(made.key, indent=1) + "\n"), (page, made.page)):  # no page keyless
        with atomic(path) as part:
            part.write_text(text, encoding="utf-8")
    for name, why in made.left_out.items():
        talk.warn(f"{name} is left out: {why}")
    talk.say(f"Send {page} to raters, and keep {key} from them.")
    talk.line(str(page), str(key))
    talk.answer({"page": str(page), "key": str(key), "items": len(made.key["items"])})


def report_study(talk: Output, key: Path, ratings: Sequence[Path]) -> None:
    """The table of what raters said."""
    found = _json(key)
    if "layercli_study" not in found:
        raise LayercliError(
            f"{key} is not the key of a study.", "Name the .key.json beside the study's page."
        )
    rows = score_study(found, [_json(path) for path in ratings])
    what = "preferred" if found["mode"] == "pairs" else "mean rating"
    talk.table(
        {"mode": found["mode"], "runs": rows},
        ("run", what, "95% interval", "items", "answers", "raters"),
        [
            (
                row["run"],
                f"{row['value']:.1%}" if found["mode"] == "pairs" else figure(row["value"]),
                "" if row["low"] is None else f"{figure(row['low'])} – {figure(row['high'])}",
                *(str(row[name]) for name in ("items", "answers", "raters")),
            )
            for row in rows
        ],
    )


def _study_of(key: Path) -> str:
    """Which study a key is of; "" for a file that is none."""
    try:
        return str(_json(key).get("layercli_study", ""))
    except LayercliError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LayercliError(f"There is no file {path}.", "Look at the spelling: ls") from None
    except (OSError, ValueError) as error:
        raise LayercliError(f"{path} cannot be read as JSON: {error}.", "Export it again.") from error
    if not isinstance(found, dict):
        raise LayercliError(f"{path} holds no ratings.", "Use the file that the study's page saves.")
    return found
