"""Classifier-free guidance: wrapping denoisers into denoisers (Ho & Salimans 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from layercli.diffusion.sample import Denoiser


def combine(
    unconditional: Tensor, conditional: Tensor, scale: float, *, rescale: float = 0.0, tint: float = 1.0
) -> Tensor:
    """F = F_u + w (F_c - F_u): predictions of one shape (B, C, h, w).

    rescale: 0..1, how far the result's standard deviation per picture is drawn back to that of the
    conditional prediction, against washed-out colours at large w (Lin et al. 2023, Eq 14-16). tint: 1..0, how
    much of w the mean of every channel is given: at 0 its w is 1, and guidance makes shapes clearer without
    making dark things black (a w of their own for low frequencies: Sadat et al. 2025; here for the lowest).
    """
    push = conditional - unconditional
    guided = unconditional + scale * push
    if tint != 1.0:
        guided = guided - (1 - tint) * (scale - 1) * push.mean(dim=(-2, -1), keepdim=True)
    if rescale == 0.0:
        return guided
    axes = tuple(range(1, guided.ndim))
    spread = conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
    return guided * (rescale * spread + (1 - rescale))


def classifier_free(
    conditional: Denoiser, unconditional: Denoiser, scale: float, *, rescale: float = 0.0, tint: float = 1.0
) -> Denoiser:
    """Guide by two denoisers, called in turn; scale 1 is the conditional denoiser itself, bit for bit."""
    if scale == 1.0:
        return conditional

    def guided(x: Tensor, t: Tensor) -> Tensor:
        return combine(unconditional(x, t), conditional(x, t), scale, rescale=rescale, tint=tint)

    return guided


def classifier_free_joint(
    both: Denoiser, scale: float, *, rescale: float = 0.0, tint: float = 1.0
) -> Denoiser:
    """Guide by one denoiser whose batch is [unconditional, conditional]: one network call a step."""

    def guided(x: Tensor, t: Tensor) -> Tensor:
        unconditional, conditional = both(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
        return combine(unconditional, conditional, scale, rescale=rescale, tint=tint)

    return guided
