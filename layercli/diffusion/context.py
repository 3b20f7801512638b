"""DreamLayer's equations on tensors: context maps, their two losses, and features carried into foregrounds.

Source: DreamLayer (arXiv 2503.12838). Shapes: P pictures, k foregrounds, H heads, N positions, L tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from layercli.diffusion.attention import minmax


def span_attention(attention: Tensor, spans: Tensor) -> Tensor:
    """The sums of Eq 4: Σ_{s∈S_f} Σ_j M_j^s, from M_j = softmax(Q_j·K(C)ᵀ/√d) of Eq 3, head j.

    attention: (P, k or 1, H, N, L); spans: (P, k, L), 1 on a foreground's words -> (P, k, N).
    """
    return torch.einsum("pknl,pkl->pkn", attention.sum(dim=2).expand(-1, spans.shape[1], -1, -1), spans)


def context_map(summed: Tensor) -> Tensor:
    """Eq 4: M^f = minmax of the sums (P, k, N); a foreground without words gets the map 0."""
    return minmax(summed)


def distance(one: Tensor, other: Tensor) -> Tensor:
    """‖a - b‖₂ of Eq 6 and 7 per position: (…, N) twice -> (…).

    The norm is divided by √N, so that a loss means the same on every grid: on the paper's 16 x 16 map the
    plain norm is 16 times as much, and would drown L_noise in a small model.
    """
    difference: Tensor = torch.linalg.vector_norm((one - other).float(), dim=-1)
    return difference / one.shape[-1] ** 0.5


def context_loss(global_maps: Tensor, alphas: Tensor, known: Tensor) -> Tensor:
    """Eq 6: L_c = Σ_f ‖resize(α_f) - M_G^f‖₂, mean over pictures.

    global_maps, alphas: (P, k, N); known: (P, k), 0 where a foreground has no words (dropped captions).
    """
    return (distance(alphas, global_maps) * known).sum(dim=1).mean()


def layout_loss(global_maps: Tensor, own_maps: Tensor, known: Tensor) -> Tensor:
    """Eq 7: L_layout = Σ_f ‖M_G^f - M_F^f‖₂, mean over pictures; shapes as in `context_loss`."""
    return (distance(global_maps, own_maps) * known).sum(dim=1).mean()


def carry(foregrounds: Tensor, whole: Tensor, maps: Tensor) -> Tensor:
    """Eq 9: z̃^i = z^{k+1}·M_G^i + z^i·(1 - M_G^i).

    foregrounds: (P, k, N, D); whole: (P, 1, N, D); maps: (P, k, N) in [0, 1].
    """
    weights = maps[..., None].to(foregrounds.dtype)
    return whole * weights + foregrounds * (1 - weights)
