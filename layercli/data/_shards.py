"""Files of a layered data set: frames in tar files, and texts that are there whole or not at all."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError


def add_frames(tar: tarfile.TarFile, number: int, frames: np.ndarray) -> None:
    """Add a picture's frames (k + 2, H, W, 4) uint8 as lossless WebP, `<number>/<frame>.webp`."""
    for frame, rgba in enumerate(frames):
        data = io.BytesIO()
        Image.fromarray(rgba).save(data, "WEBP", lossless=True, method=0, quality=50)
        info = tarfile.TarInfo(f"{number:06d}/{frame}.webp")
        info.size = data.tell()
        data.seek(0)
        tar.addfile(info, data)


def write_text(path: Path, text: str) -> None:
    """Write a text in one step: a reader sees the old one or the new one."""
    part = path.with_name(f".{path.name}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


@contextmanager
def held_to(out: Path, asked: dict[str, Any], what: str) -> Iterator[None]:
    """Refuse a folder of other settings, or note these in it: going on there would mix two sets.

    asked: what decides the pixels, as JSON has it. Where the body is refused before it has written anything,
    the note goes again, and `out` too where it was not there.
    """
    stamp, before = out / "asked.json", out.is_dir()
    noted = stamp.is_file()
    if noted and json.loads(stamp.read_text(encoding="utf-8")) != asked:
        raise LayercliError(f"{out} holds {what} of other settings.", "Name another folder: --out")
    out.mkdir(parents=True, exist_ok=True)
    if not noted:
        write_text(stamp, json.dumps(asked))
    try:
        yield
    except LayercliError:
        if not noted and list(out.iterdir()) == [stamp]:
            stamp.unlink()
            if not before:
                out.rmdir()
        raise
