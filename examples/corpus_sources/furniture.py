"""Furniture, plants, vehicles and people: the textured 3D models of Debian's sweethome3d-furniture."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data._furniture import CATALOGUES, PACKAGE, Catalogue, Piece, pieces, unpack
from layercli.data._rendering import Stage, orbit
from layercli.data.captions import with_article

from .packages import Packages
from .pictures import OBJECT_SIDE, Picture, framed_object
from .shards import Shard

VERSION = "1.8-1"
# The number of each catalogue's first picture.
FIRST = {
    "BlendSwap-CC-0": 16614,
    "BlendSwap-CC-BY": 17962,
    "KatorLegaz": 19002,
    "Reallusion": 19556,
    "Scopia": 19756,
}

# Models that could not be read when the corpus was made; with them all later pictures would be numbered anew.
_MISSING = {
    *(f"BlendSwap-CC-0_{number}" for number in ("019", "075")),
    *(f"BlendSwap-CC-BY_{number}" for number in ("075", "077")),
    *(f"KatorLegaz_0{number:02}" for number in (6, 7, 11, 14, 27, 29, 32, 38, 40, 41, 54, 64, 68, 72)),
    *(f"Scopia_{number}" for number in ("034", "040", "056", "060", "374")),
}

# Azimuth and elevation in degrees: mostly from the front and slightly above, as people take pictures.
VIEWS = ((35, 20), (-35, 12), (0, 6), (60, 22), (-65, 16), (145, 22), (15, 30), (-22, 5))
# What belongs in a wall has a front only.
FRONT_VIEWS = (0, 2)


def views_of(piece: Piece) -> tuple[int, ...]:
    """Which of the views show something worth seeing."""
    in_wall = piece.in_wall or re.search(r"\b(door|window)s?$", piece.name)
    return FRONT_VIEWS if in_wall else tuple(range(len(VIEWS)))


def unpacked_pieces(catalogue: Catalogue, packages: Packages) -> Iterator[Piece]:
    """The pieces of one catalogue that the corpus shows; the package is fetched and unpacked once."""
    place = packages.folder / f"sh3f-{catalogue.name}"
    if not place.is_dir():
        root = packages.debian(PACKAGE, VERSION)
        unpack(root / f"usr/share/sweethome3d/furniture/{catalogue.name}.sh3f", place)
    yield from (piece for piece in pieces(catalogue, place) if piece.model not in _MISSING)


def is_worth_keeping(image: Image.Image) -> bool:
    """Whether a render shows its object whole: not cut, not tiny, not a sliver, not a few wires."""
    alpha = np.asarray(image.getchannel("A")).astype(float) / 255
    cut = max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) > 0.5
    rows, columns = np.nonzero(alpha > 0.5)
    if cut or not rows.size:
        return False
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    filled = rows.size / (height * width)
    return bool(max(height, width) >= 0.25 * max(image.size) and min(height, width) >= 8 and filled > 0.04)


def renders(catalogue: Catalogue, packages: Packages) -> Iterator[Picture]:
    """Each piece from its views, cropped to what is seen; pieces that cannot be drawn are left out."""
    stage = Stage()
    number = FIRST[catalogue.name]
    for piece in unpacked_pieces(catalogue, packages):
        try:
            solid = stage.load(piece.obj, piece.size, piece.turn)
        except LayercliError:
            continue
        for view in views_of(piece):
            shot = stage.shoot(solid.actors, orbit(solid, *VIEWS[view]), (OBJECT_SIDE, OBJECT_SIDE))
            image = framed_object(shot) if is_worth_keeping(shot) else None
            if image is None:
                continue
            yield Picture(
                image=image,
                number=number,
                name=piece.name,
                caption=with_article(piece.name),
                style="3D render (textured)",
                source=piece.source,
                licence=piece.licence,
                group=piece.category,
                model=piece.model,
                view=view,
                orig=f"r3d/{piece.model}_{view}.webp",
            )
            number += 1


def shards() -> list[Shard]:
    """One shard a catalogue."""

    def of(catalogue: Catalogue) -> Shard:
        def draw(packages: Packages) -> Iterator[Picture]:
            return renders(catalogue, packages)

        return Shard(f"{PACKAGE}-{catalogue.name.lower()}", f"3D models, {catalogue.licence}", draw)

    return [of(catalogue) for catalogue in CATALOGUES]
