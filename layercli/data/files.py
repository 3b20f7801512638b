"""Your own layered files as layered pictures: PSD, TIFF, OpenRaster, PNG folders, or a MuLAn-style folder.

The bottom layer is the background, the layers above it are foregrounds, and what all visible layers make
together, shadows and light among them, is the whole picture. Captions are the layers' prompts or names. A
file that does not fit is left out and told. The folder is one of `_layered_set`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.data._files_source import FilesSource, Named, found_in
from layercli.data._layered_set import summary, write_set
from layercli.data._layered_source import Limits

__all__ = ["Options", "build", "summary"]

READS_FILES = True
"""Whoever builds this set gives it a reader of layered files."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The folder of layered files, with all folders in it, and where to write.

    size: of a picture, in pixels: the shorter side of the canvas, of which the square with the foregrounds is
    taken; most: foregrounds of a file; smallest, largest: share of the canvas an object covers; visible:
    share of it that others leave uncovered; style: a word for all of them; licence: of the files; captions:
    whose captions of a MuLAn-style folder are taken; workers: processes, 0 for one a core.
    """

    data: str
    out: str = "runs/files"
    size: int = 256
    most: int = 4
    smallest: float = 0.01
    largest: float = 0.8
    visible: float = 0.3
    style: str = "drawing"
    licence: str = "own"
    captions: str = "blip2"
    workers: int = 0


def build(
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    *,
    read_stack: Callable[[Path], LayerStack],
) -> Path:
    """Write the data set and return its folder; shards already there are kept.

    read_stack: reads one layered file. Raises LayercliError where there is none to read.
    """
    folder = Path(options.data)
    found = found_in(folder, options.captions)
    if not found:
        raise LayercliError(
            f"No layered files in {folder}.", "Name a folder with PSD, TIFF or ORA files: --data DIR"
        )
    limits = Limits(smallest=options.smallest, largest=options.largest, visible=options.visible)
    asked = asdict(options) | {"files": _digest(folder, found)}
    for key in ("data", "out", "workers"):
        del asked[key]
    source = functools.partial(
        FilesSource, found, read_stack, limits, options.size, options.most, options.style, options.licence
    )
    return write_set(Path(options.out), asked, len(found), 0, source, options.workers, on_step)


def _digest(folder: Path, found: list[Named]) -> str:
    """What the files are called and how long they are, as one word."""
    told = "\n".join(
        f"{path.relative_to(folder)} {path.stat().st_size}" for entry in found for path in entry.paths
    )
    return hashlib.sha256(told.encode()).hexdigest()
