"""Baselines: what the trivial answers score, so that a metric they win is never read alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from layercli.core.errors import LayercliError
from layercli.evaluate import layers, leakage, recomposition
from layercli.evaluate._baselines import baseline_of, cutout, flat
from layercli.evaluate._run import Run
from layercli.evaluate._sample import Entry, NotJudged
from tests.evaluate.samples import ground, sample, square


def made():
    one = sample(square(), asked=("a cat",))
    return dataclasses.replace(one, whole=one.composite)


def test_one_layer_recomposes_and_fails_the_count():
    baseline = flat(made())
    assert recomposition.measure(baseline, recomposition.Options())["max"] == 0
    assert layers.measure(baseline, layers.Options())["count"] == 0
    with pytest.raises(NotJudged):
        leakage.measure(baseline, leakage.Options())


def test_a_cut_out_has_a_filled_background():
    baseline = cutout(made())
    assert recomposition.measure(baseline, recomposition.Options())["mean"] < 1
    assert layers.measure(baseline, layers.Options())["count"] == 1
    behind = baseline.stack.layers[0].rgba
    assert np.abs(behind - ground()).max() < 0.1  # the square is gone, the smooth ground is guessed
    assert leakage.measure(baseline, leakage.Options())["copied"] < 0.05


def test_baselines_stand_in_for_a_run():
    run = Run(name="mine", entries=[Entry(name="a", load=made)], digest="0")
    other = baseline_of(run, "flat")
    assert other.entries[0].load().count == 1 and other.digest != run.digest
    with pytest.raises(LayercliError, match="Did you mean flat"):
        baseline_of(run, "flut")
