"""The embedded model's scoreboard: what its numbers are, and which goals they meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from layercli.core.errors import LayercliError
from layercli.evaluate import kid, recognition
from layercli.evaluate._rows import Rows, rows_from
from layercli.evaluate._run import Evaluation
from layercli.evaluate._statistics import interval

PROMPTS = Path(__file__).with_name("prompts") / "board.txt"
_Item = TypeVar("_Item")
PAPERS = PROMPTS.with_name("papers.txt")
SCENES = (
    "a beach", "a forest", "mountains", "a sea", "a desert", "a snowy landscape", "a canyon", "green fields",
    "city buildings", "a lake", "hills", "a valley", "a living room", "a bedroom", "a kitchen", "a bathroom",
    "a sky", "a sunset", "a foggy landscape", "an industrial station interior",
)  # fmt: skip
SYNONYMS: Mapping[str, str] = {
    word: recognition.SYNONYMS[word]
    for word in (
        "kitty", "kitten", "puppy", "hound", "canine", "sedan", "plane", "jet", "airliner", "cycle", "pony",
        "stallion", "hare", "piglet", "hog", "yacht", "vessel", "fortress", "cottage", "donut", "eyeglasses",
        "cellphone", "sneaker", "textbook",
    )
}  # fmt: skip
"""Words that no caption of the embedded model's training has, and their nouns, which many have."""
TOP1_GOAL, TOP5_GOAL, SYNONYM_GOAL, SECONDS_GOAL = 0.60, 0.85, 0.15, 10.0


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share with its 95% interval over nouns."""

    value: float
    low: float | None = None
    high: float | None = None


def layered_prompts(path: Path = PROMPTS) -> list[tuple[tuple[str, ...], str]]:
    """(foregrounds back to front, background) of every line of a prompt file; raises LayercliError."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        things, slash, ground = line.partition(" / ")
        parts = tuple(part.strip() for part in things.split(" + "))
        if not slash or not all(parts) or not ground.strip():
            raise LayercliError(f'Line {number} of {path} is not "a thing + a thing / a ground".', "Mend it.")
        found.append((parts, ground.strip()))
    return found


def spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """As many as `most` of the items, evenly spread from the first to the last; 0 for all."""
    if not 0 < most < len(items):
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, most - 1))] for i in range(most)]


def by_noun(found: Evaluation, nouns: Mapping[str, str], number: str) -> dict[str, float]:
    """The mean over seeds of a per-sample number, by noun; a sample that could not be judged counts 0.

    nouns: sample -> noun.
    """
    values: dict[str, list[float]] = {}
    for sample, noun in nouns.items():
        values.setdefault(noun, []).append(found.values.get(sample, {}).get(number, 0.0))
    return {noun: float(np.mean(each)) for noun, each in values.items()}


def rate(values: Mapping[str, float], seed: int = 0) -> Rate:
    """The mean over nouns; nouns, not pictures, are resampled, for seeds of one noun are alike."""
    numbers = list(values.values())
    low, high = interval(numbers, seed)
    return Rate(value=float(np.mean(numbers)) if numbers else 0.0, low=low, high=high)


def ceiling_of(config: Mapping[str, Any], nouns: Sequence[str]) -> dict[str, float]:
    """The classifier's accuracy on real objects that were kept back, over the nouns that are drawn."""
    known = config.get("ceiling", {}).get("by_noun", {})
    rows = np.array([known[noun] for noun in nouns if noun in known])
    if not len(rows):
        raise LayercliError(
            "None of these nouns was tested on real objects.", "Choose some of: " + ", ".join(list(known)[:8])
        )
    return {"top1": float(rows[:, 0].mean()), "top5": float(rows[:, 1].mean()), "nouns": float(len(rows))}


def reference_rows(folder: Path) -> dict[str, Rows]:
    """The features of held-out objects and scenes that ship beside the classifier; raises LayercliError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(folder / "reference.safetensors")
    except (OSError, SafetensorError) as error:
        raise LayercliError(
            f"The reference features in {folder} cannot be read: {error}.",
            "Reinstall layercli: pip install --force-reinstall layercli",
        ) from error
    return {part: rows_from(values.astype(np.float64)) for part, values in tensors.items()}


def distance(rows: Rows | None, reference: Rows) -> dict[str, float] | None:
    """KID of drawn pictures and held-out ones; None where there are too few."""
    if rows is None or len(rows) < 4:
        return None
    options = kid.Options()
    size = kid.subset_size(len(rows), len(reference), options.size)
    return {**kid.distance(rows, reference, options), "n": len(rows), "subset": size}


def synonyms(top1: Mapping[str, float], drawn: Mapping[str, float]) -> list[dict[str, Any]]:
    """Every synonym beside its noun: top-1 of both, and how far it falls short."""
    return [
        {
            "word": word,
            "noun": noun,
            "top1": drawn[word],
            "noun_top1": top1[noun],
            "short": top1[noun] - drawn[word],
        }
        for word, noun in SYNONYMS.items()
        if word in drawn and noun in top1
    ]


def goals(
    top: Mapping[str, Rate],
    ceiling: Mapping[str, float],
    words: Sequence[Mapping[str, Any]],
    seconds: float | None,
) -> list[dict[str, Any]]:
    """The goals, what was reached, and whether it is enough."""
    found = [
        _goal("top-1, of the ceiling", top["top1"].value / max(ceiling["top1"], 1e-9), TOP1_GOAL, "least"),
        _goal("top-5, of the ceiling", top["top5"].value / max(ceiling["top5"], 1e-9), TOP5_GOAL, "least"),
    ]
    if words:
        short = float(np.mean([word["short"] for word in words]))
        found.append(_goal("synonyms fall short of their nouns by", short, SYNONYM_GOAL, "most"))
    if seconds is not None:
        found.append(_goal("seconds from the shell to a file", seconds, SECONDS_GOAL, "most"))
    return found


def _goal(name: str, value: float, goal: float, at: str) -> dict[str, Any]:
    met = value >= goal if at == "least" else value <= goal
    return {"goal": name, "value": value, "at": at, "wanted": goal, "met": met}
