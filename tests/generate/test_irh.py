"""Harmonising: Eq 12, the window, and the second pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from layercli.diffusion.attention import WHOLE
from layercli.diffusion.sample import frame_noise, noise, sample
from layercli.diffusion.schedule import CLEAN, Schedule
from layercli.generate._irh import (
    fuse,
    fuse_placed,
    fusing_time,
    harmonize,
    noise_in,
    rest_of,
)


@given(st.integers(0, 3))
def test_fusing_is_equation_12(count: int) -> None:
    background, objects = noise(0, 0, (2, 3, 3)), [noise(0, i + 1, (2, 3, 3)) for i in range(count)]
    alphas = [torch.sigmoid(noise(1, i, (3, 3))) for i in range(count)]
    expected = background * torch.stack([torch.ones(3, 3), *[1 - a for a in alphas]]).prod(dim=0)
    for i, latents in enumerate(objects):
        uncovered = torch.stack([torch.ones(3, 3), *[1 - a for a in alphas[i + 1 :]]]).prod(dim=0)
        expected = expected + latents * alphas[i] * uncovered
    torch.testing.assert_close(fuse(background, objects, alphas), expected)


def test_frames_in_place_are_fused_as_they_are() -> None:
    background, objects = noise(0, 0, (2, 4, 4)), frame_noise(0, [1, 2], (2, 4, 4))
    alphas = [torch.sigmoid(noise(1, i, (4, 4))) for i in range(2)]
    wide = [alpha.repeat_interleave(3, 0).repeat_interleave(3, 1) for alpha in alphas]
    found = fuse_placed(objects, background, noise(0, 9, (2, 4, 4)), wide, [WHOLE, WHOLE])
    torch.testing.assert_close(found, fuse(background, list(objects), alphas))


def test_a_moved_frame_lands_in_its_rectangle_and_keeps_the_variance_of_noise() -> None:
    background, objects = noise(0, 0, (4, 32, 32)), frame_noise(0, [1], (4, 32, 32))
    alpha = torch.zeros(32, 32)
    alpha[16:, 16:] = 1
    found = fuse_placed(objects, background, background, [alpha], [(0.5, 0.5, 1.0, 1.0)])
    assert torch.equal(found[:, :16], background[:, :16])
    inside = found[:, 16:, 16:]
    assert not torch.allclose(inside, background[:, 16:, 16:], atol=0.1)
    assert 0.8 < float(inside.var()) < 1.3


@pytest.mark.parametrize(
    ("window", "start"),
    [((400, 600), 432), ((0, 0), -1), ((940, 1000), 966), ((433, 460), 432), ((0, 1000), 32)],
)
def test_the_picture_is_free_below_the_window(window: tuple[int, int], start: int) -> None:
    path = Schedule.cosine(spacing="trailing").path(30)
    found = fusing_time(path, window)
    assert found == (min(t for t in path if t != CLEAN) if start == -1 else start)
    assert rest_of(path, found)[0] == found


def test_with_one_step_there_is_nothing_to_harmonise() -> None:
    path = Schedule.cosine(spacing="trailing").path(1)
    assert fusing_time(path, (400, 600)) == CLEAN
    assert rest_of(path, CLEAN) == (CLEAN,)


def test_noise_in_a_state_is_what_made_it() -> None:
    schedule = Schedule.cosine(prediction="epsilon")
    fixed = noise(2, 0, (1, 4, 4))[None]
    states = list(sample(lambda x, t: fixed, noise(0, 0, (1, 4, 4))[None], schedule, (600, 400, CLEAN)))
    torch.testing.assert_close(noise_in(states[0], schedule), fixed)
    assert not noise_in(states[1], schedule).any()


def test_denoising_with_the_truth_returns_the_composite() -> None:
    schedule = Schedule.cosine(prediction="v_prediction", spacing="trailing")
    truth, epsilon = noise(0, 0, (2, 4, 4))[None], noise(0, 1, (2, 4, 4))[None]

    def knows(x: Tensor, t: Tensor) -> Tensor:
        alpha = schedule.alpha(int(t[0]))
        return alpha.sqrt() * (x - alpha.sqrt() * truth) / (1 - alpha).sqrt() - (1 - alpha).sqrt() * truth

    path, seen = rest_of(schedule.path(10), 499), []
    found = harmonize(knows, schedule.add_noise(truth, epsilon, 499), schedule, path, seen.append)
    torch.testing.assert_close(found, truth, atol=1e-4, rtol=0)
    assert seen == [1, 2, 3, 4, 5]
