"""Masks that people draw: where a foreground shall stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.pixels import open_image


def open_mask(path: str | Path, canvas: Size, *, resizable: bool = True) -> np.ndarray:
    """Read a picture as a mask: white, opaque pixels are where the foreground stands.

    resizable: whether the canvas may be of another size, which is proposed then. -> (H, W) float32 in [0, 1].
    Raises LayercliError for a picture that cannot be read, that is not of the canvas' size, or that is black
    all over.
    """
    mask = luma_mask(path)
    size = Size(mask.shape[1], mask.shape[0])
    if size != canvas:
        raise LayercliError(
            f'The mask "{path}" is {size}, but the picture is {canvas}.',
            f"Try: --size {size}, or resize the mask." if resizable else f"Resize the mask to {canvas}.",
        )
    if not mask.max() > 0.5:
        raise LayercliError(f'The mask "{path}" is black all over.', "White is where the foreground stands.")
    return mask


def luma_mask(path: str | Path) -> np.ndarray:
    """Read a picture as a mask of its own size: luma (ITU-R BT.601) times alpha -> (H, W) in [0, 1]."""
    rgba = open_image(path)
    mask: np.ndarray = (rgba[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32)) * rgba[..., 3]
    return np.minimum(mask, np.float32(1))
