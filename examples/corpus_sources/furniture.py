"""Furniture, plants, vehicles and people: the textured 3D models of Debian's sweethome3d-furniture."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError

from .packages import Packages
from .pictures import OBJECT_SIDE, Picture, framed_object
from .rendering import Stage, orbit
from .shards import Shard
from .wording import with_article, words_of

PACKAGE = ("sweethome3d-furniture", "1.8-1")


@dataclass(frozen=True)
class Catalogue:
    """One .sh3f archive of the package. first: the number of its first picture."""

    name: str
    licence: str
    first: int


CATALOGUES = (
    Catalogue("BlendSwap-CC-0", "CC0", 16614),
    Catalogue("BlendSwap-CC-BY", "CC-BY-3.0", 17962),
    Catalogue("KatorLegaz", "CC-BY-3.0-US", 19002),
    Catalogue("Reallusion", "CC-BY-3.0-US", 19556),
    Catalogue("Scopia", "CC-BY-3.0", 19756),
)

# Models whose own licence file says something else than the catalogue that they are in.
_LICENCES = {"BlendSwap-CC-0_139": "CC-BY-3.0", "BlendSwap-CC-0_140": "CC-BY-3.0"}

# Azimuth and elevation in degrees: mostly from the front and slightly above, as people take pictures.
VIEWS = ((35, 20), (-35, 12), (0, 6), (60, 22), (-65, 16), (145, 22), (15, 30), (-22, 5))
# What belongs in a wall has a front only.
FRONT_VIEWS = (0, 2)

# Names in the catalogues that nobody would type, or that are wrong.
_NAMES = {
    "couch": "sofa",
    "futon couch": "sofa",
    "child chair": "chair",
    "bulldog": "bulldog, dog",
    "ford focus": "car",
    "concept sedan": "car",
    "concept sedan sport": "sports car",
    "seat leon": "car",
    "renault scenic": "car",
    "chevrolet": "car",
    "suv": "suv car",
    "smart car": "small car",
    "vw new beetle": "car, beetle",
    "female": "woman",
    "holding female": "woman",
    "sitting female": "sitting woman",
    "lying down female": "lying woman",
    "male": "man",
    "holding male": "man",
    "sitting male": "sitting man",
    "lying down male": "lying man",
    "little bank": "bench",
    "wood bank": "wooden bench",
    "teck chair": "teak chair",
    "frame chambord": "framed picture",
    "letters box": "mailbox",
    "puff": "pouf",
    "flipper": "pinball machine",
    "hashtray": "ashtray",
    "barnum": "party tent",
    "acacia": "acacia tree",
    "copper beech": "beech tree",
    "cypress": "cypress tree",
}


@dataclass(frozen=True)
class Piece:
    """One entry of a catalogue. size: width, depth, height in metres; turn: a rotation matrix or nothing."""

    model: str
    name: str
    category: str
    creator: str
    obj: Path
    size: tuple[float, float, float]
    turn: tuple[float, ...]
    in_wall: bool
    licence: str

    @property
    def views(self) -> tuple[int, ...]:
        """Which of the views show something worth seeing."""
        in_wall = self.in_wall or re.search(r"\b(door|window)s?$", self.name)
        return FRONT_VIEWS if in_wall else tuple(range(len(VIEWS)))


def read_catalogue(text: str) -> dict[int, dict[str, str]]:
    """The entries of a `PluginFurnitureCatalog.properties`: number -> key -> value."""
    entries: dict[int, dict[str, str]] = {}
    for key, number, value in re.findall(r"^(\w+)#(\d+)[ \t]*=[ \t]*(.*?)\s*$", text, re.MULTILINE):
        unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), value)
        entries.setdefault(int(number), {})[key] = unescaped
    return entries


def piece_name(name: str) -> str:
    """`Concept Sedan 02` -> `car`; `Sofa 2 seats` -> `sofa seats`."""
    words = words_of(name)
    return _NAMES.get(words, words)


def pieces(catalogue: Catalogue, packages: Packages) -> Iterator[Piece]:
    """The entries of one catalogue that have a model and a size."""
    folder = _unpacked(catalogue, packages)
    text = (folder / "PluginFurnitureCatalog.properties").read_text(encoding="latin-1")
    for number, entry in sorted(read_catalogue(text).items()):
        if {"name", "model", "width", "depth", "height"} <= entry.keys():
            width, depth, height = (float(entry[key]) / 100 for key in ("width", "depth", "height"))
            model = f"{catalogue.name}_{number:03}"
            yield Piece(
                model=model,
                name=piece_name(entry["name"]),
                category=entry.get("category", ""),
                creator=entry.get("creator", ""),
                obj=folder / entry["model"].lstrip("/"),
                size=(width, depth, height),
                turn=tuple(float(value) for value in entry.get("modelRotation", "").split()),
                in_wall=entry.get("doorOrWindow") == "true",
                licence=_LICENCES.get(model, catalogue.licence),
            )


def _unpacked(catalogue: Catalogue, packages: Packages) -> Path:
    place = packages.folder / f"sh3f-{catalogue.name}"
    if not place.is_dir():
        root = packages.debian(*PACKAGE)
        part = place.with_name(place.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(root / f"usr/share/sweethome3d/furniture/{catalogue.name}.sh3f") as archive:
            archive.extractall(part)
        for path in part.rglob("*.mtl"):
            path.write_text(
                readable_materials(path.read_text(encoding="latin-1"), path.parent), encoding="latin-1"
            )
        for path in part.rglob("*.obj"):
            text = path.read_text(encoding="latin-1")
            path.write_text(
                re.sub(r"(?m)^(usemtl\s+)(\S.*?)\s*$", r"\1material_\2", text), encoding="latin-1"
            )
        part.replace(place)
    return place


def readable_materials(text: str, folder: Path) -> str:
    """A material file as VTK can read it.

    VTK takes a material called `1` for a number, and a tab after a file's name for a part of it; it wants the
    case of file names right; and it mistakes a bump map for the colours.
    """
    there = {path.name.lower(): path.name for path in folder.iterdir()}
    lines = []
    for line in text.splitlines():
        command, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if command == "newmtl":
            lines.append(f"newmtl material_{rest}")
        elif command.startswith("map_") or command in ("bump", "disp", "decal", "refl"):
            file = there.get(rest.replace("\\", "/").rsplit("/", 1)[-1].lower())
            if command == "map_Kd" and file:
                lines.append(f"map_Kd {file}")
        else:
            lines.append(f"{command} {rest}".rstrip())
    return "\n".join(lines) + "\n"


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
    number = catalogue.first
    for piece in pieces(catalogue, packages):
        try:
            solid = stage.load(piece.obj, piece.size, piece.turn)
        except LayercliError:
            continue
        for view in piece.views:
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
                source=f"deb:{PACKAGE[0]} ({catalogue.name})",
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

        return Shard(f"{PACKAGE[0]}-{catalogue.name.lower()}", f"3D models, {catalogue.licence}", draw)

    return [of(catalogue) for catalogue in CATALOGUES]
