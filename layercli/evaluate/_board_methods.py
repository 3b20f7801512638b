"""Methods of a scoreboard side by side: who is better by which number, and by how many numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from layercli.core.requests import GenerateRequest
from layercli.evaluate._statistics import paired

COMPARED: Mapping[str, bool] = {
    "recognition.top1": True,
    "recognition.top5": True,
    "agreement.mean": False,
    "leakage.share": False,
    "layers.empty": False,
    "layers.duplicate": False,
    "health.haze": False,
    "health.holes": False,
    "health.specks": False,
    "health.cut": False,
}
"""The numbers by which a default method may be picked, and whether more of them is better."""

Values = Mapping[str, Mapping[str, float]]
"""sample -> metric.number -> value."""


def compare_methods(found: Mapping[str, Values]) -> dict[str, Any]:
    """Methods compared on the prompts that both of a pair have; empty for fewer than two methods.

    A method gets a point for each number and other method that it beats, and loses one for each that beats
    it: by a paired difference whose interval leaves zero out. On equal points the default method stays.
    """
    if len(found) < 2:
        return {}
    points = dict.fromkeys(found, 0)
    numbers = []
    for number, more in COMPARED.items():
        known = {name: _of(values, number) for name, values in found.items()}
        means = {name: float(np.mean(list(of.values()))) for name, of in known.items() if of}
        if not means:
            continue
        pairs = []
        for one, other in combinations(means, 2):
            both = sorted(known[one].keys() & known[other].keys())
            first, second = ([known[name][sample] for sample in both] for name in (one, other))
            if len(both) < 2:
                continue
            told = paired(first, second, higher_is_better=more)
            pairs.append({"first": one, "second": other, **asdict(told)})
            if told.low is not None and told.high is not None and (told.low > 0 or told.high < 0):
                better, worse = (other, one) if (told.low > 0) == more else (one, other)
                pairs[-1]["better"] = better
                points[better] += 1
                points[worse] -= 1
        best = (max if more else min)(means, key=lambda name: means[name])
        shown = [pair for pair in pairs if best in (pair["first"], pair["second"]) and "better" in pair]
        beaten = [pair["second"] if pair["first"] == best else pair["first"] for pair in shown]
        told_of = f"shown against {' and '.join(beaten)}" if beaten else "no difference shown"
        numbers.append({"number": number, "means": means, "pairs": pairs, "best": best, "told": told_of})
    best = max(points, key=lambda name: (points[name], name == GenerateRequest.method))
    counts = ", ".join(f"{name} {count:+d}" for name, count in points.items())
    return {"numbers": numbers, "points": points, "best": best, "told": f"differences shown: {counts}"}


def _of(values: Values, number: str) -> dict[str, float]:
    return {sample: numbers[number] for sample, numbers in values.items() if number in numbers}
