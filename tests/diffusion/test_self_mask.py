"""Self-mask guidance against the paper's own formula, step by step, and masks that never overlap."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from layercli.diffusion.schedule import Schedule
from layercli.diffusion.self_mask import blur, exclusive, hidden_part, self_mask_guided, visible_masks

SHAPE = (3, 2, 8, 8)


def network(x: Tensor, t: Tensor) -> Tensor:
    """A deterministic network that looks at its neighbours, at the time, and at which half it is in."""
    return torch.tanh(x + 0.3 * x.roll(1, -1)) * (1 + t[:, None, None, None] / 1000)


def masks_of(x0: Tensor) -> Tensor:
    return (x0.mean(dim=1, keepdim=True) > 0).float()


def latents(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("conceal", ["inside", "outside"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("time", [30, 500, 980])
def test_guidance_is_the_papers_formula(prediction: Any, conceal: Any, time: int) -> None:
    """ε̃ = ε̂ + (1+s)(ε - ε̂), with ẑ of Eq 6 to 9, written out in ε."""
    schedule = Schedule.scaled_linear(prediction=prediction)
    x, t, s, sigma = latents(0), torch.full((3,), time), 3.0, 1.5
    guided = self_mask_guided(
        network,
        network,
        schedule,
        masks_of,
        guidance=1.0,
        rescale=0.0,
        scale=s,
        sigma=sigma,
        conceal=conceal,
        channels=2,
    )
    _, found = schedule.split(x, guided(x, t), time)
    alpha = schedule.alpha(time)
    _, epsilon = schedule.split(x, network(x, t), time)
    x0 = (x - (1 - alpha).sqrt() * epsilon) / alpha.sqrt()  # Eq 6
    renoised = alpha.sqrt() * blur(x0, sigma) + (1 - alpha).sqrt() * epsilon  # Eq 7, 8
    m = masks_of(x0)
    as_printed = m * x + (1 - m) * renoised  # Eq 9
    as_told = (1 - m) * x + m * renoised
    z = as_printed if conceal == "outside" else as_told
    _, unseen = schedule.split(z, network(z, t), time)
    assert torch.allclose(found, unseen + (1 + s) * (epsilon - unseen), atol=2e-3, rtol=1e-3)


def test_scale_zero_is_guidance_alone_and_further_channels_are_left() -> None:
    schedule = Schedule.scaled_linear(prediction="v_prediction")
    x, t = latents(1), torch.full((3,), 400)
    settings: dict[str, Any] = {"rescale": 0.0, "sigma": 1.0, "conceal": "inside"}

    def joint(x: Tensor, t: Tensor) -> Tensor:
        return network(x, t) * torch.cat([torch.zeros(3), torch.ones(3)])[:, None, None, None]

    plain = self_mask_guided(
        joint, network, schedule, masks_of, guidance=3.0, scale=0.0, channels=2, **settings
    )
    assert torch.allclose(plain(x, t), 3 * network(x, t), atol=1e-5)
    half = self_mask_guided(
        joint, network, schedule, masks_of, guidance=3.0, scale=2.0, channels=1, **settings
    )
    assert torch.allclose(half(x, t)[:, 1], plain(x, t)[:, 1], atol=1e-4)
    assert not torch.allclose(half(x, t)[:, 0], plain(x, t)[:, 0], atol=1e-2)


def test_the_blur_is_a_gaussian_that_keeps_brightness_and_fits_small_latents() -> None:
    x = torch.zeros(1, 1, 33, 33)
    x[..., 16, 16] = 1
    seen = blur(x, 3.0)[0, 0]
    places = torch.arange(-15.0, 16)
    weights = torch.exp(-places.square() / 18)
    weights /= weights.sum()
    assert torch.allclose(seen[1:-1, 1:-1], weights[:, None] * weights[None], atol=1e-6)
    flat = torch.full((1, 2, 5, 4), 0.7)
    assert torch.allclose(blur(flat, 3.0), flat, atol=1e-6)


def test_what_is_hidden_follows_the_prose_or_the_print() -> None:
    masks = torch.tensor([0.0, 1.0])
    assert torch.equal(hidden_part(masks, "inside"), masks)
    assert torch.equal(hidden_part(masks, "outside"), 1 - masks)


def test_masks_are_exclusive() -> None:
    alphas = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    masks = visible_masks(alphas)
    assert torch.allclose(masks.sum(dim=0), torch.ones(6, 6))
    assert torch.allclose(masks[3], alphas[2])
    assert torch.allclose(masks[1], alphas[0] * (1 - alphas[1]) * (1 - alphas[2]))
    one = exclusive(masks)
    assert torch.equal(one.sum(dim=0), torch.ones(6, 6)) and set(one.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(one.argmax(dim=0), masks.argmax(dim=0))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_an_answer_splits_into_its_picture(prediction: Any) -> None:
    schedule = dataclasses.replace(Schedule.cosine(), prediction=prediction)
    x, x0 = latents(2), latents(3)
    for time in (5, 500, 950):
        assert torch.allclose(schedule.split(x, schedule.answer(x, x0, time), time)[0], x0, atol=1e-3)
