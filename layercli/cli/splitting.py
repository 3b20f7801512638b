"""A whole description in place of --fg and --bg: split, shown, and gone on with as if typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layercli.cli.output import Output
from layercli.core.splitting import Split, split_prompt


def with_split(talk: Output, params: Mapping[str, Any]) -> tuple[dict[str, Any], Split | None]:
    """The options with --fg and --bg filled in from --prompt where they were left out, and the split."""
    asked = dict(params)
    planner = asked.pop("planner", None)
    typed = asked["foregrounds"] and asked["background"]
    if typed or asked["repeat"] or not asked["prompt"]:
        if planner:
            talk.warn("--planner has nothing to split: it reads --prompt where --fg or --bg is left out.")
        return asked, None
    split = split_description(asked["prompt"], planner)
    asked["foregrounds"] = list(asked["foregrounds"] or split.foregrounds)
    asked["background"] = split.background if asked["background"] is None else asked["background"]
    asked["negative"] = asked["negative"] or split.negative or None
    for note in split.notes:
        talk.warn(note)
    talk.say(f"Split by {split.by}: {split.words}")
    return asked, split


def split_description(text: str, planner: str | None) -> Split:
    """Split by a language model of a folder, or by rules where none is given."""
    if not planner:
        return split_prompt(text)
    from layercli.models.planner import Planner

    return Planner(Path(planner).expanduser()).split(text)
