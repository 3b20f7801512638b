from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from psd_tools.compression import rle_impl

from layercli.formats._packbits import pack


def unpack(plane: np.ndarray) -> np.ndarray:
    """Pack, cut at the lengths, and unpack row by row with another program's decoder."""
    lengths, pieces = pack(plane)
    data = b"".join(pieces)
    assert lengths.sum() == len(data)
    rows, at = [], 0
    for length in lengths:
        rows.append(np.frombuffer(rle_impl.decode(data[at : at + length], plane.shape[1]), dtype=np.uint8))
        at += length
    return np.stack(rows)


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 3))
)
def test_rows_come_back(plane):
    np.testing.assert_array_equal(unpack(plane), plane)


@pytest.mark.parametrize("width", [1, 2, 127, 128, 129, 255, 256, 257, 1000])
@pytest.mark.parametrize("levels", [1, 2, 256])
def test_runs_and_noise_of_any_width_come_back(width, levels):
    plane = np.random.default_rng(width).integers(0, levels, (70, width), dtype=np.uint8)
    np.testing.assert_array_equal(unpack(plane), plane)
    np.testing.assert_array_equal(unpack(plane[:, ::-1][::2]), plane[:, ::-1][::2])


def test_noise_grows_by_less_than_a_hundredth_and_runs_shrink():
    noise = np.random.default_rng(0).integers(0, 256, (200, 1280), dtype=np.uint8)
    assert pack(noise)[0].sum() <= noise.size * 1.01
    half = noise.copy()
    half[100:] = 7
    assert pack(half)[0].sum() <= noise.size * 0.53
    flat = np.full_like(noise, 3)
    assert pack(flat)[0].sum() <= noise.size * 0.02
