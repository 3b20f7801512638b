"""Layered pictures: a background, complete foregrounds in their places, and the whole with light and shadow.

Objects of a prepared data set are set on its scenes; `data rooms` renders such pictures instead. Same seed,
same pictures. What the folder holds: see `_layered_set`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from layercli.data._layered_set import summary, write_set
from layercli.data._layered_source import ComposedSource, Limits

__all__ = ["Options", "build", "summary"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The prepared data set to draw from, where to write, and how many layered pictures.

    counts: how often a picture has one, two, three… foregrounds; smallest, largest: share of the canvas an
    object covers; visible: share of it that others leave uncovered; workers: processes.
    """

    data: str = "runs/data"
    out: str = "runs/layered"
    source: Literal["composed"] = "composed"
    samples: int = 20_000
    counts: tuple[float, ...] = (0.5, 0.32, 0.18)
    smallest: float = 0.01
    largest: float = 0.8
    visible: float = 0.3
    seed: int = 0
    workers: int = 1


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the data set and return its folder; shards already there are kept."""
    asked = asdict(options) | {"counts": list(options.counts)}
    for key in ("out", "workers", "samples"):
        del asked[key]
    limits = Limits(smallest=options.smallest, largest=options.largest, visible=options.visible)
    return write_set(
        Path(options.out),
        asked,
        options.samples,
        options.seed,
        functools.partial(ComposedSource, Path(options.data), options.seed, options.counts, limits),
        options.workers,
        on_step,
    )
