"""Pictures on smaller or larger grids, on every device.

Apple's GPUs average over whole cells alone, and by filters only from torch 2.7 on: what they lack is computed
on the CPU, and comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Size = tuple[int, int]


def scaled(values: Tensor, size: Size, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Interpolate (B, C, H, W) to (B, C, h, w); where a side shrinks, by a filter as wide as its steps."""
    shrinks = size[0] < values.shape[2] or size[1] < values.shape[3]

    def scale(x: Tensor) -> Tensor:
        return F.interpolate(x, size=size, mode=mode, align_corners=False, antialias=shrinks)

    return able(scale, values) if shrinks else scale(values)


def averaged(values: Tensor, size: Size) -> Tensor:
    """The mean of (…, H, W) over each cell of a grid -> (…, h, w); cells may overlap by a row."""
    return able(lambda x: F.adaptive_avg_pool2d(x, size), values)


def able(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """A function of a tensor, computed on the CPU where the tensor lies on one of Apple's GPUs."""
    return function(values.cpu()).to(values.device) if values.device.type == "mps" else function(values)
