"""Rendered rooms, yards and roads as layered pictures: true layers and shadows, from openly licensed models.

The models are those of Debian's package sweethome3d-furniture, drawn offscreen by VTK (pip install
'layercli[rooms]'). Every thing of a foreground is drawn alone, whole where others cover it; the whole picture
has the shadows that all of them cast. The folder is one of `_layered_set`; same seed, same pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from layercli.core.errors import LayercliError
from layercli.data._furniture import all_pieces
from layercli.data._layered_set import SetOptions, summary, write_set
from layercli.data._layered_source import Source
from layercli.data.corpus import is_held_out

__all__ = ["Options", "build", "summary"]


@dataclass(frozen=True, kw_only=True)
class Options(SetOptions):
    """The folder with the package's catalogues (*.sh3f), where to write, and how many layered pictures.

    unpacked: where the models are unpacked; size: of a picture, in pixels; counts: how often a picture has
    one, two, three foregrounds; smallest, largest: share of the canvas an object covers; visible: share of
    it that others leave uncovered; workers: processes, 0 for one a core.
    """

    models: str = "/usr/share/sweethome3d/furniture"
    unpacked: str = "runs/furniture"
    out: str = "runs/rooms"
    samples: int = 6_000
    size: int = 256


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Render the data set and return its folder; shards already there are kept.

    Models of the held-out split (see `data.corpus`) stand in no scene.
    """
    all_pieces(Path(options.models), Path(options.unpacked))  # unpacked once, before the workers start
    asked = options.asked("models", "unpacked", "out") | {"source": "rooms"}
    return write_set(
        Path(options.out),
        asked,
        options.samples,
        options.seed,
        functools.partial(_source, options),
        options.workers,
        on_step,
    )


def _source(options: Options) -> Source:
    from layercli.data._rendered_source import RenderedSource

    pieces = [
        piece
        for piece in all_pieces(Path(options.models), Path(options.unpacked))
        if not is_held_out({"source": piece.source, "model": piece.model})
    ]
    if not pieces:
        raise LayercliError(
            f"The catalogues in {options.models} hold no models.", "Unpack the package again."
        )
    return RenderedSource(pieces, options.seed, options.counts, options.limits, options.size)
