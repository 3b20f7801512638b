"""Edit locality: what changed outside the layers that were edited and what they hide or uncover.

The reference holds the stacks before the edit, under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer
from layercli.evaluate._sample import NotJudged, Sample, rgb, truth_of

NEEDS = "truth"
NUMBERS = {
    "changed": ("composite", "lower", "", 1.0),
    "max": ("composite", "lower", "/255", 255.0),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """margin: pixels around the edited layers that may change too; level: of 255, from which on a pixel
    counts as changed.
    """

    margin: int = 2
    level: float = 1.5

    def __post_init__(self) -> None:
        if self.margin < 0 or self.level < 0:
            raise LayercliError("locality needs margin >= 0 and level >= 0.", "Try: -O locality.margin=2")


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Compare the composites before and after, outside every layer that differs between them.

    Effect layers that differ (the shadow of what was moved) count as edited where they show. changed: share
    of the outside pixels; max: the largest change there.
    """
    before = truth_of(sample)
    touched = np.zeros((sample.stack.canvas.height, sample.stack.canvas.width), bool)
    names = dict.fromkeys((*before.stack.names, *sample.stack.names))
    edited = [name for name in names if _differs(before, sample, name)]
    if not edited:
        raise NotJudged("no layer differs from the reference's")
    for name in edited:
        for state in (before, sample):
            if name in state.stack.names:
                touched |= state.stack.placed(name)[..., 3] > 0
    if options.margin:
        touched = binary_dilation(touched, iterations=options.margin)
    if touched.all():
        raise NotJudged("the edited layers cover the whole canvas")
    difference = np.abs(rgb(sample.composite) - rgb(before.composite)).max(axis=-1)[~touched] * 255
    return {"changed": float((difference > options.level).mean()), "max": float(difference.max())}


def _differs(before: Sample, after: Sample, name: str) -> bool:
    if name not in before.stack.names or name not in after.stack.names:
        return True
    first, second = before.stack.layer(name), after.stack.layer(name)
    if _properties(first) != _properties(second):
        return True
    one, other = before.stack.placed(name), after.stack.placed(name)
    return not np.allclose(one[..., 3], other[..., 3], atol=1 / 255) or not np.allclose(
        one[..., :3] * one[..., 3:], other[..., :3] * other[..., 3:], atol=1 / 255
    )


def _properties(layer: Layer) -> tuple[object, ...]:
    return layer.blend, layer.visible
