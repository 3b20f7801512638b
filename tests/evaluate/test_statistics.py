"""Intervals, paired comparisons and their chances: by hand, at their ends, and by coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from layercli.core.score import Score
from layercli.evaluate._document import differing
from layercli.evaluate._statistics import bootstrap, interval, jackknife, paired


def test_the_interval_of_a_mean_is_the_normal_one_for_many_values():
    values = np.random.default_rng(0).normal(3, 2, 2000)
    reach = norm.ppf(0.975) * values.std() / np.sqrt(len(values))
    low, high = bootstrap(values.tolist())
    assert low == pytest.approx(values.mean() - reach, abs=0.1 * reach)
    assert high == pytest.approx(values.mean() + reach, abs=0.1 * reach)


def test_too_few_values_and_values_that_are_alike_have_no_interval():
    assert interval([1.0, 2.0, 3.0, 4.0]) == (None, None)
    assert interval([1.0] * 50) == (None, None)
    low, high = interval([1.0, 1.0, 1.0, 1.0, 0.0])
    assert low is not None and low < 0.8 < high


def test_a_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(0, 1, 400)
    low, high = jackknife(400, lambda kept: float(values[kept].mean())) or (0, 0)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.6)
    assert jackknife(19, lambda kept: 0.0) is None
    assert jackknife(40, lambda kept: float("nan")) is None


def test_few_pairs_have_an_exact_chance():
    """Of 2^n flips of all signs, two are as extreme as four differences of one direction."""
    found = paired([0, 0, 0, 0], [1, 2, 3, 4], higher_is_better=True)
    assert found.chance == 2 / 16 and found.wins == 1 and found.difference == 2.5
    assert (found.low, found.high) == (None, None)
    assert paired([0] * 8, list(range(1, 9)), higher_is_better=False).chance == 2 / 256
    assert paired([0] * 8, list(range(1, 9)), higher_is_better=False).wins == 0
    assert paired([1, 2, 3], [1, 2, 3], higher_is_better=True).chance == 1
    assert paired([1, 2, 3], [1, 2, 3], higher_is_better=True).wins == 0.5


def test_many_pairs_have_a_drawn_chance_that_is_fair():
    rng = np.random.default_rng(2)
    chances = [paired(*rng.normal(size=(2, 16)), higher_is_better=True).chance for _ in range(100)]
    assert 0.3 < np.mean(chances) < 0.7 and min(chances) > 0
    assert np.mean(np.array(chances) < 0.05) <= 0.15


def test_the_same_weights_in_another_folder_are_the_same_net():
    def score(folder: str, **changes: object) -> Score:
        settings = {
            "options": {"model": folder, "scale": "100"}, "net": f"CLIP {folder}", "weights": "a",
            "features": 8, "head weights": "h",
        }  # fmt: skip
        return Score(metric="clip.whole", value=1, better="higher", n=1, settings={**settings, **changes})

    assert differing(score("here"), score("there")) == []
    assert differing(score("here"), score("there", weights="b")) == [
        "options model: here, there", "net: CLIP here, CLIP there", "weights: a, b",
    ]  # fmt: skip
    assert differing(score("here"), score("there", features=9)) == ["features: 8, 9"]
    assert differing(score("here"), score("there", **{"head weights": "i"})) == ["head weights: h, i"]
    other = {"model": "here", "scale": "2.5"}
    assert differing(score("here"), score("here", options=other)) == ["options scale: 100, 2.5"]
