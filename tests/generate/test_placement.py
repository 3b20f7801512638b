"""Where foregrounds stand: boxes by default, frames on the canvas, and pixels put into boxes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.geometry import Size
from layercli.generate._placement import (
    FILLED,
    default_boxes,
    frame_rectangle,
    into_box,
    into_rectangle,
    resized,
    words_of,
)

NOUNS = ["a cat", "a dog", "a red ball", "a castle", "two birds", "a teapot"]
prompts = st.lists(st.sampled_from(NOUNS), min_size=1, max_size=6)
sizes = st.builds(Size, st.integers(32, 900), st.integers(32, 900))
fractions = st.tuples(st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.2, 0.4), st.floats(0.2, 0.4)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(prompts, sizes, st.integers(0, 2**63 - 1))
def test_every_default_box_lies_on_the_canvas_and_comes_from_the_seed(
    names: list[str], canvas: Size, seed: int
) -> None:
    boxes = default_boxes(names, canvas, seed, {})
    assert sorted(boxes) == list(range(len(names)))
    for left, top, right, bottom in boxes.values():
        assert 0 <= left < right <= 1 + 1e-9 and 0 <= top < bottom <= 1 + 1e-9
    assert boxes == default_boxes(names, canvas, seed, {})


@given(st.integers(1, 4), st.integers(0, 1000))
def test_default_boxes_do_not_hide_each_other_and_stand_on_the_ground(count: int, seed: int) -> None:
    boxes = default_boxes(["a cat"] * count, Size(256, 256), seed, {})
    ordered = sorted(boxes.values())
    for one, two in pairwise(ordered):
        assert one[2] - two[0] < 0.25 * (one[2] - one[0])
    assert all(0.82 < box[3] < 0.97 for box in boxes.values())
    grounds = [boxes[i][3] for i in range(count)]
    assert all(near > far - 0.03 for far, near in pairwise(grounds))


def test_seeds_move_things() -> None:
    found = {tuple(default_boxes(["a cat", "a dog"], Size(256, 256), seed, {})[0]) for seed in range(8)}
    assert len(found) == 8


def test_things_that_fly_hang_higher_and_small_things_are_smaller() -> None:
    boxes = default_boxes(["a dog", "an airplane", "a ball"], Size(256, 256), 0, {})
    assert boxes[1][3] < boxes[0][3] - 0.2

    def side(index: int) -> float:
        return boxes[index][3] - boxes[index][1]

    assert side(2) < side(0)


@given(fractions, st.integers(0, 100))
def test_a_default_box_keeps_clear_of_a_given_one_where_it_can(box: tuple[float, ...], seed: int) -> None:
    found = default_boxes(["a cat", "a dog"], Size(256, 256), seed, {0: box})[1]  # type: ignore[dict-item]
    shared = max(0.0, min(found[2], box[2]) - max(found[0], box[0]))
    width = found[2] - found[0]
    room = max(box[0], 1 - box[2])
    assert shared <= max(0.0, width - room) + 0.051  # the candidates are a twentieth apart


def test_words_lose_case_marks_and_plurals() -> None:
    assert words_of("Two CATS, on a bus!") == {"two", "cat", "on", "a", "bus"}


@given(fractions, sizes)
def test_a_frames_object_fills_its_box_and_stands_on_its_bottom(box: tuple[float, ...], canvas: Size) -> None:
    left, top, right, bottom = frame_rectangle(box, canvas)  # type: ignore[arg-type]
    width, height = (right - left) * canvas.width, (bottom - top) * canvas.height
    assert width == pytest.approx(height)
    wanted = min((box[2] - box[0]) * canvas.width, (box[3] - box[1]) * canvas.height)
    assert width * FILLED == pytest.approx(wanted)
    assert (left + right) / 2 == pytest.approx((box[0] + box[2]) / 2)
    assert bottom * canvas.height - height * (1 - FILLED) / 2 == pytest.approx(box[3] * canvas.height)


def disc(side: int = 64) -> torch.Tensor:
    """A red disc on transparent green: (4, side, side)."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    alpha = (((x - side / 2) ** 2 + (y - side / 2) ** 2) < (side / 4) ** 2).float()
    return torch.stack([alpha, 1 - alpha, torch.zeros_like(alpha), alpha])


@given(fractions, sizes)
def test_an_object_fits_its_box_and_stands_in_the_middle_of_its_bottom(
    box: tuple[float, ...], canvas: Size
) -> None:
    cut = into_box(disc(), box, canvas)  # type: ignore[arg-type]
    height, width = cut.rgba.shape[:2]
    assert width <= (box[2] - box[0]) * canvas.width + 1.5
    assert height <= (box[3] - box[1]) * canvas.height + 1.5
    fit = min((box[2] - box[0]) * canvas.width, (box[3] - box[1]) * canvas.height)
    assert max(width, height) >= fit - 3
    assert cut.offset.top + height == pytest.approx(box[3] * canvas.height, abs=2)
    assert cut.offset.left + width / 2 == pytest.approx((box[0] + box[2]) / 2 * canvas.width, abs=2)


@given(st.integers(5, 150), st.integers(5, 150))
def test_no_edge_takes_colour_from_what_is_transparent(width: int, height: int) -> None:
    scaled = resized(disc(), Size(width, height))
    seen = scaled[3] > 0.02
    torch.testing.assert_close(scaled[0][seen], torch.ones_like(scaled[0][seen]), atol=0.02, rtol=0)
    assert scaled[1][seen].max() < 0.02
    assert scaled.min() >= 0 and scaled.max() <= 1


def test_the_same_size_is_the_same_picture() -> None:
    assert resized(disc(), Size(64, 64)) is not None
    assert torch.equal(resized(disc(), Size(64, 64)), disc())


def test_an_empty_frame_is_one_transparent_pixel() -> None:
    for cut in (
        into_box(torch.zeros(4, 8, 8), (0, 0, 1, 1), Size(32, 32)),
        into_rectangle(torch.zeros(4, 8, 8), (0, 0, 1, 1), Size(32, 32)),
    ):
        assert cut.rgba.shape == (1, 1, 4) and not cut.rgba.any()


def test_a_whole_frame_goes_to_its_rectangle_trimmed() -> None:
    cut = into_rectangle(disc(), (0.5, 0.5, 1.0, 1.0), Size(128, 128))
    assert (cut.offset.left, cut.offset.top) == (81, 81)  # the disc begins one pixel after a quarter
    assert cut.rgba.shape == (31, 31, 4) and cut.rgba.dtype == np.float32
