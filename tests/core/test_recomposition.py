"""Recomposition error and leakage: exact is 0, copied is 1, and each catches what the other does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.recomposition import leakage, recomposition
from tests.decompose.made import ball, over, wall


def flat(rgb: np.ndarray) -> LayerStack:
    rgba = np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1)
    return LayerStack(canvas=Size(rgb.shape[1], rgb.shape[0]), layers=(Layer(name="all", rgba=rgba),))


def test_the_photo_itself_is_exact():
    photo = wall()
    found = recomposition(photo, flat(photo))
    assert (found.most, found.psnr, found.off) == (0, math.inf, 0)
    assert str(found) == "0/255 at most, exact"


def test_one_pixel_off_is_found_and_weighed():
    photo = wall()
    wrong = photo.copy()
    wrong[3, 4, 1] += 51 / 255
    found = recomposition(photo, flat(wrong))
    assert found.most == 51
    assert found.off == 1 / (72 * 96)
    assert found.psnr == pytest.approx(-10 * math.log10((51 / 255) ** 2 / photo.size), abs=1e-3)


def test_a_hole_in_the_stack_is_an_error():
    photo = np.zeros((4, 4, 3), np.float32)
    rgba = np.zeros((4, 4, 4), np.float32)
    stack = LayerStack(canvas=Size(4, 4), layers=(Layer(name="empty", rgba=rgba),))
    assert recomposition(photo, stack).most == 255


@pytest.fixture
def scene():
    behind, alpha = wall(), ball()
    return over(behind, alpha, (0.8, 0.1, 0.1)), behind, alpha


def test_a_copied_photo_leaks_all_and_the_true_background_nothing(scene):
    photo, behind, alpha = scene
    assert leakage(photo, photo, alpha) == pytest.approx(1)
    assert leakage(photo, behind, alpha) < 0.02


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_leakage_is_the_share_that_is_left(scene, share):
    photo, behind, alpha = scene
    assert leakage(photo, behind + share * (photo - behind), alpha) == pytest.approx(share, abs=0.03)


def test_unrelated_texture_is_no_leakage(scene):
    photo, behind, alpha = scene
    noise = np.random.default_rng(1).normal(0, 0.1, photo.shape).astype(np.float32)
    assert leakage(photo, np.clip(behind + noise, 0, 1), alpha) < 0.05


def test_an_outline_left_behind_counts_in_full_although_it_is_thin(scene):
    photo, behind, alpha = scene
    rim = (alpha > 0.02) & (ball(radius=0.21) < 0.5)
    assert rim.sum() < 0.4 * (alpha > 0.02).sum()
    assert leakage(photo, np.where(rim[..., None], photo, behind), alpha) > 0.7


def test_it_does_not_depend_on_the_size(scene):
    photo, behind, alpha = (part.repeat(8, axis=0).repeat(8, axis=1) for part in scene)
    mixed = behind + 0.4 * (photo - behind)
    assert leakage(photo, mixed, alpha) == pytest.approx(0.4, abs=0.04)


def test_no_object_and_an_invisible_one_leak_nothing(scene):
    photo, behind, alpha = scene
    assert leakage(photo, photo, np.zeros_like(alpha)) == 0
    assert leakage(behind, behind, alpha) == 0


def test_shapes_that_do_not_fit_are_refused(scene):
    photo, behind, alpha = scene
    with pytest.raises(ValueError, match="do not fit"):
        leakage(photo, behind[1:], alpha)
