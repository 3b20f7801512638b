"""LayerDiff's masks and self-mask guidance (SMG): a layer is pushed away from itself with its object blurred.

Source: LayerDiff (section 4.1, Eq 4; section 4.2, Eq 6 to 9). Shapes: F frames of one picture, background
first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.diffusion.guidance import combine
from layercli.diffusion.sample import Denoiser
from layercli.diffusion.schedule import Schedule

Conceal = Literal["inside", "outside"]
"""Where SMG blurs: the prose says inside the marked area, Eq 9 as printed blurs outside of it."""

KERNEL = 31
"""The blur's kernel, in latent positions (appendix A), cut where the latents are smaller."""


def visible_masks(alphas: Tensor) -> Tensor:
    """Masks that never overlap (Eq 4): complete alphas (k, H, W), back to front -> (k + 1, H, W).

    m_i = α_i Π_{f>i}(1-α_f), and first the background's m_b = 1 - Σ m_i.
    """
    uncovered = torch.ones_like(alphas[0])
    masks = []
    for alpha in alphas.flip(0):
        masks.append(alpha * uncovered)
        uncovered = uncovered * (1 - alpha)
    return torch.stack([uncovered, *masks[::-1]])


def exclusive(masks: Tensor) -> Tensor:
    """1 for the frame whose mask is largest at a position, 0 for all others: (F, H, W) -> (F, H, W)."""
    return F.one_hot(masks.argmax(dim=0), len(masks)).permute(2, 0, 1).to(masks.dtype)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Eq 7: a Gaussian over positions (B, C, h, w), its edges mirrored."""
    radius = min(KERNEL // 2, x.shape[2] - 1, x.shape[3] - 1)
    places = torch.arange(-radius, radius + 1, dtype=torch.float32, device=x.device)
    weights = torch.exp(-places.square() / (2 * sigma**2))
    weights = (weights / weights.sum()).to(x.dtype).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, weights, groups=x.shape[1])
    return F.conv2d(across, weights.transpose(2, 3), groups=x.shape[1])


def hidden_part(masks: Tensor, conceal: Conceal) -> Tensor:
    """Where Eq 9 takes the blurred latents: in the marked area (the prose), or around it (as printed)."""
    return masks if conceal == "inside" else 1 - masks


def self_mask_guided(
    joint: Denoiser,
    positive: Denoiser,
    schedule: Schedule,
    masks_of: Callable[[Tensor], Tensor],
    *,
    guidance: float,
    rescale: float,
    tint: float = 1.0,
    scale: float,
    sigma: float,
    conceal: Conceal,
    channels: int,
) -> Denoiser:
    """Classifier-free guidance and SMG together: two calls of the network a step, one of them half as large.

    joint: the denoiser of [negative, positive] frames, positive: of these alone; masks_of: predicted x_0 of
    all frames -> binary masks (B, 1, h, w); scale: s; sigma: of the blur; channels: of the pictures' latents,
    what lies beyond them (mask latents) is not blurred.

    ε̃ = ε̂ + (1+s)(ε - ε̂) = ε + s(ε - ε̂). With classifier-free guidance beside it, the guided ε takes the place
    of the first ε, and ε - ε̂ is between conditional predictions, as in self-attention guidance (Hong et al.
    2023). All is reckoned in x_0, where nothing is divided by √ᾱ: with z = √ᾱ x_0 + √(1-ᾱ) ε, the same in ẑ,
    and z - ẑ = √ᾱ h⊙(x_0 - blur x_0), it reads x̃_0 = x_0 + s[(x_0 - x̂_0) - h⊙(x_0 - blur x_0)].
    """

    def guided(x: Tensor, t: Tensor) -> Tensor:
        time = int(t[0])
        if guidance == 1.0:
            conditional = told = positive(x, t)
        else:
            unconditional, conditional = joint(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
            told = combine(unconditional, conditional, guidance, rescale=rescale, tint=tint)
        if scale == 0.0:
            return told
        x0, epsilon = schedule.split(x, told, time)  # Eq 6
        hidden = hidden_part(masks_of(x0), conceal)
        picture = x0[:, :channels]
        blurred = blur(picture, sigma)  # Eq 7
        renoised = schedule.add_noise(blurred, epsilon[:, :channels], time)  # Eq 8
        z = torch.cat([torch.lerp(x[:, :channels], renoised, hidden), x[:, channels:]], dim=1)  # Eq 9
        seen, _ = schedule.split(x, conditional, time)
        unseen, _ = schedule.split(z, positive(z, t), time)
        push = (seen - unseen)[:, :channels] - hidden * (picture - blurred)
        pushed = torch.cat([picture + scale * push, x0[:, channels:]], dim=1)
        return schedule.answer(x, pushed, time)

    return guided
