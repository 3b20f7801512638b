"""Recomposition: how nearly the layers together give the picture they were made of or came with.

Alone it can be won by copying the picture into the background; it is reported beside leakage, duplicate and
empty layers, and edit locality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.pixels import dequantize, quantize
from layercli.evaluate._sample import Sample, rgb, whole_of

NEEDS = "whole"
NUMBERS = {
    "max": ("composite", "lower", "/255", 255.0),
    "mean": ("composite", "lower", "/255", 255.0),
    "psnr": ("composite", "higher", "dB", 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """ceiling: the PSNR of two pictures that are alike, so that a mean over samples exists."""

    ceiling: float = 100.0

    def __post_init__(self) -> None:
        check_ceiling(self.ceiling)


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """The difference of the 8-bit composite and the whole picture, over mid-gray."""
    made = dequantize(sample.stack.flatten_quantized())
    wanted = dequantize(quantize(whole_of(sample)))
    difference = np.abs(rgb(made).astype(np.float64) - rgb(wanted))
    return {
        "max": float(difference.max() * 255),
        "mean": float(difference.mean() * 255),
        "psnr": psnr(float(np.square(difference).mean()), options.ceiling),
    }


def check_ceiling(ceiling: float) -> None:
    """Refuse a ceiling that 8-bit pictures would reach; raises LayercliError."""
    if not 60 <= ceiling <= 1000:
        raise LayercliError(
            f"ceiling={ceiling:g} is not from 60 to 1000 dB.", "Try: -O recomposition.ceiling=100"
        )


def psnr(square_error: float, ceiling: float) -> float:
    """Peak signal to noise ratio in dB of a mean square error on [0, 1]."""
    return min(ceiling, float(-10 * np.log10(square_error))) if square_error > 0 else ceiling
