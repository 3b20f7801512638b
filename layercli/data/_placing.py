"""Where things stand in a scene, and from where it is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from layercli.data._furniture import Piece
from layercli.data._rendering import VIEW_ANGLE, Camera
from layercli.data._scenery import Cast, Place, called, facing, is_soft

Relief = tuple[np.ndarray, float]
"""A piece from above, unturned: the height of its top (S, S) in metres, its back first; metres a pixel."""


@dataclass(frozen=True)
class Thing:
    """A piece at a place: at (x, y, z) metres, turned by degrees; front: a layer of its own."""

    piece: Piece
    at: tuple[float, float, float]
    turn: float
    front: bool

    @property
    def footprint(self) -> tuple[float, float]:
        """Width and depth of the box around the turned piece, along x and z."""
        return turned(self.piece.size, self.turn)

    def corners(self) -> np.ndarray:
        """The eight corners of its box, (8, 3)."""
        width, deep = self.footprint
        x, y, z = self.at
        return np.array(
            [
                (x + sx * width / 2, y + sy * self.piece.size[2], z + sz * deep / 2)
                for sx in (-1, 1)
                for sy in (0, 1)
                for sz in (-1, 1)
            ]
        )


def turned(size: tuple[float, float, float], turn: float) -> tuple[float, float]:
    """Width and depth of the box around a turned one."""
    cos, sin = abs(np.cos(np.radians(turn))), abs(np.sin(np.radians(turn)))
    return float(size[0] * cos + size[1] * sin), float(size[0] * sin + size[1] * cos)


def is_low(thing: Thing) -> bool:
    """Whether it stands on the ground."""
    return thing.at[1] < 0.01


def beside(
    piece: Piece, turn: float, things: Sequence[Thing], rng: np.random.Generator, front: bool
) -> Thing | None:
    """A place on the ground near the others, in front of or beside them, where nothing stands yet."""
    width, deep = turned(piece.size, turn)
    standing = [thing for thing in things if is_low(thing)]
    if not standing:
        return Thing(piece, (0.0, 0.0, 0.0), turn, front)
    left = min(thing.at[0] - thing.footprint[0] / 2 for thing in standing)
    right = max(thing.at[0] + thing.footprint[0] / 2 for thing in standing)
    back = min(thing.at[2] - thing.footprint[1] / 2 for thing in standing)
    near = max(thing.at[2] + thing.footprint[1] / 2 for thing in standing)
    for _ in range(12):
        x = rng.uniform(left - width * 0.75, right + width * 0.75)
        z = rng.uniform(back + deep / 2, near + deep * rng.uniform(0.5, 0.9))
        gap = 0.04 + 0.05 * rng.random()
        free = all(
            abs(x - thing.at[0]) > (width + thing.footprint[0]) / 2 + gap
            or abs(z - thing.at[2]) > (deep + thing.footprint[1]) / 2 + gap
            for thing in standing
        )
        if free:
            return Thing(piece, (float(x), 0.0, float(z)), turn, front)
    return None


def along_wall(pieces: Sequence[Piece], rng: np.random.Generator, askew: float = 4.0) -> list[Thing]:
    """Pieces side by side, their backs on one line at z = 0."""
    things, x = [], 0.0
    for piece in pieces:
        turn = float(rng.normal(0, askew))
        width, deep = turned(piece.size, turn)
        things.append(Thing(piece, (x + width / 2, 0.0, deep / 2), turn, False))
        x += width + float(rng.uniform(0.03, 0.4))
    return [replace(thing, at=(thing.at[0] - x / 2, 0.0, thing.at[2])) for thing in things]


def on_top(piece: Piece, support: Thing, relief: Relief, rng: np.random.Generator) -> Thing | None:
    """A place on a support that is level over the piece's footprint, None where there is none.

    relief: of the support.
    """
    tops, metres = relief
    turn = facing(piece, rng) if rng.random() < 0.8 else float(rng.uniform(-180, 180))
    width, deep = (side * 0.8 for side in turned(piece.size, turn))
    rows, columns = max(1, round(deep / metres / 2)), max(1, round(width / metres / 2))
    side, soft = len(tops), is_soft(support.piece)
    level = support.piece.top or float(tops.max())
    ys, xs = np.nonzero(np.abs(tops - level) < (0.07 if soft else 0.03))
    if not ys.size:
        return None
    for pick in rng.permutation(ys.size)[:40]:
        y, x = int(ys[pick]), int(xs[pick])
        if y - rows < 0 or x - columns < 0 or y + rows >= side or x + columns >= side:
            continue
        under = tops[y - rows : y + rows + 1, x - columns : x + columns + 1]
        high = float(under.max())
        if high - level > (0.05 if soft else 0.015) or (under > level - 0.12).mean() < (
            0.85 if soft else 0.97
        ):
            continue
        local = np.array([(x - (side - 1) / 2) * metres, (y - (side - 1) / 2) * metres])
        cos, sin = np.cos(np.radians(support.turn)), np.sin(np.radians(support.turn))
        place = (
            float(support.at[0] + cos * local[0] + sin * local[1]),
            support.at[1] + (float(np.quantile(under, 0.7)) if soft else high),
            float(support.at[2] - sin * local[0] + cos * local[1]),
        )
        return Thing(piece, place, turn + support.turn, True)
    return None


def camera_for(must: np.ndarray, may: np.ndarray, rng: np.random.Generator, *, outside: bool) -> Camera:
    """A camera a little above, far enough that some points (N, 3) are in the picture, and many of others."""
    around = np.radians(rng.uniform(-26, 26))
    above = np.radians(rng.uniform(4, 14) if outside else rng.uniform(7, 22))
    away = np.array([np.cos(above) * np.sin(around), np.sin(above), np.cos(above) * np.cos(around)])
    right = np.array([np.cos(around), 0.0, -np.sin(around)])
    up = np.cross(away, right)
    tan = float(np.tan(np.radians(VIEW_ANGLE / 2)))
    margin = rng.uniform(0.78, 0.94)

    def fitted(points: np.ndarray) -> tuple[np.ndarray, float]:
        target, distance = points.mean(0), 1.0
        for _ in range(6):
            rel = points - target
            x, y, z = rel @ right, rel @ up, rel @ away
            distance = float(np.max(np.maximum(np.abs(x), np.abs(y)) / (tan * margin) + z))
            depth = distance - z
            shift = [(v / depth).max() + (v / depth).min() for v in (x, y)]
            target = target + (right * shift[0] + up * shift[1]) * distance / 2
        return target, distance

    close, wide = fitted(must), fitted(np.concatenate([must, may])) if len(may) else fitted(must)
    share = rng.uniform(0, 1) ** 1.5 if len(may) else 0.0
    target = close[0] + share * (wide[0] - close[0])
    distance = max(close[1], close[1] + share * (wide[1] - close[1]))
    target = target + up * distance * tan * rng.uniform(0, 0.1)
    rel = must - target
    needed = np.max(np.maximum(np.abs(rel @ right), np.abs(rel @ up)) / (tan * 0.96) + rel @ away)
    distance = max(distance, float(needed))
    place = target + away * distance
    place[1] = max(place[1], 0.12)
    return Camera(tuple(place), tuple(target), clipping=(distance * 0.05, distance + 200))


def arranged(
    cast: Cast,
    relief_of: Callable[[Piece], Relief | None],
    place: Place,
    count: int,
    rng: np.random.Generator,
) -> list[Thing] | str:
    """The things of a scene, those of the background first; or why there are none.

    relief_of: a piece from above, None for one that cannot be drawn; count: of foregrounds.
    """
    things: list[Thing] = []
    fronts: list[Thing] = []
    carries = rng.random() < (0.5 if place.kind == "room" else 0.12)
    support = cast.support(place, rng) if carries and place.kind != "road" else None
    pieces = [support] if support else []
    if rng.random() < 0.5 or not support:
        pieces += cast.behind(place, int(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2])), rng)
    names = [called(piece) for piece in pieces]
    pieces = [piece for i, piece in enumerate(pieces) if names[i] not in names[:i] and relief_of(piece)]
    if place.kind == "room":
        things = along_wall(pieces[:2] if rng.random() < 0.5 else pieces[:2][::-1], rng)
    else:
        for piece in pieces[:2]:
            placed = beside(piece, facing(piece, rng), things, rng, False)
            things += [placed] if placed else []
    under = next((thing for thing in things if support and thing.piece.model == support.model), None)
    if under is not None:
        if count > 1 and rng.random() < 0.5:  # the support is a foreground of its own
            things.remove(under)
            under = replace(under, front=True)
            fronts.append(under)
        relief = relief_of(under.piece)
        for _ in range(4):
            item = cast.carried(under.piece, pieces, rng)
            if relief is None or item is None or relief_of(item) is None:
                continue
            placed = on_top(item, under, relief, rng)
            if placed is not None:
                fronts.append(placed)
                break
        else:
            return "nothing fits on top"
    for _ in range(8):
        if len(fronts) >= count:
            break
        there = [thing.piece for thing in (*things, *fronts)]
        found = cast.standing(place, there, [thing.piece for thing in fronts], rng)
        if found is None or relief_of(found) is None:
            continue
        placed = beside(found, facing(found, rng), [*things, *fronts], rng, True)
        if placed is not None:
            fronts.append(placed)
    return [*things, *fronts] if len(fronts) == count else "no room left"
