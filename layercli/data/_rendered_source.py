"""Rendered scenes as layered pictures: every thing drawn alone, the whole in the shadows that all cast."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layercli.core.errors import LayercliError
from layercli.data._developing import Seen, developed
from layercli.data._furniture import Piece
from layercli.data._grounds import ground
from layercli.data._layered_source import Layered, Limits, drawn_within
from layercli.data._placing import Relief, Thing, arranged, camera_for
from layercli.data._rendering import VIEW_ANGLE, Camera, Solid, Stage
from layercli.data._scenery import Cast, Place
from layercli.data._shade import Lamps, Shade, lamps

CACHED_CELLS = 6_000_000
"""Faces of all models that are kept loaded."""
HEAVY = 120_000
"""Faces above which a model is left out."""


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded piece: its solid, what casts its shadow, and its top seen from above."""

    solid: Solid
    caster: Any
    relief: Relief


class RenderedSource:
    """Scenes of 3D models; picture i depends on (seed, i) alone."""

    def __init__(
        self, pieces: Sequence[Piece], seed: int, counts: tuple[float, ...], limits: Limits, size: int
    ) -> None:
        """counts: how often a picture has one, two, three foregrounds; size: of a picture, in pixels."""
        self.cast = Cast(pieces)
        self.seed, self.limits, self.size = seed, limits, size
        self.counts = np.array(counts) / sum(counts)
        self.stage = Stage(peels=3)
        self.shade = Shade(self.stage)
        self._models: OrderedDict[str, Model | None] = OrderedDict()

    def draw(self, number: int) -> Layered:
        """Draw until a picture with its number of foregrounds passes every limit."""
        rng = np.random.default_rng((self.seed, 8, number))
        count = 1 + int(rng.choice(len(self.counts), p=self.counts))
        return drawn_within(functools.partial(self._attempt, count), (self.seed, 9, number))

    def model(self, piece: Piece) -> Model | None:
        """A piece, loaded; None where it cannot be drawn."""
        if piece.model in self._models:
            self._models.move_to_end(piece.model)
            return self._models[piece.model]
        loaded: Model | None = None
        try:
            solid = self.stage.load(piece.obj, piece.size, piece.turn)
            if solid.cells <= HEAVY:
                caster = self.shade.caster(solid)
                loaded = Model(solid, caster, self.shade.relief(caster, solid))
        except LayercliError:
            pass
        self._models[piece.model] = loaded
        while sum(model.solid.cells for model in self._models.values() if model) > CACHED_CELLS:
            _, oldest = self._models.popitem(last=False)
            if oldest is not None:
                self.stage.release(oldest.solid)
                self.shade.release(oldest.caster)
        return loaded

    def _relief(self, piece: Piece) -> Relief | None:
        model = self.model(piece)
        return model.relief if model else None

    def _attempt(self, count: int, rng: np.random.Generator) -> Layered | str:
        """One picture, or why it is none."""
        place = self.cast.place(rng)
        things = arranged(self.cast, self._relief, place, count, rng)
        if isinstance(things, str):
            return things
        fronts = [thing for thing in things if thing.front]
        must = np.concatenate([thing.corners() for thing in fronts])
        may = np.concatenate([np.zeros((0, 3)), *(thing.corners() for thing in things if not thing.front)])
        camera = camera_for(must, may, rng, outside=place.kind != "room")
        shares = [_guessed_area(thing, camera) for thing in fronts]
        if min(shares) < self.limits.smallest or max(shares) * 0.5 > self.limits.largest:
            return "too small or too large"
        light = self._lit(camera, place, rng)
        actors, far = ground(self.stage, place, things, camera, self.size, rng)
        size = (self.size, self.size)
        scene = [self._seen(thing, camera, light) for thing in things]
        return developed(
            place, Seen(self.stage.see(actors, camera, size)), scene, far, light, self.limits, rng
        )

    def _seen(self, thing: Thing, camera: Camera, light: Lamps) -> Seen:
        model = self.model(thing.piece)
        assert model is not None  # it was loaded when it was placed
        view = self.stage.see(
            self.stage.stand(model.solid, thing.at, thing.turn), camera, (self.size, self.size)
        )
        return Seen(view, thing, self.shade.maps(model.caster, model.solid, thing.at, thing.turn, light))

    def _lit(self, camera: Camera, place: Place, rng: np.random.Generator) -> Lamps:
        """Light the stage from a side of the camera, and say from where."""
        away = np.array(camera.position) - np.array(camera.target)
        azimuth = np.arctan2(away[0], away[2]) + np.radians(rng.choice([-1, 1]) * rng.uniform(15, 75))
        height = np.radians(rng.uniform(32, 66))
        flat = np.cos(height)
        key = np.array([flat * np.sin(azimuth), np.sin(height), flat * np.cos(azimuth)])
        inside = place.kind == "room"
        strength = rng.uniform(0.5, 0.8) if inside else rng.uniform(0.7, 1.0)
        self.stage.lit_from(key.tolist(), float(strength), float(rng.uniform(0.3, 0.5)))
        return lamps(key, 110 if inside else 180, rng, 0.09 if inside else 0.03)


def _guessed_area(thing: Thing, camera: Camera) -> float:
    """About how much of the picture a thing covers."""
    distance = float(np.linalg.norm(np.array(camera.position) - np.array(thing.at)))
    side = 2 * distance * float(np.tan(np.radians(VIEW_ANGLE / 2)))
    return 0.6 * max(thing.footprint[0], 0.5 * thing.footprint[1]) * thing.piece.size[2] / side**2
