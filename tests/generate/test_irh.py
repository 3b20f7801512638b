"""Harmonising: Eq 12, the window, and what light and shadow may and may not change."""

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
    Transfer,
    fuse,
    fuse_placed,
    fusing_time,
    harmonize,
    noise_in,
    relit,
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


def pictures(side: int = 64) -> tuple[Tensor, Tensor]:
    """A composite with fine detail, and the alpha of a square object in its middle."""
    composite = 0.3 + 0.4 * torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    alpha = torch.zeros(side, side)
    alpha[side // 4 : side // 2, side // 4 : side // 2] = 1
    return composite, alpha


@given(st.floats(0, 0.2), st.floats(0, 1), st.sampled_from([32, 64]))
def test_no_difference_is_no_light(reach: float, colour: float, side: int) -> None:
    composite, alpha = pictures()
    same = torch.rand(3, side, side, generator=torch.Generator().manual_seed(1))
    found = relit(composite, same, same, alpha, Transfer(reach=reach, colour=colour))
    torch.testing.assert_close(found, composite, atol=1e-6, rtol=0)


def test_a_shadow_on_the_ground_darkens_the_ground_and_not_the_object() -> None:
    composite, alpha = pictures()
    harmonized = composite.clone()
    harmonized[:, 32:40, 12:36] *= 0.5  # under the object
    found = relit(composite, harmonized, composite, alpha, Transfer())
    darker = found / composite
    assert darker[:, 33:38, 18:30].mean() < 0.8
    torch.testing.assert_close(darker[:, 16:32, 16:32], torch.ones(3, 16, 16), atol=0.02, rtol=0)
    torch.testing.assert_close(darker[:, :, 60:], torch.ones(3, 64, 4), atol=0.02, rtol=0)


def test_detail_of_the_harmonised_picture_stays_out_and_the_composites_stays_in() -> None:
    composite, alpha = pictures()
    grain = 1 + 0.2 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(2))
    found = relit(composite, (composite * grain).clamp(0, 1), composite, alpha, Transfer(reach=0))
    change = torch.log2(found / composite)
    assert change.abs().mean() < 0.2 * torch.log2(grain.clamp_min(0.1)).abs().mean()


def test_no_change_is_stronger_than_allowed() -> None:
    composite, alpha = pictures()
    found = relit(composite, composite * 0.01, composite, alpha, Transfer(reach=0, strongest=1.0))
    floor = 4 / 255
    assert torch.log2((found + floor) / (composite + floor)).min() >= -1.0


def test_neutral_light_has_no_hue() -> None:
    composite, alpha = torch.full((3, 32, 32), 0.5), torch.zeros(32, 32)
    red = composite * torch.tensor([1.5, 0.8, 0.8])[:, None, None]
    found = relit(composite, red, composite, alpha, Transfer(reach=0, colour=0.0))
    torch.testing.assert_close(found[0], found[1])
    tinted = relit(composite, red, composite, alpha, Transfer(reach=0, colour=1.0))
    assert (tinted[0] > tinted[1] + 0.1).all()


def test_all_takes_the_picture_as_it_is() -> None:
    composite, alpha = pictures()
    other = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(5))
    assert torch.equal(relit(composite, other, composite, alpha, Transfer(kind="all")), other)
