"""The one sampling loop: DDIM steps along a path of times, down to a picture or up to noise (inversion)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from layercli.diffusion.schedule import Schedule

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x (B, C, h, w), t (B,) long) -> the network's prediction, of x's shape."""

Fresh = Callable[[int], Tensor]
"""Number of the step, from 0 -> standard normal noise of x's shape, for eta > 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """Where the loop stands after one step.

    step: from 0; t: the time of x (CLEAN after the last step of sampling); came_from: the time before;
    x: latents at t; x0: the network's idea of the clean latents; both (B, C, h, w).
    """

    step: int
    t: int
    came_from: int
    x: Tensor
    x0: Tensor


Edit = Callable[[State], Tensor]
"""Hook between steps: a State -> the latents to go on with."""


def noise(seed: int, frame: int, shape: Sequence[int], *, draw: int = 0) -> Tensor:
    """Standard normal noise of one frame: shape (C, h, w) -> float32 on the CPU.

    A function of its arguments alone, whatever the batch and the device: draw 0 starts a frame, draw i + 1
    is the fresh noise of step i.
    """
    mixed = hashlib.blake2b(f"{seed}/{frame}/{draw}".encode(), digest_size=7).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(mixed, "little"))
    return torch.randn(tuple(shape), generator=generator)


def frame_noise(seed: int, frames: Sequence[int], shape: Sequence[int], *, draw: int = 0) -> Tensor:
    """`noise` of several frames as one batch: (B, C, h, w)."""
    return torch.stack([noise(seed, frame, shape, draw=draw) for frame in frames])


def sample(
    denoise: Denoiser,
    x: Tensor,
    schedule: Schedule,
    path: Sequence[int],
    *,
    eta: float = 0.0,
    fresh: Fresh | None = None,
    edit: Edit | None = None,
    refine: int = 0,
) -> Iterator[State]:
    """Walk x along a path of times, one network call a step, and yield the State after each step.

    x: (B, C, h, w) latents at path[0]. A falling path samples, a rising one inverts; Schedule.path gives
    both. eta: 0 is DDIM, 1 is DDPM (Song et al. 2020, Eq 12 and 16), falling paths only, with `fresh` noise.
    edit: sees every State and returns the latents to go on with, which the State yielded then holds.
    refine: further network calls per rising step, each nearer to the exact inverse of the falling one.
    """
    for step, (t, s) in enumerate(pairwise(path)):
        if s < t:
            x0, x = _down(denoise, x, schedule, t, s, eta, None if fresh is None else fresh(step))
        else:
            x0, x = _up(denoise, x, schedule, t, s, refine)
        state = State(step=step, t=s, came_from=t, x=x, x0=x0)
        if edit is not None:
            x = edit(state)
            state = State(step=step, t=s, came_from=t, x=x, x0=x0)
        yield state


def run(states: Iterator[State], x: Tensor) -> Tensor:
    """Exhaust a sampling loop and return its last latents; x if there is no step."""
    for state in states:
        x = state.x
    return x


def _ask(denoise: Denoiser, x: Tensor, t: int) -> Tensor:
    return denoise(x, torch.full((x.shape[0],), t, dtype=torch.long, device=x.device))


def _down(
    denoise: Denoiser, x: Tensor, schedule: Schedule, t: int, s: int, eta: float, fresh: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One DDIM step from time t to s < t -> (x_0, x_s)."""
    x0, epsilon = schedule.split(x, _ask(denoise, x, t), t)
    alpha_t, alpha_s = schedule.alpha(t), schedule.alpha(s)
    # DDIM Eq 16: σ = η √((1-ᾱ_s)/(1-ᾱ_t)) √(1-ᾱ_t/ᾱ_s)
    variance = (1 - alpha_s) / (1 - alpha_t) * (1 - alpha_t / alpha_s)
    sigma = eta * variance.sqrt()
    # DDIM Eq 12: x_s = √ᾱ_s x_0 + √(1-ᾱ_s-σ²) ε + σ z
    moved = alpha_s.sqrt() * x0 + (1 - alpha_s - sigma**2).clamp_min(0).sqrt() * epsilon
    if fresh is not None and eta > 0:
        moved = moved + sigma * fresh.to(x)
    return x0, moved


def _up(
    denoise: Denoiser, x: Tensor, schedule: Schedule, t: int, s: int, refine: int
) -> tuple[Tensor, Tensor]:
    """One inverted DDIM step from time t to s > t -> (x_0, x_s).

    The falling step is x_t = √ᾱ_t x_0(x_s, F) + √(1-ᾱ_t) ε(x_s, F), linear in x_s and in F = F(x_s, s):
    x_t = A x_s + B F. Solved for x_s with F taken at the best x_s known, first x_t itself (DDIM inversion),
    then the solution before (a fixed point, whose limit is the exact inverse).
    """
    a_t, b_t = schedule.alpha(t).sqrt(), (1 - schedule.alpha(t)).sqrt()
    one, zero = torch.ones(1), torch.zeros(1)
    x0_of_x, e_of_x = schedule.split(one, zero, s)
    x0_of_f, e_of_f = schedule.split(zero, one, s)
    big_a = (a_t * x0_of_x + b_t * e_of_x).to(x.device)
    big_b = (a_t * x0_of_f + b_t * e_of_f).to(x.device)
    guess = x
    for _ in range(1 + refine):
        output = _ask(denoise, guess, s)
        guess = (x - big_b * output) / big_a
    x0, _ = schedule.split(guess, output, s)
    return x0, guess
