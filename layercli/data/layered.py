"""Layered pictures: a background, complete foregrounds in their places, and the whole with light and shadow.

Objects of a prepared data set are set on its scenes; `data rooms` renders such pictures instead. Same seed,
same pictures. What the folder holds: see `_layered_set`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layercli.data._layered_set import SetOptions, summary, write_set
from layercli.data._layered_source import ComposedSource

__all__ = ["Options", "build", "summary"]


@dataclass(frozen=True, kw_only=True)
class Options(SetOptions):
    """The prepared data set to draw from, where to write, and how many layered pictures.

    counts: how often a picture has one, two, three… foregrounds; smallest, largest: share of the canvas an
    object covers; visible: share of it that others leave uncovered; workers: processes, 0 for one a core.
    """

    data: str = "runs/data"
    out: str = "runs/layered"
    source: Literal["composed"] = "composed"
    samples: int = 20_000


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the data set and return its folder; shards already there are kept."""
    return write_set(
        Path(options.out),
        options.asked("out"),
        options.samples,
        options.seed,
        functools.partial(ComposedSource, Path(options.data), options.seed, options.counts, options.limits),
        options.workers,
        on_step,
    )
