"""The tensors of LayerFusion: its algorithms on maps small enough to know the answer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion.attention import (
    WHOLE,
    Placement,
    Rectangle,
    blend_in,
    content_prior,
    feed_back,
    grid_at,
    hard_mask,
    level_of,
    minmax,
    probabilities,
    resize_map,
    soft_mask,
    sparsity,
    sparsity_of,
    structure_prior,
    visibility,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_probabilities_are_what_attention_uses() -> None:
    q, k, v = random(2, 3, 9, 8), random(2, 3, 5, 8, seed=1), random(2, 3, 5, 8, seed=2)
    bias = random(2, 1, 1, 5, seed=3)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    torch.testing.assert_close(probabilities(q, k, bias) @ v, theirs)


def test_structure_prior_prefers_dense_rows() -> None:
    """Algorithm 1 by hand: an even row attends to all 4 positions, a one-hot row to 1."""
    m = torch.tensor([[[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 1.0]]])
    torch.testing.assert_close(sparsity(m), torch.tensor([[4.0, 1.0, 2.0, 1.0]]))
    torch.testing.assert_close(structure_prior(sparsity(m)), torch.tensor([[0.0, 1.0, 2 / 3, 1.0]]))


@pytest.mark.parametrize("positions", [16, 600])
def test_sparsity_in_strips_is_sparsity(positions: int) -> None:
    q, k = random(1, 2, positions, 4), random(1, 2, positions, 4, seed=1)
    torch.testing.assert_close(sparsity_of(q, k), sparsity(probabilities(q, k).mean(dim=1)))


def test_content_prior_takes_the_summary_token_averaged_over_heads() -> None:
    attention = torch.softmax(random(2, 3, 4, 5), dim=-1)
    end_of_text = F.one_hot(torch.tensor([2, 4]), 5).float()
    c = content_prior(attention, end_of_text)
    torch.testing.assert_close(c[0], attention[0, :, :, 2].mean(dim=0))
    torch.testing.assert_close(c[1], attention[1, :, :, 4].mean(dim=0))


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=9))
def test_minmax_fills_the_unit_interval_or_is_flat(values: list[float]) -> None:
    stretched = minmax(torch.tensor([values]))
    assert stretched.min() == 0.0
    assert stretched.max() in (0.0, 1.0)


def test_masks_follow_algorithm_3() -> None:
    s, c = torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.9, 0.4, 0.8]])
    soft = soft_mask(s, c)
    torch.testing.assert_close(soft, torch.tensor([[0.0, 0.25, 1.0]]))
    torch.testing.assert_close(hard_mask(soft), torch.sigmoid(10 * (soft - 0.5)))
    torch.testing.assert_close(soft_mask(s, None), s)
    torch.testing.assert_close(soft_mask(None, c), torch.tensor([[1.0, 0.0, 0.8]]))
    with pytest.raises(ValueError, match="prior"):
        soft_mask(None, None)


def test_a_content_map_that_says_nothing_leaves_the_structure() -> None:
    s = torch.tensor([[0.0, 0.3, 1.0]])
    torch.testing.assert_close(soft_mask(s, torch.full((1, 3), 0.7)), s)


def test_one_foreground_is_the_papers_pair_of_equations() -> None:
    a_bl, a_fg, soft = random(4, 6), random(4, 6, seed=1), torch.rand(4, 1)
    hard = hard_mask(soft)
    blended = blend_in(a_bl, [a_fg], [soft])
    torch.testing.assert_close(blended, a_fg * soft + a_bl * (1 - soft))  # Eq 1
    torch.testing.assert_close(feed_back(a_fg, blended, hard), blended * hard + a_fg * (1 - hard))  # Eq 2
    assert torch.equal(visibility([soft])[0], torch.ones(4, 1))


def test_later_foregrounds_cover_earlier_ones() -> None:
    back, front = torch.ones(3, 1), torch.full((3, 1), 2.0)
    below, above = torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[0.0], [1.0], [1.0]])
    assert blend_in(torch.zeros(3, 1), [back, front], [below, above]).flatten().tolist() == [1.0, 2.0, 2.0]
    seen = visibility([below, above])
    assert seen[0].flatten().tolist() == [1.0, 0.0, 0.0]
    assert seen[1].flatten().tolist() == [1.0, 1.0, 1.0]


@given(st.integers(1, 4))
def test_blending_in_is_over_with_visible_weights(count: int) -> None:
    """Eq 1 in turn is Σ a_i soft_i Π_{f>i}(1-soft_f) + a_Bl Π(1-soft): "over" on attention outputs."""
    a_bl, layers = random(5, 3), [random(5, 3, seed=i + 1) for i in range(count)]
    soft = [torch.sigmoid(random(5, 1, seed=9 + i)) for i in range(count)]
    seen = visibility(soft)
    expected = sum(a * m * v for a, m, v in zip(layers, soft, seen, strict=True))
    expected = expected + a_bl * seen[0] * (1 - soft[0])
    torch.testing.assert_close(blend_in(a_bl, layers, soft), expected)


@given(st.integers(0, 5))
def test_empty_masks_change_nothing(count: int) -> None:
    a_bl, layers = random(4, 3), [random(4, 3, seed=i + 1) for i in range(count)]
    nothing = [torch.zeros(4, 1)] * count
    assert torch.equal(blend_in(a_bl, layers, nothing), a_bl)
    assert all(torch.equal(feed_back(a, a_bl, torch.zeros(4, 1)), a) for a in layers)


def test_the_level_of_a_layer_is_found_from_its_length() -> None:
    assert level_of(256, (16, 16)) == 0
    assert level_of(24, (12, 8)) == 1 and grid_at((12, 8), 1) == (6, 4)
    assert level_of(15, (17, 9)) == 2 and grid_at((17, 9), 2) == (5, 3)
    with pytest.raises(ValueError, match="7 positions"):
        level_of(7, (16, 16))


def test_resizing_to_the_same_grid_is_the_identity_and_keeps_means() -> None:
    maps = torch.rand(2, 64)
    assert resize_map(maps, (8, 8), (8, 8)) is maps
    halved = resize_map(maps, (8, 8), (4, 4))
    assert halved.shape == (2, 16)
    torch.testing.assert_close(halved.mean(), maps.mean(), atol=0.02, rtol=0)
    torch.testing.assert_close(resize_map(torch.ones(1, 16), (4, 4), (7, 5)), torch.ones(1, 35))


HERE = torch.device("cpu")


def test_frames_that_are_the_canvas_are_passed_through() -> None:
    placement = Placement.of([WHOLE, WHOLE], (4, 4), (4, 4), HERE)
    frames = random(2, 4, 4, 3)
    assert placement.place(frames) is frames and placement.lift(frames) is frames
    assert placement.coverage.shape == (2, 4, 4, 1) and placement.coverage.min() == 1.0


def test_place_puts_cells_where_the_rectangles_are() -> None:
    frames = torch.arange(4.0).reshape(1, 2, 2, 1).repeat(2, 1, 1, 1)
    placement = Placement.of([(0.5, 0.0, 1.0, 0.5), WHOLE], (2, 2), (4, 4), HERE)
    placed = placement.place(frames)
    assert placement.coverage[0, ..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert placed[0, :2, 2:, 0].tolist() == [[0, 1], [2, 3]] and not placed[0, 2:].any()
    assert placed[1, ..., 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


fractions = st.tuples(
    st.floats(-0.3, 0.6), st.floats(-0.3, 0.6), st.floats(0.2, 0.9), st.floats(0.2, 0.9)
).map(lambda r: (r[0], r[1], r[0] + r[2], r[1] + r[3]))


@given(st.lists(fractions, min_size=1, max_size=3))
def test_a_constant_frame_stays_constant_and_covers_its_area(rectangles: list[Rectangle]) -> None:
    placement = Placement.of(rectangles, (5, 5), (8, 6), HERE)
    placed = placement.place(torch.full((2, len(rectangles), 5, 5, 2), 3.0))
    assert placed.shape == (2, len(rectangles), 8, 6, 2)
    inside = (placement.coverage[..., 0] > 1e-3).expand(2, -1, -1, -1)
    torch.testing.assert_close(placed[inside], torch.full_like(placed[inside], 3.0), atol=1e-2, rtol=0)
    for index, rectangle in enumerate(rectangles):
        left, top, right, bottom = (min(max(v, 0.0), 1.0) for v in rectangle)
        area = float(placement.coverage[index].mean())
        torch.testing.assert_close(area, (right - left) * (bottom - top), atol=1e-4, rtol=0)


@given(fractions)
def test_lifting_a_constant_canvas_gives_the_constant(rectangle: Rectangle) -> None:
    lifted = Placement.of([rectangle], (5, 5), (8, 6), HERE).lift(torch.full((1, 8, 6, 2), 3.0))
    torch.testing.assert_close(lifted, torch.full((1, 5, 5, 2), 3.0))


@given(st.lists(fractions, min_size=1, max_size=3))
def test_one_frame_touches_its_cells_alone(rectangles: list[Rectangle]) -> None:
    placement = Placement.of(rectangles, (5, 5), (8, 6), HERE)
    frames, canvas = random(2, len(rectangles), 5, 5, 3), random(2, 1, 8, 6, 3)
    placed, lifted = placement.place(frames), placement.lift(canvas)
    for i, (rows, columns) in enumerate(placement.cells):
        alone = torch.zeros_like(placed[:, i])
        alone[:, rows, columns] = placement.place_one(i, frames[:, i])
        torch.testing.assert_close(alone, placed[:, i], atol=1e-5, rtol=1e-5)
        back = placement.lift_one(i, canvas[:, 0, rows, columns])
        if placement.coverage[i].max() < 1e-3:  # a frame beside the canvas
            continue
        torch.testing.assert_close(back, lifted[:, i], atol=1e-5, rtol=1e-5)


def test_lift_reads_back_what_place_wrote_and_one_canvas_serves_all() -> None:
    frames = random(2, 4, 4, 3)
    placement = Placement.of([(0.25, 0.5, 0.75, 1.0), (0.0, 0.0, 0.5, 0.5)], (4, 4), (8, 8), HERE)
    torch.testing.assert_close(placement.lift(placement.place(frames)), frames)
    canvas = random(1, 8, 8, 3)
    lifted = placement.lift(canvas)
    assert lifted.shape == (2, 4, 4, 3)
    torch.testing.assert_close(lifted[1], canvas[0, :4, :4])
