"""Information-retained harmonization (DreamLayer, Eq 12): frames fused half-way, then denoised as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from layercli.diffusion.attention import Placement, Rectangle
from layercli.diffusion.sample import Denoiser, State, sample
from layercli.diffusion.scaling import averaged
from layercli.diffusion.schedule import CLEAN, Schedule


def fuse(background: Tensor, foregrounds: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
    """Eq 12: z^m = z^1 Π_{i≥2}(1-α_i) + Σ_{i≥2} z^i α_i Π_{f>i}(1-α_f), back to front.

    background, each foreground: (C, h, w); each alpha: (h, w) in [0, 1] -> (C, h, w).
    """
    result = background
    for latents, alpha in zip(foregrounds, alphas, strict=True):
        result = latents * alpha + result * (1 - alpha)
    return result


def fuse_placed(
    objects: Tensor,
    background: Tensor,
    noise: Tensor,
    alphas: Sequence[Tensor],
    rectangles: Sequence[Rectangle],
) -> Tensor:
    """Eq 12, or Eq 13 where a frame is moved and scaled: every frame's latents placed in its rectangle first.

    objects: (k, C, h, w) at one time, background and its noise: (C, y, x); alphas: (Y, X) of the whole scene,
    averaged down to its latents -> (C, y, x). Averaging takes variance from noise; what is missing beside
    the background's is filled up with the background's own noise.
    """
    grid = (background.shape[1], background.shape[2])
    placement = Placement.of(rectangles, (objects.shape[2], objects.shape[3]), grid, objects.device)
    moved = placement.place(objects.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    if not placement.whole:
        cells = (placement.coverage > 0).flatten(1).sum(1) * len(background)
        variance = moved.square().flatten(1).sum(1) / cells.clamp_min(1)
        lost = (background.square().mean() - variance).clamp_min(0).sqrt()
        moved = moved + lost[:, None, None, None] * noise
    small = [averaged(alpha[None].to(objects), grid)[0] for alpha in alphas]
    return fuse(background, list(moved), small)


def fusing_time(path: Sequence[int], window: tuple[int, int]) -> int:
    """The time from which the fused picture is free: the last one of a falling path inside (low, high).

    Inside the window the fused latents replace the picture's own at every step, so nothing that is denoised
    above its last step is ever seen. Where no step falls into the window the nearest is taken, but never
    the first, at which there is nothing yet to fuse.
    """
    low, high = window
    times = [t for t in path[1:] if t != CLEAN] or [CLEAN]
    inside = [t for t in times if low <= t <= high]
    return min(inside) if inside else min(times, key=lambda t: min(abs(t - low), abs(t - high)))


def rest_of(path: Sequence[int], start: int) -> tuple[int, ...]:
    """The times of a falling path from `start` on."""
    return tuple(t for t in path if t <= start)


def harmonize(
    denoise: Denoiser,
    fused: Tensor,
    schedule: Schedule,
    path: Sequence[int],
    on_step: Callable[[int], None],
) -> Tensor:
    """Denoise fused latents (1, C, h, w) along the rest of a path to clean latents; on_step: steps done."""
    x = fused
    for state in sample(denoise, x, schedule, path):
        x = state.x
        on_step(state.step + 1)
    return x


def noise_in(state: State, schedule: Schedule) -> Tensor:
    """ε of a state's latents by its own x_0, what DDIM goes on with: (B, C, h, w); 0 at CLEAN."""
    alpha = schedule.alpha(state.t).to(state.x.device)
    if alpha >= 1:
        return torch.zeros_like(state.x)
    return (state.x - alpha.sqrt() * state.x0) / (1 - alpha).sqrt()
