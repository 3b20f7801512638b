"""Aesthetic score of LAION's improved predictor: a small network on CLIP ViT-L/14 features of the composite.

Several weight files go by this name; the one that was used is named by its hash beside the number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from layercli.core.errors import LayercliError
from layercli.evaluate._sample import Sample
from layercli.evaluate.clip import opened
from layercli.vision.aesthetic import AestheticHead, load_head

NEEDS = ""
NUMBERS = {"score": ("composite", "higher", "", 0.0)}


@dataclass(frozen=True, kw_only=True)
class Options:
    """model: the folder of a CLIP model (ViT-L/14 for the published head); head: the predictor's weights."""

    model: str = ""
    head: str = ""

    def __post_init__(self) -> None:
        for name in ("model", "head"):
            if not getattr(self, name):
                raise LayercliError(
                    f'The aesthetic score needs the option "{name}".',
                    "Try: -O aesthetic.model=DIR -O aesthetic.head=FILE",
                )


def settings(options: Options) -> dict[str, object]:
    """What must be said beside the score: the net, its head, and the hashes of their weights."""
    net = opened(options.model)
    return {**net.settings, "weights": net.digest, "head weights": _head(options.head).digest}


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """The predictor's opinion of the composite over mid-gray, about 1 to 10."""
    features = opened(options.model).images([sample.composite])
    return {"score": float(_head(options.head).scores(features)[0])}


@cache
def _head(path: str) -> AestheticHead:
    return load_head(Path(path))
