"""Light and shadow: what a harmonised picture changes, taken over without its detail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion.scaling import scaled

PIVOT = 0.35
"""The brightness at which screening by light is exact in stops: what most pictures are about."""

_FLOOR = 4 / 255
"""Added to pictures before they are divided, so that black pixels make no extreme ratios."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What of a harmonised picture reaches the layers' composite.

    kind: "light" takes smooth light and shadow only, so that objects stay crisp and movable; "all" takes the
    picture as it is. smooth: blur of light and shadow, share of the shorter side; reach: how far from the
    objects they may fall, the same unit, 0 for everywhere; strongest: limit of a change, in stops; colour:
    how much of the change's hue is kept, 0 for neutral; contact: depth in stops of the contact shadow that a
    standing object has at least, 0 for none but the network's own.
    """

    kind: Literal["light", "all"] = "light"
    smooth: float = 0.02
    reach: float = 0.12
    strongest: float = 1.5
    colour: float = 0.2
    contact: float = 0.8


def changed(harmonized: Tensor, before: Tensor) -> Tensor:
    """How many stops lighter a picture became: (C, H, W) in [0, 1] twice -> (C, H, W), below 0 for darker."""
    return torch.log2((harmonized + _FLOOR) / (before + _FLOOR))


def light_on(
    alpha: Tensor, stops: Tensor, without: Tensor | None, standing: Sequence[Tensor], transfer: Transfer
) -> Tensor:
    """Smooth light and shadow in stops, (3, H, W), for a composite of that size.

    alpha: (H, W) of all objects together; stops: (3, h, w) what harmonising changed; without: the same for
    the scene without its objects, from the same noise, so that only what the objects cause is left of the
    ground; standing: (H, W) alphas of the objects that touch the ground.
    """
    neutral = stops.mean(dim=0, keepdim=True)
    stops = neutral + transfer.colour * (stops - neutral)
    ground = stops
    if without is not None:
        plain = without.mean(dim=0, keepdim=True)
        ground = stops - (plain + transfer.colour * (without - plain))
    # All of it is smooth, so it is made at the size of the harmonised picture, and scaled to the canvas.
    size, small = (alpha.shape[0], alpha.shape[1]), (stops.shape[1], stops.shape[2])
    side, covered = min(small), _sized(alpha[None], small)[0]
    if transfer.reach > 0:
        near = (3 * _gaussian(covered[None], transfer.reach * side)).clamp(0, 1)
        stops, ground = stops * near, ground * near
    # Objects and ground are smoothed apart: a shadow on the ground does not darken who casts it, and an
    # object takes on the light of the scene without getting blotches.
    inside = _blurred(stops, covered, 4 * transfer.smooth * side)
    outside = _blurred(ground, 1 - covered, transfer.smooth * side)
    if transfer.contact > 0:
        for thing in standing:
            shadow = contact_shadow(_sized(thing[None], small)[0])
            outside = torch.minimum(outside, -transfer.contact * shadow)
    mixed = _sized(inside, size) * alpha + _sized(outside, size) * (1 - alpha)
    return transfer.strongest * torch.tanh(mixed / transfer.strongest)


def shades(stops: Tensor) -> tuple[Tensor, Tensor]:
    """Light and shadow in stops as what to multiply and what to screen a picture with: (3, H, W) each.

    shadows = 2^stops where stops < 0, else 1. Screening by light moves a pixel c to 1 - (1-c)(1-light); light
    is such that a pixel of brightness PIVOT gets 2^stops times as bright. Both are as smooth as the stops,
    whatever lies under them, so that objects can be moved under them later.
    """
    shadows = torch.exp2(stops.clamp_max(0))
    light = PIVOT / (1 - PIVOT) * (torch.exp2(stops.clamp_min(0)) - 1)
    return shadows, light.clamp(0, 1)


def contact_shadow(alpha: Tensor) -> Tensor:
    """The soft dark line where an object meets the ground: its foot, blurred wide and flat.

    alpha: (H, W) of one object on the canvas -> (H, W) in [0, 1].
    """
    rows = (alpha > 0.5).any(dim=1).nonzero().flatten()
    if len(rows) == 0:
        return torch.zeros_like(alpha)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    tall = bottom - top
    high, sunk = max(1, round(0.06 * tall)), round(0.02 * tall)  # the foot, and how far its shadow lies below
    foot = torch.zeros_like(alpha)
    end = min(bottom + sunk, alpha.shape[0])
    foot[bottom - high + sunk : end] = alpha[bottom - high : end - sunk]
    shadow = _gaussian(foot[None], 0.04 * tall, 0.12 * tall)[0] + _gaussian(foot[None], 0.02 * tall)[0]
    return shadow / shadow.max().clamp_min(1e-6)


def _blurred(values: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Gaussian mean of values (C, H, W) over the weighted part (H, W) of the picture alone."""
    total = _gaussian(weight[None], sigma)
    return _gaussian(values * weight, sigma) / total.clamp_min(1e-3)


def _gaussian(values: Tensor, sigma: float, across: float | None = None) -> Tensor:
    """Gaussian blur of (C, H, W), edges repeated; across: another width along the rows."""
    down = _kernel(sigma, values.shape[1], values)
    flat = _kernel(sigma if across is None else across, values.shape[2], values)
    y, x = len(down) // 2, len(flat) // 2
    padded = F.pad(values[:, None], (x, x, y, y), mode="replicate")
    return F.conv2d(F.conv2d(padded, flat[None, None, None]), down[None, None, :, None])[:, 0]


def _kernel(sigma: float, longest: int, like: Tensor) -> Tensor:
    radius = min(math.ceil(3 * sigma), longest - 1)
    steps = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    kernel = torch.exp(-0.5 * (steps / max(sigma, 1e-3)) ** 2)
    return kernel / kernel.sum()


def _sized(values: Tensor, size: tuple[int, int]) -> Tensor:
    if values.shape[1:] == size:
        return values
    return scaled(values[None], size)[0]


def at_size(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture (C, h, w) scaled to (C, *size), in [0, 1]."""
    return _sized(picture, size).clamp(0, 1)
