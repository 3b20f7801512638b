"""Harmony against the truth: MSE, fMSE and PSNR of the composite, as the iHarmony4 protocol has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample, rgb, truth_of
from layercli.evaluate.recomposition import check_ceiling, psnr

NEEDS = "truth"
NUMBERS = {
    "mse": ("composite", "lower", "", 65025.0),
    "fmse": ("composite", "lower", "", 65025.0),
    "psnr": ("composite", "higher", "dB", 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """side: both pictures are made this wide and high first (256 in iHarmony4), 0 leaves them; ceiling: the
    PSNR of pictures that are alike.
    """

    side: int = 256
    ceiling: float = 100.0

    def __post_init__(self) -> None:
        if self.side and not 8 <= self.side <= 8192:
            raise LayercliError(f"side={self.side} is not 0 or from 8 to 8192.", "Try: -O harmony.side=256")
        check_ceiling(self.ceiling)


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Errors on the scale 0-255; fMSE is over the pixels that the foregrounds cover."""
    truth = truth_of(sample)
    wanted = truth.whole if truth.whole is not None else truth.composite
    mask = resized(truth.covered() if truth.foregrounds else sample.covered(), options.side) > 0.5
    if not mask.any():
        raise NotJudged("no foreground covers a pixel")
    made, true = (
        np.stack([resized(plane, options.side) for plane in np.moveaxis(rgb(picture), -1, 0)], -1) * 255
        for picture in (sample.composite, wanted)
    )
    square = np.square(made.astype(np.float64) - true)
    return {
        "mse": float(square.mean()),
        "fmse": float(square[mask].mean()),
        "psnr": psnr(float(square.mean()) / 255**2, options.ceiling),
    }


def resized(plane: np.ndarray, side: int) -> np.ndarray:
    """(H, W) -> (side, side) by an antialiased bilinear filter."""
    if not side or plane.shape == (side, side):
        return plane
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
