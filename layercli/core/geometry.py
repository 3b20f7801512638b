"""Sizes and offsets with names, so that no pair of ints is ever bare; the standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from layercli.core.errors import LayercliError

LARGEST_SIDE = 300_000
"""The largest side a PSB file can hold, in pixels."""
FARTHEST = 1_000_000_000
"""The farthest place of a layer, in pixels: with a side added it fits the 32 bits that files have for it."""


@dataclass(frozen=True)
class Size:
    """Width and height in whole pixels, each from 1 to 300,000; anything else raises LayercliError."""

    width: int
    height: int

    def __post_init__(self) -> None:
        sides = (self.width, self.height)
        if not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            raise LayercliError(f"A size is two whole numbers, not {self.width!r} and {self.height!r}.")
        if min(sides) < 1 or max(sides) > LARGEST_SIDE:
            raise LayercliError(f"A picture cannot be {self}: each side is from 1 to {LARGEST_SIDE} pixels.")

    @classmethod
    def parse(cls, text: str, example: str = "--size 256x256") -> Self:
        """Read "256x128", "256×128" or "256" (a square); example: what to type where it is none."""
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*[xX×*]\s*(\d{1,9}))?\s*", text)
        if match is None:
            raise LayercliError(f'"{text}" is not a size.', f"Try: {example}")
        width, height = match.group(1), match.group(2) or match.group(1)
        try:
            return cls(int(width), int(height))
        except LayercliError as error:
            raise LayercliError(error.message, f"Try: {example}") from None

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Offset:
    """Where a layer's upper left pixel lies on the canvas, in whole pixels; may be negative.

    A place farther off than 1,000,000,000 pixels raises LayercliError.
    """

    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        sides = (self.left, self.top)
        if not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            raise LayercliError(f"An offset is two whole numbers, not {self.left!r} and {self.top!r}.")
        if max(map(abs, sides)) > FARTHEST:
            raise LayercliError(
                f"A layer cannot lie at {self.left},{self.top}: {FARTHEST:,} pixels off is the farthest.",
                "Choose a place nearer to the canvas.",
            )
