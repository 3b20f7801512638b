"""Rooms, yards and roads as scenes: the 3D models at their true sizes, with and without furniture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain

import numpy as np
from PIL import Image, ImageFilter

from layercli.core.errors import LayercliError
from layercli.data._furniture import CATALOGUES, PACKAGE, Piece
from layercli.data._rendering import VIEW_ANGLE, Camera, Solid, Stage, overhead
from layercli.data._surfaces import FLOORS, WALLS, Surface, asphalt, grass, sky
from layercli.data.captions import with_article

from .furniture import unpacked_pieces
from .packages import Packages
from .pictures import SCENE_SIDE, Picture
from .shards import Shard

SIZE = (480, SCENE_SIDE)
FIRST = 23058
LOWEST_PIECE, WIDEST_PIECE = 0.25, 6.0  # metres: what is lower is lost on a floor, what is wider needs a hall
COMPANY = 0.35  # share of scenes with a second piece
EMPTY_EVERY = 8  # so many furnished scenes to one empty one

_PLACES = {
    "Living room": "a living room",
    "Bedroom": "a bedroom",
    "Kitchen": "a kitchen",
    "Bathroom": "a bathroom",
    "Office": "an office",
    "Exterior": "a yard with grass and sky",
    "Vehicles": "a road",
}
_OUTSIDE: dict[str, Surface] = {"Exterior": grass, "Vehicles": asphalt}


def placed(place: str) -> str:
    """`in a kitchen`, `on a road`."""
    return f"{'on' if place == 'a road' else 'in'} {place}"


def scene_words(names: list[str], place: str) -> str:
    """`a desk and a chair in an office`; `an empty kitchen` for no names."""
    if not names:
        return f"an empty {place.split(' ', 1)[1]}"
    return f"{' and '.join(with_article(name) for name in names)} {placed(place)}"


def dice_of(model: str) -> np.random.Generator:
    """The same random numbers for a model on every machine."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(model.encode()).digest()[:8], "little"))


def contact_shadow(stage: Stage, solid: Solid) -> np.ndarray:
    """A soft dark patch for the floor under a solid, (128, 128, 4): its outline from above, blurred."""
    outline = stage.shoot(solid.actors, overhead(solid), (128, 128), sharper=1)
    blurred = outline.getchannel("A").filter(ImageFilter.GaussianBlur(7))
    patch = np.zeros((128, 128, 4))
    patch[..., 3] = 0.55 * np.asarray(blurred) / 255
    return patch


def camera_for(width: float, height: float, dice: np.random.Generator) -> Camera:
    """A camera 6° to 18° above the middle of what stands there, far enough to leave room around it."""
    shown = max(height, width * SIZE[1] / SIZE[0])
    distance = dice.uniform(1.5, 2.3) * shown / 2 / float(np.tan(np.radians(VIEW_ANGLE / 2)))
    around, above = np.radians(dice.uniform(-22, 22)), np.radians(dice.uniform(6, 18))
    target = (0.0, height * 0.5, 0.0)
    return Camera(
        (
            float(distance * np.cos(above) * np.sin(around)),
            float(target[1] + distance * np.sin(above)),
            float(distance * np.cos(above) * np.cos(around)),
        ),
        target,
    )


def draw_scene(
    stage: Stage, category: str, solids: list[Solid], view_of: Solid, dice: np.random.Generator
) -> Image.Image:
    """A place with some solids side by side (or none, seen as if `view_of` stood there) -> RGB, 480 × 320."""
    gap = 0.15 * view_of.width + 0.1
    total = sum(solid.width for solid in solids) + gap * (len(solids) - 1) if solids else view_of.width
    camera = camera_for(total, max(solid.height for solid in [*solids, view_of]), dice)
    back = max(solid.depth for solid in [*solids, view_of]) / 2 + dice.uniform(0.1, 0.8)
    actors = []
    if category in _OUTSIDE:
        actors.append(stage.floor(_OUTSIDE[category](dice), 120.0, 3.0))
    else:
        floor, wall = dice.choice(len(FLOORS)), dice.choice(len(WALLS))
        actors.append(stage.floor(FLOORS[floor](dice), 24.0, 2.0))
        actors.append(stage.wall(WALLS[wall](dice), 24.0, back, 2.0))
    left = -total / 2
    for solid in solids:
        middle = left + solid.width / 2
        actors.append(stage.decal(contact_shadow(stage, solid), middle, 2 * max(solid.width, solid.depth)))
        actors.extend(stage.stand(solid, (middle, 0.0, 0.0)))
        left += solid.width + gap
    drawn = np.asarray(stage.shoot(actors, camera, SIZE)).astype(float) / 255
    behind = sky(*SIZE, 0.5) if category in _OUTSIDE else np.full((SIZE[1], SIZE[0], 3), 0.85)
    alpha = drawn[..., 3:]
    mixed = drawn[..., :3] * alpha + behind * (1 - alpha)
    return Image.fromarray(np.rint(mixed * 255).astype(np.uint8), "RGB")


def _companion(piece: Piece, others: list[Piece], dice: np.random.Generator) -> Piece | None:
    """Another piece of the same category that is neither dwarfed by this one nor towers over it."""
    fitting = [
        other
        for other in others
        if other.category == piece.category
        and other.name != piece.name
        and 0.4 < other.size[2] / piece.size[2] < 2.5
    ]
    return fitting[dice.integers(len(fitting))] if fitting and dice.uniform() < COMPANY else None


def pictures(packages: Packages) -> Iterator[Picture]:
    """Each piece that stands on a floor in a scene of its own, and now and then the same place empty."""
    stage = Stage()
    standing = [
        piece
        for piece in chain.from_iterable(unpacked_pieces(catalogue, packages) for catalogue in CATALOGUES)
        if not piece.in_wall
        and piece.category not in ("Doors and windows", "Staircases", "Lights")
        and piece.size[2] >= LOWEST_PIECE
        and max(piece.size[:2]) <= WIDEST_PIECE
    ]
    number = FIRST
    for position, piece in enumerate(standing):
        dice = dice_of(piece.model)
        companion = _companion(piece, standing, dice)
        shown = [one for one in (piece, companion) if one is not None]
        try:
            solids = [stage.load(one.obj, one.size, one.turn) for one in shown]
        except LayercliError:
            continue
        place = _PLACES.get(piece.category, "a room")
        versions = [(solids, shown, 0)]
        if position % EMPTY_EVERY == 0:
            versions.append(([], [], 1))
        for placed_solids, placed_pieces, version in versions:
            words = scene_words([one.name for one in placed_pieces], place)
            yield Picture(
                image=draw_scene(stage, piece.category, placed_solids, solids[0], dice_of(piece.model)),
                number=number,
                name=words,
                caption=words,
                style="3D render (room)",
                source=f"deb:{PACKAGE} (rendered rooms)",
                licence="+".join(sorted({one.licence for one in placed_pieces})) or "CC0",
                orig=f"rooms/{piece.model}_{version}.webp",
            )
            number += 1


def shards() -> list[Shard]:
    """One shard."""
    return [Shard(f"{PACKAGE}-rendered-rooms", "rendered rooms, yards and roads", pictures)]
