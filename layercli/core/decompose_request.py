"""What a person asked of a photo: which objects to take off it, and how."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from layercli.core._stored import as_text, fields_of, places_by_name, texts_by_name
from layercli.core.errors import LayercliError
from layercli.core.requests import check_text

Place = tuple[float, ...]
"""A point (x, y) or a box (left, top, right, bottom): fractions of the photo, or pixels if any is over 1."""

MOST_LAYERS = 32
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class DecomposeRequest:
    """A photo, and the objects to take off it; with none named, what stands out is found.

    photo: its path; layers: how many layers in all, the background counted and shadows not, or 0 for as many
    as there are; boxes, points, masks: an object's name -> where it is, masks being paths of pictures of the
    photo's size; sought: names of objects to look for. Raises LayercliError on any value out of range.
    """

    photo: str
    layers: int = 0
    boxes: Mapping[str, Place] = field(default_factory=dict)
    points: Mapping[str, Place] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    sought: tuple[str, ...] = ()
    method: str = "matte"
    options: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.photo, str) or not self.photo:
            raise LayercliError("There is no photo to take apart.", "Try: layercli decompose photo.jpg")
        _check_whole("layers", self.layers, 0, MOST_LAYERS, fewest=2)  # 0 is auto, and 1 has its sentence
        if self.layers == 1:
            raise LayercliError("One layer is the photo itself.", "Try: --layers 2")
        _check_whole("seed", self.seed, 0, _LARGEST_SEED)
        for name, box in self.boxes.items():
            _check_place(name, box, 4, "box", "0.1,0.4,0.5,0.9")
            left, top, right, bottom = box
            if not (left < right and top < bottom):
                raise LayercliError(
                    f'The box of "{name}" is empty.', f'Try: --box "{name}=0.1,0.4,0.5,0.9" (l, t, r, b)'
                )
        for name, point in self.points.items():
            _check_place(name, point, 2, "point", "0.5,0.5")
        named = [*self.boxes, *self.points, *self.masks, *self.sought]
        for name in named:
            if not isinstance(name, str) or not name.strip():
                raise LayercliError("An object has no name.", "Try: --box cat=0.1,0.4,0.5,0.9")
            if name in self.sought:  # a net reads it; names of places are cleaned where they are written
                check_text(name, "An object's name")
            if named.count(name) > 1:
                raise LayercliError(f'"{name}" is given two places.', "Give each object its own name.")
        if self.layers and named and len(named) > self.layers - 1:
            raise LayercliError(
                f"{len(named)} objects and a background are more than {self.layers} layers.",
                f"Try: --layers {len(named) + 1}",
            )

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the objects that are given a place, or looked for by name."""
        return (*self.masks, *self.boxes, *self.points, *self.sought)

    def replace(self, **changes: Any) -> Self:
        """The same request with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, fit for a receipt."""
        return {
            "photo": self.photo,
            "layers": self.layers,
            "boxes": {name: list(box) for name, box in self.boxes.items()},
            "points": {name: list(point) for name, point in self.points.items()},
            "masks": dict(self.masks),
            "sought": list(self.sought),
            "method": self.method,
            "options": dict(self.options),
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict; unknown keys and values of another shape raise LayercliError."""
        given = fields_of(cls, values, "decompose request")
        try:
            for name in ("boxes", "points"):
                given[name] = places_by_name(given.get(name, {}))
            for name in ("masks", "options"):
                given[name] = texts_by_name(given.get(name, {}))
            given["sought"] = tuple(as_text(name) for name in given.get("sought", ()))
            for name in ("photo", "method"):
                if name in given:
                    as_text(given[name])
            return cls(**given)
        except (TypeError, ValueError, AttributeError) as error:
            raise LayercliError(f"The stored request cannot be read: {error!r}.") from error

    def to_json(self) -> str:
        """One JSON object, keys in the order of the fields."""
        return json.dumps(self.to_dict(), ensure_ascii=False)


def _check_whole(name: str, value: Any, least: int, most: int, fewest: int | None = None) -> None:
    """fewest: what is told as the least, where smaller numbers have a meaning of their own."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise LayercliError(
            f"{name} {value!r} is not a whole number from {least if fewest is None else fewest} to {most}.",
            f"Try: --{name} 3",
        )


def _check_place(name: str, place: Any, count: int, kind: str, example: str) -> None:
    numbers = isinstance(place, tuple) and len(place) == count
    if not numbers or not all(
        isinstance(side, int | float) and math.isfinite(side) and side >= 0 for side in place
    ):
        raise LayercliError(
            f'The {kind} of "{name}" is not {count} numbers from 0 on.',
            f'Try: --{kind} "{name}={example}" (fractions of the photo, or pixels)',
        )
