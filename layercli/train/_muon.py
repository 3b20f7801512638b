"""Muon: momentum whose matrices are made orthogonal before each step (Jordan et al., 2024).

torch.optim.Muon takes matrices alone; most of a UNet's weights are convolutions, which this one takes too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration, chosen by Jordan et al. for steepness at zero.
_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalized(matrix: Tensor, iterations: int = 5) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of (m, n): singular values near 1.

    X <- X (a + b X^T X + c (X^T X)^2) by Newton and Schulz, five times. All factors are polynomials of the
    first Gram matrix, so they are multiplied on the shorter side and X is touched twice alone.
    """
    tall = matrix.shape[0] >= matrix.shape[1]
    x = matrix if tall else matrix.T
    x = x / (x.norm() + 1e-7)
    gram = x.T @ x
    unit = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    product = unit
    for _ in range(iterations):
        factor = _A * unit + _B * gram + _C * (gram @ gram)
        product = product @ factor
        gram = factor @ gram @ factor
    x = x @ product
    return x if tall else x.T


class Muon(torch.optim.Optimizer):
    """Muon for the matrices and convolutions that it is given, AdamW's scale of steps.

    A convolution (out, in, h, w) counts as a matrix (out, in*h*w). Updates are scaled to a root mean square
    of 0.2 (Liu et al., 2025, Eq 4), so that learning rate and weight decay of AdamW fit.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; parameters without a gradient stay."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                kept = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                looked_ahead = parameter.grad.lerp(kept, group["momentum"])  # Nesterov's
                update = orthogonalized(looked_ahead.flatten(1))
                scale = 0.2 * max(update.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * scale)


def takes(name: str, parameter: Tensor) -> bool:
    """Whether Muon should train a parameter: matrices inside the network, not its ends, nor vectors."""
    ends = ("conv_in", "conv_out", "embedding")
    return parameter.ndim >= 2 and not any(end in name for end in ends)
