"""Data sets of any kind read picture by picture: prepared ones, and the frames of layered ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from layercli.data._layered_set import read_one, read_rows
from layercli.data._layered_source import Layered
from layercli.data.pictures import Pictures


class PictureSet(Protocol):
    """Pictures that a stage reads one by one: a row each, with caption, kind, style and weight."""

    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        """How many pictures."""
        ...

    def pixels(self, i: int) -> np.ndarray:
        """Picture i: (size, size, 4) uint8, straight alpha."""
        ...


def open_pictures(folder: Path, frames: tuple[str, ...]) -> PictureSet:
    """The training split of a prepared set, or some frames of a layered one: "background", "global"."""
    if (folder / "manifest.json").is_file() and (folder / "index.jsonl").is_file():
        return LayeredPictures(folder, frames)
    return Pictures(folder)


class LayeredPictures:
    """Frames of a layered set, each as a picture of its own: backgrounds and whole pictures."""

    def __init__(self, folder: Path, frames: tuple[str, ...]) -> None:
        self._folder, self._held = folder, -1
        self._layered = read_rows(folder)
        self._where = [(i, frame) for i in range(len(self._layered)) for frame in frames]
        self.rows: list[dict[str, Any]] = [self._row(i, frame) for i, frame in self._where]

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, i: int) -> np.ndarray:
        """Picture i: (size, size, 4) uint8, alpha 255."""
        number, frame = self._where[i]
        if number != self._held:
            self._picture: Layered = read_one(self._folder, self._layered[number])
            self._held = number
        return self._picture.frames[0 if frame == "background" else -1]

    def _row(self, i: int, frame: str) -> dict[str, Any]:
        """A frame's row; every other whole picture names its things as a person would."""
        row = self._layered[i]
        behind, *things = row["captions"][:-1]
        if i % 2:
            things = [noun or name for name, noun in zip(things, row["nouns"][1:], strict=True)]
        whole = f"{' and '.join(things)}, {behind}"
        return {
            "shard": row["shard"],
            "row": row["number"],
            "caption": behind if frame == "background" else whole,
            "style": row["style"],
            "kind": frame,
            "split": "train",
            "weight": 1.0,
        }
