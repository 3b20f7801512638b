"""Which points of a scene see its light: depth maps from many directions, drawn by VTK, compared by numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from layercli.data._rendering import Camera, Solid, Stage, placement

SIDE = 192
"""Pixels of a depth map, each way."""
COARSE = 10_000
"""Faces of a model above which a simpler one casts its shadow."""
DIVISIONS = 56
KEYS, SKIES = 3, 8
"""Directions in which the key light and the sky are sampled."""
SLACK = 0.004
"""Share of a thing's extent that a point must lie behind it, so that what it stands on does not flicker."""


@dataclass(frozen=True, eq=False)
class Lamps:
    """Directions towards the light (D, 3), unit length, the share of all light from each (D,).

    keys: how many of them, the first ones, are the key light's; the others are the sky's.
    """

    directions: np.ndarray
    shares: np.ndarray
    keys: int = 0


@dataclass(frozen=True, eq=False)
class Maps:
    """Depth maps of one thing from every direction: depths (D, SIDE, SIDE), projections (D, 4, 4).

    Depths are from 0 to 1 along the thing, infinite beside it; slack: how much farther a point must lie.
    """

    depths: np.ndarray
    projections: np.ndarray
    slack: float


def lamps(key: np.ndarray, around: float, rng: np.random.Generator, sharp: float = 0.05) -> Lamps:
    """A key light with soft edges and a sky.

    key: (3,) unit vector towards it; around: half the angle in degrees, about the key's side, from which sky
    is seen (180 outdoors); sharp: the key light's half width in radians.
    """
    heart = key + sharp * rng.normal(size=(KEYS, 3))
    turn = np.degrees(np.arctan2(key[0], key[2]))
    places = (np.arange(SKIES) + rng.uniform(0.2, 0.8, SKIES)) / SKIES
    azimuths = np.radians(turn + around * (2 * rng.permutation(places) - 1))
    heights = np.sqrt(0.04 + 0.94 * places)  # the sky as a floor sees it: by the sine of the elevation
    flat = np.sqrt(1 - heights**2)
    sky = np.stack([flat * np.sin(azimuths), heights, flat * np.cos(azimuths)], -1)
    directions = np.concatenate([heart, sky])
    shares = np.concatenate([np.full(KEYS, 0.5 / KEYS), np.full(SKIES, 0.5 / SKIES)])
    return Lamps(directions / np.linalg.norm(directions, axis=1, keepdims=True), shares, KEYS)


class Shade:
    """A second window, which draws depths alone."""

    def __init__(self, stage: Stage) -> None:
        self._vtk = stage.vtk
        self._window, self._renderer = stage.opened()
        self._window.SetSize(SIDE, SIDE)
        self._stage = stage

    def caster(self, solid: Solid) -> Any:
        """A plain actor of a solid's shape, simpler where it has many faces."""
        joined = self._vtk.vtkAppendPolyData()
        for actor in solid.actors:
            bare = self._vtk.vtkPolyData()
            bare.CopyStructure(actor.GetMapper().GetInput())
            joined.AddInputData(bare)
        last = joined
        if solid.cells > COARSE:
            last = self._vtk.vtkQuadricClustering()
            last.SetInputConnection(joined.GetOutputPort())
            last.SetNumberOfDivisions(DIVISIONS, DIVISIONS, DIVISIONS)
        last.Update()
        mapper = self._vtk.vtkPolyDataMapper()
        mapper.SetInputData(last.GetOutput())
        actor = self._vtk.vtkActor()
        actor.SetMapper(mapper)
        actor.GetProperty().LightingOff()
        return actor

    def relief(self, caster: Any, solid: Solid) -> tuple[np.ndarray, float]:
        """A solid from above: how high its top is (SIDE, SIDE) in metres, its back first; metres a pixel."""
        above = Lamps(np.array([[0.0, 1.0, 0.0]]), np.ones(1))
        depth = self.maps(caster, solid, (0.0, 0.0, 0.0), 0.0, above).depths[0]
        radius = extent(solid)
        found = np.where(depth < 1, solid.height / 2 + radius * (1 - 2 * np.minimum(depth, 1)), 0.0)
        return found, 2 * radius / SIDE

    def release(self, caster: Any) -> None:
        """Give back what a caster holds of the graphics memory."""
        caster.ReleaseGraphicsResources(self._window)

    def maps(
        self,
        caster: Any,
        solid: Solid,
        at: tuple[float, float, float],
        turn: float,
        light: Lamps,
    ) -> Maps:
        """Depth maps of a standing solid from the light's directions."""
        caster.SetUserMatrix(self._stage.matrix(placement(at, turn) @ solid.upright))
        self._renderer.AddActor(caster)
        radius = extent(solid)
        middle = np.array([at[0], at[1] + solid.height / 2, at[2]])
        depths, projections = [], []
        for direction in light.directions:
            eye = middle + 2 * radius * direction
            camera = Camera(
                tuple(eye),
                tuple(middle),
                up=(0.0, 0.0, -1.0) if direction[1] > 0.9 else (0.0, 1.0, 0.0),
                flat=radius,
                clipping=(radius, 3 * radius),
            )
            projections.append(self._stage.look(self._renderer, camera, 1.0))
            self._window.Render()
            depth = self._stage.depths(self._window)
            depths.append(np.where(depth < 1, depth, np.inf).astype(np.float32))
        self._renderer.RemoveActor(caster)
        return Maps(np.stack(depths), np.stack(projections), SLACK)


def extent(solid: Solid) -> float:
    """The radius of a ball that holds a solid, in metres."""
    return float(np.linalg.norm([solid.width, solid.height, solid.depth])) / 2 * 1.02


def hidden(points: np.ndarray, maps: Maps, rows: slice, *, soft: bool) -> np.ndarray:
    """From which directions a thing stands before points: (N, 3) -> (D, N) in [0, 1], some rows of the maps.

    soft: the answer changes smoothly from pixel to pixel of the maps.
    """
    full = np.concatenate([points, np.ones((len(points), 1))], 1).astype(np.float32)
    depths, projections = maps.depths[rows], maps.projections[rows]
    found = np.zeros((len(depths), len(points)), np.float32)
    for row, (depth, projection) in enumerate(zip(depths, projections, strict=True)):
        x, y, z = projection[:3].astype(np.float32) @ full.T  # parallel: no division
        inside = np.nonzero((np.abs(x) < 1) & (np.abs(y) < 1))[0]
        if not inside.size:
            continue
        column = (x[inside] + 1) / 2 * SIDE - 0.5
        line = (1 - y[inside]) / 2 * SIDE - 0.5
        far = (z[inside] + 1) / 2 - maps.slack
        if not soft:
            near = depth[
                np.rint(line).astype(int).clip(0, SIDE - 1), np.rint(column).astype(int).clip(0, SIDE - 1)
            ]
            found[row, inside] = near < far
            continue
        left, top = np.floor(column).astype(int), np.floor(line).astype(int)
        right_part, low_part = column - left, line - top
        for dx, dy, part in (
            (0, 0, (1 - right_part) * (1 - low_part)),
            (1, 0, right_part * (1 - low_part)),
            (0, 1, (1 - right_part) * low_part),
            (1, 1, right_part * low_part),
        ):
            near = depth[(top + dy).clip(0, SIDE - 1), (left + dx).clip(0, SIDE - 1)]
            found[row, inside] += part * (near < far)
    return found
