"""What lies around the things of a scene: floors and walls, streets, open country and its sky."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layercli.data import _surfaces as surfaces
from layercli.data._placing import Thing
from layercli.data._rendering import Camera, Stage
from layercli.data._scenery import Place


def ground(
    stage: Stage, place: Place, things: Sequence[Thing], camera: Camera, size: int, rng: np.random.Generator
) -> tuple[list[Any], np.ndarray]:
    """The actors of a floor and walls, or of open country, and what lies behind all (H, W, 3)."""
    corners = np.concatenate([thing.corners() for thing in things])
    low, high = corners.min(0), corners.max(0)
    if place.kind == "room":
        return _room(stage, low, high, rng), np.full((size, size, 3), 0.8)
    surface = {
        "road": surfaces.asphalt,
        "yard": surfaces.grass,
        "beach": surfaces.sand,
        "desert": surfaces.sand,
        "snow": surfaces.snow,
    }[place.kind]
    actors = [stage.floor(surfaces.drawn(surface, rng), 240.0, 4.0, _tint(rng, 0.06))]
    behind = float(low[2] - rng.uniform(1.0, 4.0))
    far = {"beach": "sea", "desert": ["", "mountains", "hills"][int(rng.integers(3))]}.get(
        place.kind, ["hills", "wood", "mountains", ""][int(rng.integers(4))]
    )
    if place.name == "green fields":
        far = "hills"
    if place.kind == "road":
        actors += _street(stage, behind, high, place.name == "city buildings", rng)
    elif place.kind == "beach":
        shore = behind - rng.uniform(0, 6)
        sea = np.array([0.2, 0.48, 0.66]) + 0.02 * surfaces.drawn(surfaces.sand, rng)
        actors.append(stage.sheet(sea, (-200, 0.004, shore), (200, 0.004, shore), (-200, 0.004, -120), 1))
    away = np.array(camera.position) - np.array(camera.target)
    pitch = np.arctan2(away[1], np.hypot(away[0], away[2]))
    horizon = 0.5 - np.tan(pitch) / (2 * np.tan(np.radians(15.0)))
    return actors, surfaces.landscape_sky(rng, size, float(horizon) + 0.01, far)


def _room(stage: Stage, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> list[Any]:
    """Floor, walls, what hangs on them, a rug, for things in a box from low to high (3,)."""
    behind = float(low[2] - 0.02 - rng.exponential(0.12))
    floor = surfaces.FLOORS[int(rng.integers(len(surfaces.FLOORS)))]
    wall = surfaces.ROOM_WALLS[int(rng.integers(len(surfaces.ROOM_WALLS)))]
    dress = surfaces.drawn(wall, rng)
    actors = [stage.floor(surfaces.drawn(floor, rng), 24.0, float(rng.uniform(1.4, 2.6)), _tint(rng, 0.12))]
    colour = _tint(rng, 0.1)
    actors.append(stage.wall(dress, 24.0, -behind, 2.4, colour))
    skirting = np.full((4, 4, 3), 1.0) * rng.choice([0.92, 0.75, 0.4])
    actors.append(
        stage.sheet(
            skirting, (-12, 0, behind + 0.012), (12, 0, behind + 0.012), (-12, 0.09, behind + 0.012), 1
        )
    )
    if rng.random() < 0.4:
        side = float(rng.choice([-1, 1]))
        x = side * (max(abs(low[0]), abs(high[0])) + rng.uniform(0.15, 1.2))
        shaded = [value * rng.uniform(0.82, 0.94) for value in colour]
        ends = (behind, behind + 24) if side > 0 else (behind + 24, behind)
        actors.append(stage.sheet(dress, (x, 0, ends[0]), (x, 0, ends[1]), (x, 24, ends[0]), 10, shaded))
    for _ in range(int(rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15]))):
        picture = surfaces.window if rng.random() < 0.4 else surfaces.painting
        wide, tall = rng.uniform(0.4, 1.1), rng.uniform(0.4, 1.1)
        left, base, z = rng.uniform(low[0] - 0.8, high[0]), rng.uniform(1.1, 1.7), behind + 0.015
        actors.append(
            stage.sheet(
                surfaces.drawn(picture, rng),
                (left, base, z),
                (left + wide, base, z),
                (left, base + tall, z),
                1,
            )
        )
    if rng.random() < 0.3:
        wide, deep = rng.uniform(1.2, 2.6), rng.uniform(0.9, 1.8)
        x, z = rng.uniform(low[0], high[0]), float(high[2]) + rng.uniform(-0.3, 0.3)
        actors.append(
            stage.sheet(
                surfaces.drawn(surfaces.rug, rng),
                (x - wide / 2, 0.004, z + deep / 2),
                (x + wide / 2, 0.004, z + deep / 2),
                (x - wide / 2, 0.004, z - deep / 2),
                1,
            )
        )
    return actors


def _street(stage: Stage, behind: float, high: np.ndarray, city: bool, rng: np.random.Generator) -> list[Any]:
    """A road along the picture, and what lies beyond it: grass, or a row of houses."""
    actors = []
    middle = float((behind + high[2]) / 2)
    half = max(3.2, float(high[2] - behind) / 2 + 0.5)
    actors.append(
        stage.sheet(
            surfaces.drawn(surfaces.lane, rng),
            (-160, 0.003, middle + half),
            (160, 0.003, middle + half),
            (-160, 0.003, middle - half),
            (320 / 6.0, 1),
        )
    )
    kerb = middle - half
    near = surfaces.paving if city or rng.random() < 0.5 else surfaces.grass
    actors.append(
        stage.sheet(
            surfaces.drawn(near, rng),
            (-160, 0.02, kerb),
            (160, 0.02, kerb),
            (-160, 0.02, kerb - 3),
            (107, 1),
        )
    )
    if not city:
        actors.append(
            stage.sheet(
                surfaces.drawn(surfaces.grass, rng),
                (-160, 0.01, kerb - 3),
                (160, 0.01, kerb - 3),
                (-160, 0.01, kerb - 90),
                (80, 22),
            )
        )
        return actors
    x = -70.0
    while x < 70:
        wide, tall, z = rng.uniform(7, 16), rng.uniform(8, 30), kerb - rng.uniform(3.0, 5.0)
        actors.append(
            stage.sheet(
                surfaces.drawn(surfaces.facade, rng),
                (x, 0, z),
                (x + wide, 0, z),
                (x, tall, z),
                1,
                _tint(rng, 0.15),
            )
        )
        x += wide
    return actors


def _tint(rng: np.random.Generator, spread: float) -> tuple[float, ...]:
    """Factors around 1 for red, green and blue."""
    return tuple((1 - spread + rng.uniform(-spread, spread, 3)).tolist())
