"""Mask priors: a foreground is held to a drawn shape while its outline forms, then left to itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.geometry import Size
from layercli.diffusion.attention import Rectangle
from layercli.diffusion.schedule import CLEAN
from layercli.generate._joint import Guide
from layercli.generate._placement import FILLED
from layercli.models.family import Model


def mask_rectangle(mask: np.ndarray) -> Rectangle:
    """The rectangle of the square frame whose middle a mask (H, W) fills, as fractions of the canvas."""
    rows, columns = np.nonzero(mask > 0.5)
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    side = max(bottom - top, right - left) / FILLED
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    height, width = mask.shape
    return x / width, y / height, (x + side) / width, (y + side) / height


def in_frame(mask: np.ndarray, rectangle: Rectangle, frame: Size) -> Tensor:
    """A mask (H, W) of the canvas as its frame sees it: (h, w), 0 beyond the canvas."""
    left, top, right, bottom = rectangle
    theta = torch.tensor([[[right - left, 0, left + right - 1], [0, bottom - top, top + bottom - 1]]])
    grid = F.affine_grid(theta.float(), [1, 1, frame.height, frame.width], align_corners=False)
    values = torch.from_numpy(np.ascontiguousarray(mask))[None, None]
    seen = F.grid_sample(values, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return seen[0, 0].clamp(0, 1)


def mask_guide(model: Model, shape: Tensor, until: int) -> Guide:
    """Hold one foreground to a shape (h, w) of its frame while t >= until.

    The predicted x_0 is decoded, given the shape as its alpha, encoded, and x moved with it, its noise kept:
    LayerDiff's mask prior (its masks, too, are free after the first steps) for a codec that holds alpha.
    Where the object does not reach yet, its mean colour fills the shape.
    """

    def guide(x: Tensor, x0: Tensor, t: int) -> Tensor:
        if t < until or t == CLEAN:
            return x
        rgba = model.decode(x0[None], ["foreground"])
        alpha, wanted = rgba[:, 3:], shape[None, None].to(rgba)
        mean = (rgba[:, :3] * alpha).sum((2, 3), keepdim=True) / alpha.sum((2, 3), keepdim=True).clamp_min(1)
        colour = rgba[:, :3] * alpha + mean * (1 - alpha)
        held = model.encode(torch.cat([colour, wanted], dim=1))[0]
        return x + model.schedule.alpha(t).sqrt().to(x) * (held - x0)

    return guide
