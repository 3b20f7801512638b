"""Schedules against diffusers' DDIMScheduler and against their own definitions."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.diffusion.schedule import CLEAN, PREDICTIONS, SPACINGS, Schedule

NAMES = ("squaredcos_cap_v2", "linear", "scaled_linear")


def config(name: str, **settings: object) -> dict[str, object]:
    return {
        "num_train_timesteps": 1000,
        "beta_schedule": name,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
        **settings,
    }


@pytest.mark.parametrize("name", NAMES)
def test_alphas_are_those_of_diffusers_bit_for_bit(name: str) -> None:
    theirs = DDIMScheduler.from_config(config(name))
    assert torch.equal(Schedule.from_config(config(name)).alphas_cumprod, theirs.alphas_cumprod)


@pytest.mark.parametrize("name", NAMES)
def test_zero_terminal_snr_is_that_of_diffusers_bit_for_bit(name: str) -> None:
    settings = config(name, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    ours = Schedule.from_config(settings)
    assert torch.equal(ours.alphas_cumprod, DDIMScheduler.from_config(settings).alphas_cumprod)
    assert ours.alpha(999) == 0
    x0, epsilon = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    found = ours.split(epsilon, -x0, 999)  # all that is seen is noise; the network says what lies under it
    assert torch.equal(found[0], x0) and torch.equal(found[1], epsilon)


def test_trained_betas_are_taken_as_they_are() -> None:
    betas = torch.linspace(0.001, 0.01, 1000).tolist()
    ours = Schedule.from_config(config("none at all", trained_betas=betas))
    theirs = DDIMScheduler.from_config(config("linear", trained_betas=betas))
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 30, 50, 333, 1000])
def test_times_are_those_of_diffusers(spacing: str, steps: int) -> None:
    offset = 1 if spacing == "leading" and steps < 1000 else 0
    settings = config("linear", timestep_spacing=spacing, steps_offset=offset)
    theirs = DDIMScheduler.from_config(settings)
    theirs.set_timesteps(steps)
    assert list(Schedule.from_config(settings).timesteps(steps)) == theirs.timesteps.tolist()


@given(st.integers(1, 1000), st.sampled_from(SPACINGS))
def test_a_path_falls_strictly_and_ends_clean(steps: int, spacing: str) -> None:
    path = Schedule.linear(spacing=spacing).path(steps)
    assert len(path) == steps + 1 and path[-1] == CLEAN
    assert all(s < t for t, s in pairwise(path))


def test_a_path_may_start_later() -> None:
    path = Schedule.cosine(spacing="trailing").path(10, start=599)
    assert path == (599, 499, 399, 299, 199, 99, CLEAN)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("t", [1, 400, 998])
def test_split_undoes_the_definition_of_each_prediction(prediction: str, t: int) -> None:
    schedule = Schedule.cosine(prediction=prediction)
    x0, epsilon = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    a, b = schedule.alpha(t).double().sqrt(), (1 - schedule.alpha(t)).double().sqrt()
    output = {"epsilon": epsilon, "sample": x0, "v_prediction": a * epsilon - b * x0}[prediction]
    found = schedule.split(schedule.add_noise(x0, epsilon, t), output, t)
    torch.testing.assert_close(found[0], x0, atol=2e-3 if t == 998 else 1e-5, rtol=0)
    torch.testing.assert_close(found[1], epsilon, atol=2e-3 if t == 1 else 1e-5, rtol=0)


def test_the_last_alpha_follows_set_alpha_to_one() -> None:
    kept = Schedule.from_config(config("scaled_linear", set_alpha_to_one=False))
    assert kept.alpha(CLEAN) == kept.alphas_cumprod[0]
    assert Schedule.from_config(config("scaled_linear")).alpha(CLEAN) == 1.0


@pytest.mark.parametrize(
    "settings",
    [
        config("sigmoid"),
        config("linear", prediction_type="flow"),
        config("linear", timestep_spacing="karras"),
        config("linear", rescale_betas_zero_snr=True),
    ],
)
def test_what_is_not_known_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(LayercliError):
        Schedule.from_config(settings)


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(LayercliError, match=str(steps)):
        Schedule.cosine().timesteps(steps)
