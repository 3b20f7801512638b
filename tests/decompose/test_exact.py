"""Layers in 8 bits give the photo again, whatever the alpha, and whatever was made up behind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.pixels import quantize
from layercli.decompose._exact import behind, in_levels, laid_over, over_exactly, without_ghost


def random(seed: int, *shape: int) -> np.ndarray:
    """Values that are often 0 or 1, where solving is hardest."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.uniform(-0.3, 1.3, shape), 0, 1).astype(np.float32)


@given(st.integers(0, 10**6))
def test_any_photo_is_put_together_again_from_any_alpha_and_any_guess(seed):
    photo, fg, guess = (in_levels(random(seed + i, 12, 12, 3)) for i in range(3))
    alpha = in_levels(random(seed + 3, 12, 12))
    below = behind(photo, alpha, fg, guess)
    colour = over_exactly(below, photo, alpha, fg)
    again = quantize(laid_over(below, alpha, colour))
    assert np.array_equal(again, quantize(photo))
    for made in (below, colour):
        np.testing.assert_array_equal(made, in_levels(made))


@given(st.integers(0, 10**6), st.integers(2, 4))
def test_several_layers_over_each_other_stay_within_a_level(seed, count):
    targets = [in_levels(random(seed, 8, 8, 3))]
    alphas, colours = [], []
    for i in range(count):
        alphas.append(in_levels(random(seed + 10 * i + 1, 8, 8)))
        colours.append(random(seed + 10 * i + 2, 8, 8, 3))
        targets.append(behind(targets[-1], alphas[-1], colours[-1], random(seed + 10 * i + 3, 8, 8, 3)))
    below = targets[-1]
    for target, alpha, colour in zip(targets[-2::-1], alphas[::-1], colours[::-1], strict=True):
        below = laid_over(below, alpha, over_exactly(below, target, alpha, colour))
    assert np.abs(quantize(below).astype(int) - quantize(targets[0])).max() <= 1


def test_what_is_uncovered_stays_as_it_is_and_what_is_covered_is_made_up():
    photo, guess = in_levels(random(0, 6, 6, 3)), in_levels(random(1, 6, 6, 3))
    fg = random(2, 6, 6, 3)
    np.testing.assert_array_equal(behind(photo, np.zeros((6, 6), np.float32), fg, guess), photo)
    np.testing.assert_array_equal(behind(photo, np.ones((6, 6), np.float32), fg, guess), guess)


def test_clean_colours_are_kept_where_they_are_right():
    """A photo that is exactly red over blue gives red and blue, however soft the edge."""
    alpha = in_levels(np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(4, axis=0))
    red, blue = (np.broadcast_to(np.float32(c), (4, 64, 3)) for c in ((0.8, 0.2, 0.2), (0.2, 0.2, 0.8)))
    red, blue = in_levels(red), in_levels(blue)
    photo = in_levels(laid_over(blue, alpha, red))
    below = behind(photo, alpha, red, blue)
    assert np.abs(below - blue).max() <= 1.5 / 255
    colour = over_exactly(below, photo, alpha, red)
    clear = alpha > 0.1
    assert np.abs(colour - red)[clear].max() < 0.03


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_alpha_is_raised_where_the_object_would_stay_visible_behind(missing):
    true = in_levels(np.linspace(0, 1, 32, dtype=np.float32)[None].repeat(3, axis=0))
    red, blue = np.float32([0.9, 0.1, 0.1]), np.float32([0.1, 0.2, 0.8])
    photo = in_levels(laid_over(np.broadcast_to(blue, (3, 32, 3)), true, np.broadcast_to(red, (3, 32, 3))))
    given_alpha = in_levels(np.clip(true - missing, 0, 1))
    ring = np.ones(true.shape, dtype=bool)
    fg, bg = (np.broadcast_to(c, photo.shape) for c in (red, blue))
    found = without_ghost(photo, given_alpha, fg, bg, ring)
    assert np.abs(found - true).max() < 0.05
    assert (found > given_alpha - 0.01).all()
    untouched = without_ghost(photo, given_alpha, fg, bg, ~ring)
    np.testing.assert_array_equal(untouched, given_alpha)


def test_a_rim_that_is_too_wide_is_made_narrower_before_an_even_ground():
    """Else a dark thing's soft rim leaves a bright one behind."""
    true = in_levels(np.repeat([[1, 1, 1, 0, 0, 0]], 3, axis=0).astype(np.float32))
    dark, bright = (np.full((3, 6, 3), value, np.float32) for value in (0.1, 0.8))
    photo = in_levels(laid_over(bright, true, dark))
    wide = in_levels(np.repeat([[1, 1, 1, 0.6, 0.3, 0]], 3, axis=0).astype(np.float32))
    ring = wide < 1
    found = without_ghost(photo, wide, dark, bright, ring)
    assert np.abs(found - true).max() < 0.02
    before, after = (behind(photo, alpha, dark, bright) for alpha in (wide, found))
    assert np.abs(before - bright).max() > 0.1
    assert np.abs(after - bright).max() < 0.01


def test_what_is_made_up_of_texture_says_little_about_alpha():
    rng = np.random.default_rng(0)
    photo, made_up = (in_levels(rng.normal(0.5, 0.15, (20, 20, 3))) for _ in range(2))
    fg = np.full_like(photo, 0.9)
    alpha = in_levels(np.linspace(0, 1, 20, dtype=np.float32)[None].repeat(20, axis=0))
    ring = np.ones(alpha.shape, dtype=bool)
    trusted = without_ghost(photo, alpha, fg, made_up, ring)
    doubted = without_ghost(photo, alpha, fg, made_up, ring, np.full(alpha.shape, 0.5, np.float32))
    assert np.abs(doubted - alpha).mean() < 0.35 * np.abs(trusted - alpha).mean()


@pytest.mark.parametrize("alpha", [0.3, 0.6, 0.9, 0.985])
def test_a_dark_thing_that_is_nearly_solid_does_not_glare_out_of_the_background(alpha):
    """No F >= 0 explains a dark pixel under a bright ground at this alpha: alpha is raised, and B is kept."""
    photo = np.full((4, 4, 3), (3 / 255, 0, 0), dtype=np.float32)
    made_up = np.full((4, 4, 3), (0.7, 0.6, 0.4), dtype=np.float32)
    was = in_levels(np.full((4, 4), alpha, dtype=np.float32))
    raised = without_ghost(photo, was, photo, made_up, was < 1)
    assert (raised >= was).all()
    b = behind(photo, raised, photo, made_up)
    assert np.abs(b - made_up).max() < 0.05
    colour = over_exactly(b, photo, raised, photo)
    assert np.abs(laid_over(b, raised, colour) - photo).max() < 0.5 / 255
