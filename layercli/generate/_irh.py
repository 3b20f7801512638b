"""Information-retained harmonization (DreamLayer, Eq 12): frames fused half-way, then denoised as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion.attention import WHOLE, Rectangle, place
from layercli.diffusion.sample import Denoiser, State, sample
from layercli.diffusion.schedule import CLEAN, Schedule

_FLOOR = 4 / 255
"""Added to both pictures before they are divided, so that black pixels make no extreme ratios."""


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
    placed, small = [], []
    for latents, alpha, rectangle in zip(objects, alphas, rectangles, strict=True):
        features, _ = place(latents.permute(1, 2, 0)[None], rectangle, grid)
        moved = features[0].permute(2, 0, 1)
        if rectangle != WHOLE:
            lost = (background.var() - moved.var()).clamp_min(0).sqrt()
            moved = moved + lost * noise
        placed.append(moved)
        small.append(F.adaptive_avg_pool2d(alpha[None].to(latents), grid)[0])
    return fuse(background, placed, small)


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


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What of a harmonised picture reaches the layers' composite.

    kind: "light" takes smooth light and shadow only, so that objects stay crisp and movable; "all" takes the
    picture as it is. smooth: blur of light and shadow, share of the shorter side; reach: how far from the
    objects they may fall, the same unit, 0 for everywhere; strongest: limit of a change, in stops; colour:
    how much of the change's hue is kept, 0 for neutral.
    """

    kind: Literal["light", "all"] = "light"
    smooth: float = 0.02
    reach: float = 0.12
    strongest: float = 1.5
    colour: float = 0.3


def relit(
    composite: Tensor, harmonized: Tensor, reference: Tensor, alpha: Tensor, transfer: Transfer
) -> Tensor:
    """Lay the light and shadow of a harmonised picture over a composite, keeping the composite's detail.

    composite: (3, H, W) on the canvas; harmonized, reference: (3, h, w), the harmonised picture and what the
    codec makes of the composite, so that what the codec loses is no shadow; alpha: (H, W) of all objects.
    All in [0, 1] -> (3, H, W).
    """
    size = (composite.shape[1], composite.shape[2])
    if transfer.kind == "all":
        return _sized(harmonized, size).clamp(0, 1)
    stops = torch.log2((harmonized + _FLOOR) / (reference + _FLOOR))
    neutral = stops.mean(dim=0, keepdim=True)
    stops = neutral + transfer.colour * (stops - neutral)
    side = min(stops.shape[1:])
    small = _sized(alpha[None], (stops.shape[1], stops.shape[2]))[0]
    if transfer.reach > 0:
        stops = stops * (3 * _gaussian(small[None], transfer.reach * side)).clamp(0, 1)
    stops = transfer.strongest * torch.tanh(stops / transfer.strongest)
    # Objects and ground are smoothed apart: a shadow on the ground does not darken who casts it.
    inside = _sized(_blurred(stops, small, 2 * transfer.smooth * side), size)
    outside = _sized(_blurred(stops, 1 - small, transfer.smooth * side), size)
    stops = inside * alpha + outside * (1 - alpha)
    return ((composite + _FLOOR) * torch.exp2(stops) - _FLOOR).clamp(0, 1)


def _blurred(values: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Gaussian mean of values (C, H, W) over the weighted part (H, W) of the picture alone."""
    total = _gaussian(weight[None], sigma)
    return _gaussian(values * weight, sigma) / total.clamp_min(1e-3)


def _gaussian(values: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W), edges repeated."""
    if sigma < 0.3:
        return values
    radius = min(math.ceil(3 * sigma), min(values.shape[1:]) - 1)
    steps = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(values[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def _sized(values: Tensor, size: tuple[int, int]) -> Tensor:
    if values.shape[1:] == size:
        return values
    smaller = size[0] < values.shape[1] or size[1] < values.shape[2]
    return F.interpolate(values[None], size=size, mode="bilinear", align_corners=False, antialias=smaller)[0]
