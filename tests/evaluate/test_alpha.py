"""Errors of alpha: by hand, at their ends, and by an independent reading of the paper."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import convolve, gaussian_filter, label

from layercli.evaluate import alpha
from layercli.evaluate._pairs import matched_alphas
from layercli.evaluate._sample import NotJudged
from tests.evaluate.samples import sample, square


def soft(seed: int = 0, side: int = 40) -> np.ndarray:
    """A smooth alpha that touches 0 and 1."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 4)
    return np.clip((noise - noise.mean()) / noise.std() + 0.5, 0, 1).astype(np.float32)


def test_an_alpha_is_its_own_truth():
    found = alpha.errors(soft(), soft(), alpha.Options())
    assert found == {"sad": 0, "mse": 0, "mad": 0, "grad": 0, "conn": 0, "iou": 1}


def test_sums_and_means_by_hand():
    made, truth = np.full((20, 50), 0.75, np.float32), np.ones((20, 50), np.float32)
    found = alpha.errors(made, truth, alpha.Options())
    assert found["sad"] == pytest.approx(0.25)
    assert found["mse"] == pytest.approx(62.5)
    assert found["mad"] == pytest.approx(250)
    assert found["iou"] == pytest.approx(0.75)
    assert found["grad"] == pytest.approx(0)  # both are flat


def test_the_gradient_is_that_of_derivative_filters_of_sigma_1_4():
    made, truth = soft(), soft(1)
    reach = np.arange(-6, 7)
    bell = np.exp(-np.square(reach) / (2 * 1.4**2))
    bell /= bell.sum()
    slope = -reach / 1.4**2 * bell

    def magnitude(picture: np.ndarray) -> np.ndarray:
        along = convolve(convolve(picture.astype(float), slope[None], mode="reflect"), bell[:, None])
        down = convolve(convolve(picture.astype(float), slope[:, None], mode="reflect"), bell[None])
        return np.hypot(along, down)

    wanted = np.square(magnitude(made) - magnitude(truth)).sum() / 1000
    assert alpha.errors(made, truth, alpha.Options())["grad"] == pytest.approx(wanted, rel=0.01)


def test_connectivity_by_the_words_of_the_paper():
    """For each pixel the highest threshold at which it hangs together with the largest common region."""
    made, truth = soft(2, 24), soft(3, 24)
    thresholds = np.round(np.arange(0, 1.01, 0.1), 10)
    level = np.zeros(made.shape)
    joined = np.ones(made.shape, bool)
    for at in thresholds[1:]:
        regions, count = label((made >= at) & (truth >= at))
        sizes = [(regions == n + 1).sum() for n in range(count)]
        joined &= regions == int(np.argmax(sizes)) + 1 if count else False
        level[joined] = at
    short = [np.where(picture - level >= 0.15, picture - level, 0) for picture in (made, truth)]
    wanted = np.abs(short[0] - short[1]).sum() / 1000
    assert alpha.errors(made, truth, alpha.Options())["conn"] == pytest.approx(wanted, abs=1e-9)


def test_a_piece_that_hangs_loose_costs_connectivity_and_not_its_own_area_alone():
    truth = np.zeros((30, 30), np.float32)
    truth[4:20, 4:20] = 1
    touching, loose = truth.copy(), truth.copy()
    touching[20:24, 4:8] = 1
    loose[24:28, 24:28] = 1
    found = [alpha.errors(made, truth, alpha.Options()) for made in (touching, loose)]
    assert found[0]["sad"] == found[1]["sad"]
    assert found[1]["conn"] == pytest.approx(16 / 1000)


def test_soft_iou_at_its_ends():
    empty, full = np.zeros((4, 4)), np.ones((4, 4))
    assert alpha.soft_iou(empty, empty) == 1
    assert alpha.soft_iou(empty, full) == 0
    assert alpha.soft_iou(full * 0.5, full) == 0.5


def test_the_unknown_region_is_around_what_is_soft():
    truth = np.zeros((20, 20), np.float32)
    truth[:, 10:] = 1
    region = alpha.unknown(truth, 2)
    assert region[:, 8:12].all() and region.sum() == 20 * 4
    assert alpha.unknown(truth, 0).sum() == 0
    made = truth.copy()
    made[0, 0] = 1  # outside the region: seen by the whole, not by the trimap
    whole, narrow = (
        alpha.errors(made, truth, alpha.Options(region=region, band=2)) for region in ("whole", "unknown")
    )
    assert whole["sad"] > 0 and narrow["sad"] == 0


def test_foregrounds_find_their_partners_by_overlap():
    red, small = square(16), square(10, (0, 0, 1))
    truth = sample(red, small, at=(4, 4))
    swapped = dataclasses.replace(truth.stack, layers=tuple(truth.stack.layers[i] for i in (0, 2, 1)))
    made = dataclasses.replace(sample(red), stack=swapped, truth=truth)
    assert alpha.measure(made, alpha.Options())["iou"] == pytest.approx(1)
    assert alpha.measure(made, alpha.Options(match="order"))["iou"] < 0.7


def test_a_foreground_without_a_partner_is_held_against_nothing():
    made = sample(square(), truth=sample(square(), square()))
    pairs = matched_alphas(made, "overlap")
    assert len(pairs) == 2
    assert alpha.measure(made, alpha.Options())["iou"] == pytest.approx(0.5)


def test_what_cannot_be_compared_says_why():
    with pytest.raises(NotJudged, match="no sample of this name"):
        alpha.measure(sample(square()), alpha.Options())
    with pytest.raises(NotJudged, match="has a foreground"):
        alpha.measure(sample(truth=sample()), alpha.Options())
