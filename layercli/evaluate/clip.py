"""CLIP score: how well the composite and every layer show what their prompts say (arXiv 2104.08718).

Scores of two backbones or scales cannot be compared; both are named beside the number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from layercli.core.errors import LayercliError
from layercli.evaluate._sample import NotJudged, Sample
from layercli.vision.clip import Clip, load_clip

NEEDS = ""
NUMBERS = {
    "whole": ("composite", "higher", "", 0.0),
    "layer": ("foreground", "higher", "", 0.0),
    "ground": ("background", "higher", "", 0.0),
    "cut": ("composite", "neither", "", None),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """model: the folder of a CLIP model; scale: 100·max(cos, 0) as torchmetrics has it, or 2.5·max(cos, 0)
    as Hessel et al. do.
    """

    model: str = ""
    scale: Literal["100", "2.5"] = "100"

    def __post_init__(self) -> None:
        if not self.model:
            raise LayercliError(
                "The CLIP score needs a CLIP model, and none is part of layercli.",
                "Try: -O clip.model=DIR, the folder of one in transformers' format.",
            )


def settings(options: Options) -> dict[str, object]:
    """What must be said beside the score: the net and the hash of its weights."""
    net = opened(options.model)
    return {**net.settings, "weights": net.digest}


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Scaled cosines of pictures and prompts; cut: the share of prompts too long for the text tower."""
    net = opened(options.model)
    found: dict[str, float] = {}
    cuts: list[bool] = []
    layers = [] if sample.background is None else [sample.background]
    asked = {
        "whole": [(sample.composite, sample.prompt)],
        "layer": [(sample.placed(layer), layer.prompt) for layer in sample.foregrounds],
        "ground": [(sample.placed(layer), layer.prompt) for layer in layers],
    }
    for number, pairs in asked.items():
        pictures, prompts = [p for p, text in pairs if text], [text for _, text in pairs if text]
        if not pictures:
            continue
        texts, cut = net.texts(prompts)
        cosines = (net.images(pictures) * texts).sum(axis=1)
        found[number] = float(np.maximum(cosines, 0).mean()) * float(options.scale)
        cuts += cut
    if not cuts:
        raise NotJudged("neither it nor a layer of it has a prompt")
    return {**found, "cut": float(np.mean(cuts))}


@cache
def opened(folder: str) -> Clip:
    """A CLIP model, read once."""
    return load_clip(Path(folder))
