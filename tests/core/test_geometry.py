"""Sizes and offsets are whole numbers in range, or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.core.geometry import FARTHEST, LARGEST_SIDE, Offset, Size

SIDES = st.integers(1, LARGEST_SIDE)


@given(SIDES, SIDES)
def test_a_size_reads_back_what_it_prints(width: int, height: int):
    assert Size.parse(str(Size(width, height))) == Size(width, height)


def test_one_number_is_a_square_and_the_times_sign_is_an_x():
    assert Size.parse("64") == Size(64, 64)
    assert Size.parse("64×32") == Size(64, 32)


@pytest.mark.parametrize("text", ["", "x", "64x", "a", "-1x4", "1.5x2", "64x64x64", "1e3"])
def test_what_is_not_a_size_is_quoted(text: str):
    with pytest.raises(LayercliError, match="is not a size") as caught:
        Size.parse(text)
    assert f'"{text}"' in caught.value.message


@pytest.mark.parametrize("sides", [(0, 0), (0, 5), (5, LARGEST_SIDE + 1), (-3, 4)])
def test_sides_out_of_range_are_refused(sides: tuple[int, int]):
    with pytest.raises(LayercliError, match=f"cannot be {sides[0]}x{sides[1]}"):
        Size(*sides)


@pytest.mark.parametrize("sides", [(1.5, 2), (True, 2), ("3", 4), (None, 1)])
def test_sides_that_are_not_whole_numbers_are_refused(sides):
    with pytest.raises(LayercliError, match="two whole numbers"):
        Size(*sides)
    with pytest.raises(LayercliError, match="two whole numbers"):
        Offset(*sides)


def test_an_offset_may_be_negative():
    assert Offset(-5, -6).left == -5
    assert Offset() == Offset(0, 0)


@pytest.mark.parametrize("place", [(FARTHEST + 1, 0), (0, -FARTHEST - 1)])
def test_an_offset_beyond_what_files_hold_is_refused(place: tuple[int, int]):
    assert Offset(FARTHEST, -FARTHEST).left + LARGEST_SIDE < 2**31
    with pytest.raises(LayercliError, match=f"cannot lie at {place[0]},{place[1]}: 1,000,000,000"):
        Offset(*place)
