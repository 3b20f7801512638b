"""Differences with their intervals, what they say about the papers' claims, and Markdown of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from layercli.evaluate._statistics import bootstrap, paired
from paper_ablations.variants import NUMBERS, Claim, Group

Scores = Mapping[str, Mapping[str, float]]
"""picture -> number -> value; a picture's name begins with its prompt's number and a dash."""


def of_prompts(scores: Scores, other: Scores, number: str) -> tuple[list[float], list[float]]:
    """A number of two variants on the pictures that both have, averaged over the seeds of a prompt.

    The seeds of a prompt are alike: intervals are over prompts.
    """
    both = [name for name in scores if number in scores[name] and number in other.get(name, {})]
    prompts = sorted({name.partition("-")[0] for name in both})
    return tuple(  # type: ignore[return-value]
        [float(np.mean([of[n][number] for n in both if n.partition("-")[0] == p])) for p in prompts]
        for of in (scores, other)
    )


def told_of(group: Group, values: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """variant -> number -> its mean with an interval, and how many prompts it is of."""
    told: dict[str, dict[str, Any]] = {}
    for name, scores in values.items():
        told[name] = {}
        for number in group.numbers:
            mine, _ = of_prompts(scores, scores, number)
            if len(mine) > 1:
                low, high = bootstrap(mine)
                told[name][number] = {"n": len(mine), "mean": float(np.mean(mine)), "low": low, "high": high}
    return told


def judged(claim: Claim, values: Mapping[str, Scores]) -> dict[str, Any] | None:
    """A claim beside what we find: the paired difference, better minus worse, and a verdict; None without
    pictures that both have.
    """
    if not {claim.better, claim.worse} <= values.keys():
        return None
    worse, better = of_prompts(values[claim.worse], values[claim.better], claim.number)
    if len(worse) < 2:
        return None
    more = NUMBERS[claim.number][0]
    found = asdict(paired(worse, better, higher_is_better=more))
    low, high = found["low"], found["high"]
    verdict = "no difference shown"
    if low is not None and (low > 0 or high < 0):
        verdict = "agrees" if (low > 0) == more else "disagrees"
    means = {"worse_mean": float(np.mean(worse)), "better_mean": float(np.mean(better))}
    return {**asdict(claim), **means, **found, "verdict": verdict}


def claims_table(found: Sequence[Mapping[str, Any]]) -> str:
    """One row a claim."""
    rows = ["| the paper says | by | it has | the other has | difference (95%) | ours |", "|---" * 6 + "|"]
    for one in found:
        between = "" if one["low"] is None else f" ({one['low']:+.3g} – {one['high']:+.3g})"
        rows.append(
            f"| {one['source']}: {one['better']} better than {one['worse']} | {one['number']} "
            f"| {one['better_mean']:.3g} | {one['worse_mean']:.3g} | {one['difference']:+.3g}{between} "
            f"| {one['verdict']} |"
        )
    return "\n".join(rows) + "\n"


def group_table(name: str, group: Group, told: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a variant, one column a number: mean (95% interval)."""
    heads = [f"{number} {'↑' if NUMBERS[number][0] else '↓'}" for number in group.numbers]
    rows = [f"| {name} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for variant, numbers in told.items():
        cells = [
            f"{entry['mean']:.3g} ({entry['low']:.3g} – {entry['high']:.3g})" if entry else ""
            for entry in (numbers.get(number) for number in group.numbers)
        ]
        rows.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def legend() -> str:
    """What the numbers are."""
    return "\n".join(f"- {name}: {what}" for name, (_, what) in NUMBERS.items()) + "\n"
