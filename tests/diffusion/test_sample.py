"""The sampling loop against diffusers, against closed forms, and against itself run backwards."""

from __future__ import annotations

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from layercli.diffusion.sample import State, frame_noise, noise, run, sample
from layercli.diffusion.schedule import CLEAN, Schedule

SHAPE = (2, 3, 4, 5)


def dummy(x: Tensor, t: Tensor) -> Tensor:
    """A deterministic network that depends on place, channel and time."""
    shift = torch.linspace(-1, 1, x[0].numel()).reshape(x.shape[1:]).to(x)
    return torch.tanh(0.7 * x + shift) * (0.3 + t.reshape(-1, 1, 1, 1) / 1500)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["squaredcos_cap_v2", "scaled_linear"])
@pytest.mark.parametrize(
    ("spacing", "steps"),
    [("leading", 1), ("leading", 7), ("leading", 30), ("leading", 50), ("trailing", 10), ("trailing", 50)],
)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_equal_to_diffusers(prediction: str, name: str, spacing: str, steps: int, eta: float) -> None:
    settings = {
        "num_train_timesteps": 1000, "beta_schedule": name, "beta_start": 0.00085, "beta_end": 0.012,
        "prediction_type": prediction, "timestep_spacing": spacing, "clip_sample": False,
        "steps_offset": int(spacing == "leading"),
    }  # fmt: skip
    theirs, ours = DDIMScheduler.from_config(settings), Schedule.from_config(settings)
    theirs.set_timesteps(steps)
    start = frame_noise(3, [0, 1], SHAPE[1:])
    x = start
    expected = []
    for i, t in enumerate(theirs.timesteps):
        fresh = frame_noise(3, [0, 1], SHAPE[1:], draw=i + 1)
        extra = {"variance_noise": fresh} if eta else {}
        x = theirs.step(dummy(x, t.expand(2)), int(t), x, eta=eta, **extra).prev_sample
        expected.append(x)

    def fresh_of(step: int) -> Tensor:
        return frame_noise(3, [0, 1], SHAPE[1:], draw=step + 1)

    found = list(sample(dummy, start, ours, ours.path(steps), eta=eta, fresh=fresh_of))
    for state, wanted in zip(found, expected, strict=True):
        scale = float(wanted.abs().max())
        torch.testing.assert_close(state.x, wanted, atol=2e-5 * max(1.0, scale), rtol=1e-4)


def gaussian(schedule: Schedule, mean: float, spread: float) -> object:
    """The exact denoiser of data that are N(mean, spread²), for each kind of prediction."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha = schedule.alpha(int(t[0])).double()
        a, b2 = alpha.sqrt(), 1 - alpha
        x0 = mean + a * spread**2 / (a**2 * spread**2 + b2) * (x - a * mean)  # E[x_0 | x_t]
        epsilon = (x - a * x0) / b2.sqrt()
        if schedule.prediction == "epsilon":
            return epsilon
        return a * epsilon - b2.sqrt() * x0 if schedule.prediction == "v_prediction" else x0

    return denoise


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_gaussian_follows_its_closed_form(prediction: str) -> None:
    """The probability flow of N(m, s²) keeps (x_t - √ᾱ m)/√(ᾱ s² + 1 - ᾱ) constant; DDIM converges to it."""
    schedule = Schedule.scaled_linear(prediction=prediction)
    mean, spread = 0.8, 0.4
    start = frame_noise(0, [0, 1], (1, 8, 8)).double()

    def standard(x: Tensor, t: int) -> Tensor:
        alpha = schedule.alpha(t).double()
        return (x - alpha.sqrt() * mean) / (alpha * spread**2 + 1 - alpha).sqrt()

    errors = []
    for steps in (50, 200, 1000):
        path = schedule.path(steps)
        states = list(sample(gaussian(schedule, mean, spread), start, schedule, path))  # type: ignore[arg-type]
        constant = standard(start, path[0])
        errors.append(max(float((standard(s.x, s.t) - constant).abs().max()) for s in states))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.02


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_inversion_then_sampling_returns(prediction: str) -> None:
    schedule = Schedule.scaled_linear(prediction=prediction)
    picture = 0.5 * frame_noise(5, [0, 1], SHAPE[1:])
    down = schedule.path(25)
    errors = []
    for refine in (0, 1, 8):
        noised = run(sample(dummy, picture, schedule, down[::-1], refine=refine), picture)
        back = run(sample(dummy, noised, schedule, down), noised)
        errors.append(float((back - picture).abs().max()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3, errors


def test_sampling_then_inversion_returns_to_the_noise() -> None:
    schedule = Schedule.cosine(prediction="v_prediction", spacing="trailing")
    start = noise(1, 0, (1, 4, 4))[None]
    path = [t for t in schedule.path(40) if t < 990]  # at pure noise a picture leaves no trace to follow back
    picture = run(sample(dummy, start, schedule, path), start)
    back = run(sample(dummy, picture, schedule, path[::-1], refine=10), picture)
    torch.testing.assert_close(back, start, atol=1e-3, rtol=0)


def test_the_states_tell_time_and_the_clean_guess() -> None:
    schedule = Schedule.linear()
    states = list(sample(dummy, torch.zeros(SHAPE), schedule, schedule.path(4)))
    assert [(s.step, s.came_from, s.t) for s in states] == [
        (0, 750, 500), (1, 500, 250), (2, 250, 0), (3, 0, CLEAN),
    ]  # fmt: skip
    torch.testing.assert_close(states[-1].x, states[-1].x0)


def test_an_edit_changes_what_follows_and_what_is_yielded() -> None:
    schedule = Schedule.linear()

    def to_zero(state: State) -> Tensor:
        return torch.zeros_like(state.x) if state.t == 250 else state.x

    states = list(sample(dummy, torch.ones(SHAPE), schedule, schedule.path(4), edit=to_zero))
    again = list(sample(dummy, torch.zeros(SHAPE), schedule, (250, 0, CLEAN)))
    assert not states[1].x.any()
    assert torch.equal(states[-1].x, again[-1].x)


@given(seed=st.integers(0, 2**63 - 1), frame=st.integers(0, 9), others=st.integers(1, 4))
def test_noise_of_a_frame_does_not_depend_on_the_batch(seed: int, frame: int, others: int) -> None:
    batch = frame_noise(seed, [frame, *range(10, 10 + others)], (2, 3, 3))
    assert torch.equal(batch[0], noise(seed, frame, (2, 3, 3)))
    assert not torch.equal(batch[0], batch[1])


def test_noise_is_standard_normal_and_changes_with_every_argument() -> None:
    long = noise(7, 0, (4, 64, 64))
    assert abs(float(long.mean())) < 0.03 and abs(float(long.std()) - 1) < 0.03
    for other in (noise(8, 0, (4, 64, 64)), noise(7, 1, (4, 64, 64)), noise(7, 0, (4, 64, 64), draw=1)):
        assert abs(float((long * other).mean())) < 0.03


def test_noise_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    noise(1, 2, (3, 4, 4))
    assert torch.equal(torch.rand(3), expected)
