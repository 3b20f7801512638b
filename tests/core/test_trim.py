from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from layercli.core.layers import Layer, Offset
from layercli.core.pixels import dequantize, planes_of, quantize, quantize_words
from layercli.core.trim import bleed, grow, trim, visible_box

ALPHAS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 0, 0, 1, 255]),
)


def cut_out(alpha: np.ndarray, seed: int = 0) -> Layer:
    """A layer of random colours with this alpha (h, w) in levels."""
    rgb = np.random.default_rng(seed).integers(0, 256, (*alpha.shape, 3), dtype=np.uint8)
    rgba = dequantize(np.concatenate([rgb, alpha[..., None]], axis=-1))
    return Layer(name="a", rgba=rgba, offset=Offset(-3, 5), opacity=0.4, mask=rgba[..., 0].copy())


@given(ALPHAS, st.integers(0, 5))
def test_what_is_visible_stays_and_the_box_is_tight(alpha, margin):
    layer = cut_out(alpha)
    cut = trim(layer, margin)
    top, left = cut.top - 5, cut.left + 3
    height, width = cut.planes.shape[1:]
    box = np.s_[top : top + height, left : left + width]
    levels = quantize(layer.rgba)
    assert alpha.sum() == alpha[box].sum()
    np.testing.assert_array_equal(cut.planes[3], alpha[box])
    seen = alpha[box] > 0
    np.testing.assert_array_equal(np.moveaxis(cut.planes, 0, -1)[seen], levels[box][seen])
    np.testing.assert_array_equal(cut.mask, levels[box][..., 0])
    assert (cut.opacity, cut.blend) == (102, "normal")
    rows, columns = np.nonzero(alpha)
    if rows.size == 0:
        assert (height, width) == (1, 1)
    else:
        assert top == max(0, rows.min() - margin)
        assert left == max(0, columns.min() - margin)
        assert top + height == min(alpha.shape[0], rows.max() + 1 + margin)
        assert left + width == min(alpha.shape[1], columns.max() + 1 + margin)


@given(ALPHAS, st.integers(0, 3))
def test_trimming_twice_changes_nothing(alpha, margin):
    once = trim(cut_out(alpha), margin)
    again = trim(
        Layer(
            name="a",
            rgba=np.ascontiguousarray(dequantize(np.moveaxis(once.planes, 0, -1))),
            offset=Offset(once.left, once.top),
        ),
        margin,
    )
    np.testing.assert_array_equal(again.planes, once.planes)
    assert (again.left, again.top) == (once.left, once.top)


def slow_bleed(planes: np.ndarray, pixels: int) -> np.ndarray:
    """The definition, pixel by pixel: ring after ring, the mean of the known neighbours."""
    result = planes.astype(int)
    known = result[3] > 0
    result[:3, ~known] = 0
    height, width = known.shape
    for _ in range(pixels):
        before, seen = result.copy(), known.copy()
        for y in range(height):
            for x in range(width):
                around = np.s_[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                if not seen[y, x] and seen[around].any():
                    near = before[:3][(slice(None), *around)][:, seen[around]]
                    result[:3, y, x] = np.floor(near.mean(axis=1) + 0.5)
                    known[y, x] = True
    return result


@given(ALPHAS, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_colour_bleeds_as_defined(alpha, pixels):
    words = quantize_words(cut_out(alpha, seed=1).rgba)
    framed = np.pad(words, 1)
    bleed(framed, pixels)
    np.testing.assert_array_equal(planes_of(framed[1:-1, 1:-1]), slow_bleed(planes_of(words), pixels))


def test_large_rings_bleed_in_parts(monkeypatch):
    alpha = (np.random.default_rng(0).random((60, 60)) < 0.3).astype(np.uint8) * 255
    whole = trim(cut_out(alpha))
    monkeypatch.setattr("layercli.core.trim._RING", 7)
    np.testing.assert_array_equal(trim(cut_out(alpha)).planes, whole.planes)


def test_the_photo_does_not_stay_under_the_transparency():
    alpha = np.zeros((40, 40), dtype=np.uint8)
    alpha[0, 0] = alpha[39, 39] = 255
    layer = cut_out(alpha)
    layer.rgba[..., :3] = np.maximum(layer.rgba[..., :3], 0.1)
    planes = trim(layer, 2).planes
    assert not planes[:3, 10:30, 10:30].any()
    assert (planes[:3, 1:3, 0] > 0).all()


def test_grow_reaches_the_eight_neighbours():
    dot = np.zeros((5, 5), dtype=bool)
    dot[2, 2] = True
    assert grow(dot)[1:4, 1:4].all()
    assert grow(dot).sum() == 9


@pytest.mark.parametrize("level", [0.0, 0.49 / 255])
def test_what_rounds_to_nothing_is_not_there(level):
    rgba = np.full((4, 6, 4), level, dtype=np.float32)
    assert trim(Layer(name="a", rgba=rgba)).planes.shape == (4, 1, 1)
    assert visible_box(quantize(rgba[..., 3])) == (slice(0, 1), slice(0, 1))
