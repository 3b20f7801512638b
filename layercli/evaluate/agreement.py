"""Agreement: how near the layers' plain composite is to the whole picture that was drawn together with them.

DreamLayer's consistency of layers and global image. Generate with `-O whole=yes`: the frame of the whole
picture stays in the file then, as a hidden layer. Shadows and light, which are made of it, are left out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from layercli.core.layers import WHOLE, Layer
from layercli.core.pixels import dequantize, quantize
from layercli.evaluate._sample import NotJudged, Sample, is_effect, rgb

NEEDS = ""
NUMBERS = {
    "mean": ("composite", "lower", "/255", None),
    "inside": ("composite", "lower", "/255", None),
    "outside": ("composite", "lower", "/255", None),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """There is nothing to choose."""


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Mean absolute difference of both, over all of it, over the objects, and over what no object covers."""
    whole = drawn_whole(sample)
    if whole is None:
        raise NotJudged("the whole picture that was drawn with its layers was not kept (-O whole=yes)")
    apart = np.abs(plain(sample) - rgb(dequantize(quantize(sample.stack.placed(whole.name)))))
    apart, covered = apart.astype(np.float64).mean(axis=-1) * 255, sample.covered()
    found = {"mean": float(apart.mean())}
    for name, part in (("inside", covered > 0.95), ("outside", covered < 0.05)):
        if part.any():
            found[name] = float(apart[part].mean())
    return found


def drawn_whole(sample: Sample) -> Layer | None:
    """The hidden layer that keeps the whole picture, the frontmost where there are several."""
    kept = [layer for layer in sample.stack.layers if not layer.visible and layer.name.startswith(WHOLE)]
    return kept[-1] if kept else None


def plain(sample: Sample) -> np.ndarray:
    """The composite of the 8-bit layers without effects, (H, W, 3)."""
    layers = tuple(layer for layer in sample.stack.layers if not is_effect(layer))
    return rgb(dequantize(dataclasses.replace(sample.stack, layers=layers).flatten_quantized()))
