"""Cutting, matting, clean colours and filling, each against pictures whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layercli.vision.classical import standing_out
from layercli.vision.fill import fill
from layercli.vision.foreground import foreground_and_background
from layercli.vision.grids import disc, resized, scaled, smooth_fill, window_around
from layercli.vision.matting import (
    closed_form_alpha,
    doubt_of,
    enlarged_alpha,
    laplacian_planes,
    rise_of,
    sure_outline,
    trimap_beside,
    trimap_of,
)
from layercli.vision.patch_search import Filling, Search
from layercli.vision.shadows import shadow_of
from tests.decompose.made import ball, over, soft_iou, wall


def test_resizing_keeps_the_mean_and_even_planes():
    values = np.random.default_rng(0).random((40, 60), dtype=np.float32)
    assert resized(values, 10, 15).mean() == pytest.approx(values.mean(), abs=1e-3)
    np.testing.assert_allclose(resized(np.full((7, 5, 3), 0.25, np.float32), 20, 9), 0.25, atol=1e-6)
    assert scaled(values, 600).shape == (20, 30)
    assert scaled(values, 10**6).shape == values.shape


def test_a_disc_grows_and_shrinks():
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    grown = disc(mask, 5)
    assert grown.sum() == 81  # the whole points in a circle of radius 5
    assert disc(grown, -5).sum() >= 1
    np.testing.assert_array_equal(disc(mask, 0), mask)
    rows, columns = window_around(grown, 1)
    assert (rows, columns) == (slice(4, 17), slice(4, 17))


def test_a_smooth_fill_continues_a_slope():
    rows, columns = np.mgrid[0:1:40j, 0:1:60j]
    slope = np.stack([rows, columns, 0.5 * rows + 0.5 * columns], axis=-1).astype(np.float32)
    hole = ball(40, 60, radius=0.3) > 0
    filled = smooth_fill(np.where(hole[..., None], 0, slope).astype(np.float32), ~hole)
    assert np.abs(filled - slope).max() < 0.05
    np.testing.assert_array_equal(filled[~hole], slope[~hole])


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_rows_of_the_laplacian_sum_to_zero_and_it_is_positive(seed):
    """L 1 = 0 and pᵀLp >= 0 for any p (Levin et al. 2008, section 3)."""
    rgb = np.random.default_rng(seed).random((6, 7, 3), dtype=np.float32)
    planes = laplacian_planes(rgb)
    height, width = 6, 7
    full = np.zeros((42, 42))
    for (dy, dx), plane in planes.items():
        for y in range(height):
            for x in range(width):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    a, b = y * width + x, (y + dy) * width + x + dx
                    full[a, b] = full[b, a] = plane[y, x]
    inner = [y * width + x for y in range(2, 4) for x in range(2, 5)]
    np.testing.assert_allclose(full[inner].sum(axis=1), 0, atol=1e-3)
    # In one window, colours of a plane in space are fitted exactly: a linear alpha costs nothing.
    alpha = (rgb @ np.float32([0.3, 0.2, 0.1])).ravel()
    assert abs(float((full @ alpha)[inner].sum())) < 1e-2


def test_alpha_is_found_between_the_known_parts():
    alpha = ball(60, 80, radius=0.3)
    photo = over(wall(60, 80), alpha, (0.8, 0.15, 0.1))
    trimap = trimap_of((alpha > 0.5).astype(np.float32), 4, 4)
    assert set(np.unique(trimap)) == {0.0, 0.5, 1.0}
    found = closed_form_alpha(photo, trimap)
    assert np.abs(found - alpha).max() < 0.15
    assert np.abs(found - alpha)[trimap == 0.5].mean() < 0.02
    np.testing.assert_array_equal(found[trimap != 0.5], trimap[trimap != 0.5])


@pytest.mark.parametrize("wide", [4.0, 8.0])
def test_a_band_is_laid_along_an_outline_of_whose_sides_a_mask_is_sure(wide):
    rows, columns = np.mgrid[:90, :120]
    mask = np.clip((30 - np.hypot(rows - 45, columns - 60)) / wide + 0.5, 0, 1).astype(np.float32)
    rise = rise_of(mask)
    assert rise == pytest.approx(0.8 * wide, rel=0.1)
    outline = sure_outline(mask, rise)
    assert doubt_of(mask, outline, rise) == 0
    trimap = trimap_beside(mask, outline, 3)
    assert 2 * np.pi * 30 * 5 < (trimap == 0.5).sum() < 2 * np.pi * 30 * 8
    half = mask * np.where(columns > 60, np.float32(1), np.float32(0.6))  # doubted on the left
    outline = sure_outline(half, rise)
    assert not outline[:, :44].any() and outline[:, 70:].any()
    assert doubt_of(half, outline, rise) > 0.3
    np.testing.assert_allclose(trimap_beside(half, outline, 3)[:, :40], half[:, :40], atol=0.05)


def test_a_known_trimap_is_its_own_alpha():
    trimap = (ball() > 0.5).astype(np.float32)
    np.testing.assert_array_equal(closed_form_alpha(wall(), trimap), trimap)


def test_alpha_of_a_small_picture_is_sharpened_by_the_large_one():
    alpha = ball(240, 320)
    photo = over(wall(240, 320), alpha, (0.8, 0.15, 0.1))
    small_alpha, small = resized(alpha, 60, 80), resized(photo, 60, 80)
    sharp = enlarged_alpha(small_alpha, small, photo)
    blunt = resized(small_alpha, 240, 320)
    assert np.abs(sharp - alpha).sum() < 0.5 * np.abs(blunt - alpha).sum()


def test_foreground_colours_are_free_of_the_background():
    alpha = np.clip(ball(radius=0.3) + 0.5 * ball(radius=0.4), 0, 1)
    red = np.float32((0.8, 0.15, 0.1))
    photo = over(wall(), alpha, tuple(red))
    f, b = foreground_and_background(photo, alpha)
    soft = (alpha > 0.3) & (alpha < 1)
    assert np.abs(f - red)[soft].mean() < 0.25 * np.abs(photo - red)[soft].mean()
    assert np.abs(b - wall())[(alpha < 0.7)].mean() < 0.03
    assert np.abs(f - red)[alpha == 0].mean() < 0.12  # its colour goes on where it cannot be seen


def stripes(height: int = 80, width: int = 120, period: int = 12) -> np.ndarray:
    columns = np.arange(width) % period < period // 2
    rgb = np.where(columns[None, :, None], np.float32([0.8, 0.7, 0.5]), np.float32([0.3, 0.4, 0.6]))
    return np.broadcast_to(rgb, (height, width, 3)).astype(np.float32)


def test_a_pattern_goes_on_through_the_hole():
    picture = stripes()
    hole = ball(80, 120, radius=0.25) > 0
    emptied = np.where(hole[..., None], 0.9, picture).astype(np.float32)
    filled = fill(emptied, hole)
    np.testing.assert_array_equal(filled[~hole], emptied[~hole])
    smooth = smooth_fill(emptied, ~hole)
    assert ((filled - picture)[hole] ** 2).mean() < 0.1 * ((smooth - picture)[hole] ** 2).mean()


def test_nothing_is_taken_from_where_it_is_barred():
    picture = stripes()
    picture = np.ascontiguousarray(picture)
    picture[:, 90:] = (1, 0, 1)
    hole = ball(80, 120, radius=0.2) > 0
    sources = np.ones(hole.shape, bool)
    sources[:, 84:] = False
    filled = fill(picture, hole, sources=sources)
    assert filled[hole][:, 1].min() > 0.25  # no magenta


def test_the_same_seed_fills_alike():
    picture, hole = wall(), ball() > 0
    np.testing.assert_array_equal(fill(picture, hole, seed=4), fill(picture, hole, seed=4))


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (5, 5), (9, 40)])
def test_pictures_too_small_for_a_patch_are_filled_smoothly(shape):
    picture = np.full((*shape, 3), 0.4, np.float32)
    hole = np.zeros(shape, bool)
    hole[0, 0] = True
    damaged = picture.copy()
    damaged[hole] = 1
    filled = fill(damaged, hole)
    assert filled.shape == picture.shape
    if hole.size > 1:
        np.testing.assert_allclose(filled, picture, atol=1e-4)


def test_a_hole_that_is_everything_stays():
    picture = wall()
    np.testing.assert_array_equal(fill(picture, np.ones(picture.shape[:2], bool)), picture)


def test_a_large_picture_is_filled_in_its_own_grain(monkeypatch):
    """Above the size at which patches are searched, matches are carried up: the pattern stays sharp."""
    monkeypatch.setattr("layercli.vision.fill.SEARCH_PIXELS", 6000)
    picture = stripes(160, 240, 24)
    hole = ball(160, 240, radius=0.2) > 0
    filled = fill(np.where(hole[..., None], 0.9, picture).astype(np.float32), hole)
    assert ((filled - picture)[hole] ** 2).mean() < 0.01


def grainy() -> tuple[np.ndarray, np.ndarray]:
    """Even gray beside a grain of the same mean colour, and a hole in the grain."""
    rng = np.random.default_rng(2)
    picture = np.full((120, 240, 3), 0.5, np.float32)
    picture[:, 110:] += (0.1 * rng.normal(size=(120, 130, 1))).astype(np.float32)
    hole = np.zeros((120, 240), bool)
    hole[30:90, 130:190] = True
    return picture, hole


def grain_left(how: Filling) -> float:
    """The grain of what is filled, as a share of what was there."""
    picture, hole = grainy()
    filled = fill(np.where(hole[..., None], np.float32(0.9), picture), hole, how=how)
    return float(filled[hole].std() / picture[hole].std())


def test_a_busy_place_is_filled_from_busy_places():
    """In small, only how busy they are tells even gray and a grain apart."""
    alone = {busy: Filling(busy=busy, joined=0, near=4, calm=0.4) for busy in (0.0, 5.0)}
    assert grain_left(alone[5.0]) > 0.4
    assert grain_left(alone[5.0]) > 2 * grain_left(alone[0.0])


def test_joined_matches_keep_a_grain():
    """A mean of patches from all over is even: those beside each other say the same."""
    assert grain_left(Filling()) > 0.65
    assert grain_left(Filling()) > 1.5 * grain_left(Filling(joined=0))


def test_every_round_of_a_search_is_pulled_towards_what_is_smooth():
    picture = stripes(40, 60, 12)
    hole = ball(40, 60, radius=0.2) > 0
    smooth = smooth_fill(picture, ~hole)[hole]
    apart = []
    for pull in (0.0, 0.5, 1.0):
        damaged = np.where(hole[..., None], np.float32(0.9), picture)
        rng = np.random.default_rng(0)
        search = Search(damaged, hole, np.zeros_like(hole), rng, Filling(), smooth, pull)
        apart.append(float(np.abs(search.run(None, 3)[0][hole] - smooth).mean()))
    assert apart[0] > apart[1] > apart[2] == 0


def test_what_stands_out_is_found_without_a_net():
    alpha = ball()
    found = standing_out(over(wall(), alpha, (0.8, 0.15, 0.1)))
    assert soft_iou(found, alpha) > 0.85
    assert standing_out(np.full((30, 40, 3), 0.5, np.float32)).max() == 0


def test_a_shadow_is_found_and_a_plain_wall_has_none():
    behind, alpha = wall(96, 128), ball(96, 128, centre=(0.45, 0.5), radius=0.2)
    thrown = ball(96, 128, centre=(0.66, 0.55), radius=0.14) * 0.35
    photo = over(behind * (1 - thrown[..., None]), alpha, (0.8, 0.15, 0.1))
    light = shadow_of(photo, alpha)
    assert light is not None
    dark = (thrown > 0.3) & (alpha == 0)
    assert light[dark].mean() == pytest.approx(0.65, abs=0.1)
    assert light[:20].min() == 1
    assert shadow_of(over(behind, alpha, (0.8, 0.15, 0.1)), alpha) is None
