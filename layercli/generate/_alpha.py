"""Alpha of a foreground: cleaned where a model gives it, found from attention where it gives none."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def levelled(rgba: Tensor, levels: tuple[float, float]) -> Tensor:
    """Stretch alpha so that the low level becomes 0 and the high one 1: (B, 4, H, W) straight alpha.

    A learned decoder leaves a haze of a few hundredths around objects and small holes in them.
    """
    low, high = levels
    alpha = ((rgba[:, 3:] - low) / (high - low)).clamp(0, 1)
    return torch.cat([rgba[:, :3], alpha], dim=1)


def alpha_from_hint(rgb: Tensor, hint: Tensor) -> Tensor:
    """Find alpha from where attention saw an object, sharpened by the picture's own edges.

    rgb: (B, 3, H, W) in [0, 1]; hint: (B, h, w) in [0, 1], coarse -> (B, 4, H, W). For models that know no
    alpha (the idea of Alfie, arXiv 2408.14826, with the guided filter of He et al. 2013 for the edges).
    """
    size = rgb.shape[2:]
    coarse = F.interpolate(hint[:, None], size=size, mode="bilinear", align_corners=False)
    guide = rgb.mean(dim=1, keepdim=True)
    radius = max(1, min(size) // 24)
    sharp = _guided(guide, coarse, radius, 1e-3)
    alpha = ((sharp - 0.3) / 0.3).clamp(0, 1)
    return torch.cat([rgb, alpha * alpha * (3 - 2 * alpha)], dim=1)


def _guided(guide: Tensor, values: Tensor, radius: int, epsilon: float) -> Tensor:
    """The guided filter (He et al. 2013, Eq 5-8) with a box of 2·radius+1: (B, 1, H, W) each."""

    def mean(picture: Tensor) -> Tensor:
        return F.avg_pool2d(picture, 2 * radius + 1, 1, radius, count_include_pad=False)

    mean_g, mean_v = mean(guide), mean(values)
    a = (mean(guide * values) - mean_g * mean_v) / (mean(guide * guide) - mean_g**2 + epsilon)
    b = mean_v - a * mean_g
    return mean(a) * guide + mean(b)
