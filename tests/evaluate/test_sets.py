"""Distances of sets on given features: closed forms, identity, symmetry, order, batches, number types."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from layercli.core.errors import LayercliError
from layercli.evaluate import cmmd, fid, kid, variety
from layercli.evaluate._rows import Rows, rows_from

METRICS = [(fid, fid.Options()), (kid, kid.Options(subsets=20)), (cmmd, cmmd.Options(sigma=0.5))]


def features(
    count: int = 60, width: int = 8, seed: int = 0, shift: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (count, width))


def number(metric, options, first: np.ndarray, second: np.ndarray) -> float:
    return next(iter(metric.distance(rows_from(first), rows_from(second), options).values()))


def gaussians(mean: np.ndarray, covariance: np.ndarray, count: int) -> np.ndarray:
    """A set whose sample mean and covariance are exactly these."""
    raw = features(count, len(mean), 3)
    raw -= raw.mean(axis=0)
    whitened = raw @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(raw.T))).T)
    return whitened @ np.linalg.cholesky(covariance).T + mean


def test_fid_is_the_closed_form_of_two_gaussians():
    rng = np.random.default_rng(1)
    means = rng.normal(size=(2, 5))
    roots = rng.normal(size=(2, 5, 5))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(5)
    sets = [gaussians(means[i], covariances[i], 40 + 30 * i) for i in (0, 1)]
    cross = sqrtm(covariances[0] @ covariances[1]).real
    wanted = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * cross)
    assert fid.frechet(*sets) == pytest.approx(wanted, rel=1e-9)


def test_fid_of_gaussians_in_one_dimension():
    """(μ1 - μ2)² + (σ1 - σ2)²."""
    sets = [gaussians(np.array([m]), np.array([[s * s]]), 30) for m, s in ((1.0, 2.0), (4.0, 0.5))]
    assert fid.frechet(*sets) == pytest.approx(9 + 2.25, rel=1e-9)


@pytest.mark.parametrize("count", [6, 40])
def test_fid_agrees_with_scipy_also_where_covariances_are_singular(count: int):
    first, second = features(count, 12), features(count + 4, 12, 1, 0.3, 1.4)
    a, b = np.cov(first.T), np.cov(second.T)
    eigenvalues = np.linalg.eigvals(a @ b).real.clip(0)
    wanted = (
        np.square(first.mean(0) - second.mean(0)).sum() + np.trace(a + b) - 2 * np.sqrt(eigenvalues).sum()
    )
    assert fid.frechet(first, second) == pytest.approx(wanted, rel=1e-6)


def test_fid_falls_with_the_number_of_samples_of_one_source():
    def between(count: int) -> float:
        return fid.frechet(features(count, 16, 1), features(count, 16, 2))

    assert between(30) > between(100) > between(1000) > 0


def test_kid_is_the_unbiased_estimate_by_hand():
    a, b = features(5, 3), features(4, 3, 1)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    same_a = np.mean([kernel(a[i], a[j]) for i in range(5) for j in range(5) if i != j])
    same_b = np.mean([kernel(b[i], b[j]) for i in range(4) for j in range(4) if i != j])
    cross = np.mean([kernel(x, y) for x in a for y in b])
    assert kid.squared_mmd(a, b) == pytest.approx(same_a + same_b - 2 * cross, rel=1e-12)


def test_kid_of_one_source_is_zero_on_average_whatever_the_number():
    for count in (20, 80):
        found = [kid.squared_mmd(features(count, 4, i), features(count, 4, 1000 + i)) for i in range(200)]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


def test_kid_takes_the_subsets_that_there_are():
    assert kid.subset_size(5000, 1000, 1000) == 1000
    assert kid.subset_size(5000, 300, 1000) == 150
    small = kid.distance(rows_from(features(30)), rows_from(features(30, seed=1)), kid.Options())
    assert small["kid_std"] > 0


def test_cmmd_is_the_closed_form_of_two_points():
    a, b = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
    wanted = 1000 * (2 - 2 * np.exp(-2 / (2 * 0.25)))
    assert number(cmmd, cmmd.Options(sigma=0.5), a, b) == pytest.approx(wanted)


def test_cmmd_goes_through_pairs_in_blocks(monkeypatch: pytest.MonkeyPatch):
    a, b = features(50), features(30, seed=1)
    whole = cmmd.mean_kernel(a, b, 1.0)
    monkeypatch.setattr(cmmd, "_BLOCK", 7)
    assert cmmd.mean_kernel(a, b, 1.0) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("metric", "options"), METRICS)
def test_a_set_is_next_to_itself(metric, options):
    same = features()
    assert number(metric, options, same, same) == pytest.approx(0, abs=0.3 if metric is kid else 1e-9)


@pytest.mark.parametrize(("metric", "options"), METRICS)
def test_order_and_direction_do_not_matter(metric, options):
    first, second = features(80), features(80, seed=1, shift=0.5)
    mixed = first[np.random.default_rng(0).permutation(len(first))]
    tolerance = 0.2 if metric is kid else 1e-9  # kid draws its subsets by place
    assert number(metric, options, mixed, second) == pytest.approx(
        number(metric, options, first, second), rel=tolerance
    )
    assert number(metric, options, second, first) == pytest.approx(
        number(metric, options, first, second), rel=tolerance
    )


@pytest.mark.parametrize(("metric", "options"), METRICS)
def test_farther_sets_score_higher(metric, options):
    real = features(100)
    found = [number(metric, options, features(100, seed=1, shift=shift), real) for shift in (0, 0.5, 2.0)]
    assert found == sorted(found) and found[2] > 2 * abs(found[1])


@pytest.mark.parametrize(("metric", "options"), METRICS)
def test_single_precision_features_give_the_same_number(metric, options):
    first, second = features(70), features(70, seed=1, shift=0.5)
    halved = number(metric, options, first.astype(np.float32), second.astype(np.float32))
    assert halved == pytest.approx(number(metric, options, first, second), rel=1e-4)


@pytest.mark.parametrize(("metric", "options"), METRICS[:2])
def test_too_few_pictures_have_their_sentence(metric, options):
    with pytest.raises(LayercliError, match=r"needs \d pictures or more, and the reference has 1"):
        number(metric, options, features(), features(1))


def test_features_of_two_nets_are_refused():
    with pytest.raises(LayercliError, match="different nets"):
        number(fid, fid.Options(), features(width=8), features(width=9))


def test_features_that_are_not_numbers_are_refused():
    with pytest.raises(LayercliError, match="not finite"):
        rows_from(np.array([[1.0, np.nan]]))


def test_variety_counts_seeds_of_one_prompt_and_not_layers_of_one_sample():
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    rows = Rows(
        features=np.array([one, one, other, other]),
        samples=np.array(["a", "a", "b", "c"]),
        prompts=np.array(["cat", "cat", "cat", "dog"]),
    )
    found = variety.distance(rows, rows, variety.Options())
    assert found["within"] == pytest.approx(1.0)  # a-b twice; a-a is one sample
    assert found["between"] == pytest.approx((1 + 1 + 0) / 3)
    with pytest.raises(LayercliError, match="two pictures or more of one prompt"):
        variety.distance(rows.of(np.array(["b", "c"])), rows, variety.Options())


def test_agreement_with_torch_fidelity():
    """What torch-fidelity 0.4.0 gives for these features, with KID subsets of 100."""
    first, second = features(300, 24), features(300, 24, 1, 0.2, 1.1)
    assert fid.frechet(first, second) == pytest.approx(2.2836303833759075, rel=1e-10)
    found = kid.distance(rows_from(first), rows_from(second), kid.Options(subsets=30, size=100))
    assert found["kid"] == pytest.approx(0.12089162591804639, rel=1e-10)
    assert found["kid_std"] == pytest.approx(0.03157370893389496, rel=1e-10)
