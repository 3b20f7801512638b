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


def without_specks(rgba: Tensor, share: float) -> Tensor:
    """Clear what floats beside an object and is smaller than a share of all that is seen: (B, 4, H, W).

    Pieces are told apart on a grid of a quarter of the side, diagonals touching, at alpha above 1/4.
    """
    seen = F.max_pool2d((rgba[:, 3:] > 0.25).float(), 4, ceil_mode=True)
    number = torch.arange(1, seen[0].numel() + 1, dtype=torch.float32, device=rgba.device).reshape(
        seen.shape[1:]
    )
    labels = seen * number
    while True:  # every cell takes the largest number it touches, until each piece has one number
        spread = F.max_pool2d(labels, 3, 1, 1) * seen
        if torch.equal(spread, labels):
            break
        labels = spread
    kept = torch.ones_like(seen)
    for row, pieces in enumerate(labels.long()):
        sizes = torch.bincount(pieces.flatten())
        sizes[0] = sizes.sum()  # what is empty may stay
        small = sizes < share * int((pieces > 0).sum())
        kept[row] = (~small[pieces]).float()
    # A speck's soft rim lies in the cells around it; take them too where no kept piece claims them.
    claimed = F.max_pool2d(seen * kept, 3, 1, 1)
    gone = F.max_pool2d(1 - kept, 3, 1, 1) * (1 - claimed)
    clear = F.interpolate(gone, scale_factor=4, mode="nearest")[..., : rgba.shape[2], : rgba.shape[3]]
    return torch.cat([rgba[:, :3], rgba[:, 3:] * (1 - clear)], dim=1)


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
