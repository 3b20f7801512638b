"""The textured 3D models of Debian's sweethome3d-furniture: furniture, plants, vehicles, people."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layercli.core.errors import LayercliError
from layercli.data.captions import words_of

PACKAGE = "sweethome3d-furniture"


@dataclass(frozen=True)
class Catalogue:
    """One .sh3f archive of the package."""

    name: str
    licence: str

    @property
    def source(self) -> str:
        """How rows of a data set name it."""
        return f"deb:{PACKAGE} ({self.name})"


CATALOGUES = (
    Catalogue("BlendSwap-CC-0", "CC0"),
    Catalogue("BlendSwap-CC-BY", "CC-BY-3.0"),
    Catalogue("KatorLegaz", "CC-BY-3.0-US"),
    Catalogue("Reallusion", "CC-BY-3.0-US"),
    Catalogue("Scopia", "CC-BY-3.0"),
)

# Models whose own licence file says something else than the catalogue that they are in.
_LICENCES = {"BlendSwap-CC-0_139": "CC-BY-3.0", "BlendSwap-CC-0_140": "CC-BY-3.0"}

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
    """One entry of a catalogue.

    size: width, depth, height in metres; turn: a rotation matrix or nothing; above: how far above the floor
    it hangs; top: the height of what things may lie on, None where the catalogue does not say.
    """

    model: str
    name: str
    category: str
    creator: str
    obj: Path
    size: tuple[float, float, float]
    turn: tuple[float, ...]
    in_wall: bool
    licence: str
    source: str
    above: float = 0.0
    top: float | None = None


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


def pieces(catalogue: Catalogue, folder: Path) -> Iterator[Piece]:
    """The entries of one unpacked catalogue that have a model and a size."""
    text = (folder / "PluginFurnitureCatalog.properties").read_text(encoding="latin-1")
    for number, entry in sorted(read_catalogue(text).items()):
        if {"name", "model", "width", "depth", "height"} <= entry.keys():
            width, depth, height = (float(entry[key]) / 100 for key in ("width", "depth", "height"))
            model = f"{catalogue.name}_{number:03}"
            top = float(entry.get("dropOnTopElevation", -1)) / 100
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
                source=catalogue.source,
                above=float(entry.get("elevation", 0)) / 100,
                top=top if top > 0.02 else None,
            )


def all_pieces(models: Path, unpacked: Path) -> list[Piece]:
    """The pieces of every catalogue whose archive lies in `models` or below, unpacked once."""
    found = {path.stem: path for path in sorted(models.rglob("*.sh3f"))}
    known = [catalogue for catalogue in CATALOGUES if catalogue.name in found]
    if not known:
        raise LayercliError(
            f"No furniture catalogues (*.sh3f) in {models}.",
            f"Try: apt-get download {PACKAGE} && dpkg-deb -x {PACKAGE}_*.deb {models}",
        )
    listed: list[Piece] = []
    for catalogue in known:
        listed += pieces(catalogue, unpack(found[catalogue.name], unpacked / catalogue.name))
    return listed


def unpack(archive: Path, place: Path) -> Path:
    """The archive's files, with models and materials as VTK can read them; a folder already there is kept."""
    if not place.is_dir():
        part = place.with_name(place.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(part)
        for path in part.rglob("*.mtl"):
            path.write_text(
                readable_materials(path.read_text(encoding="latin-1"), path.parent), encoding="latin-1"
            )
        for path in part.rglob("*.obj"):
            text = path.read_text(encoding="latin-1")
            path.write_text(readable_model(text), encoding="latin-1")
        part.replace(place)
    return place


def readable_model(text: str) -> str:
    """A model file as VTK can read it: materials named as below, and no faces of fewer than three corners."""
    named = re.sub(r"(?m)^(usemtl\s+)(\S.*?)\s*$", r"\1material_\2", text)
    return re.sub(r"(?m)^f([ \t]+\S+){1,2}[ \t]*\r?\n", "", named)


def readable_materials(text: str, folder: Path) -> str:
    """A material file as VTK can read it.

    VTK takes a material called `1` for a number, and a tab after a file's name for a part of it; it wants the
    case of file names right; it mistakes a bump map for the colours; and it falls over a property that stands
    before the first material.
    """
    there = {path.name.lower(): path.name for path in folder.iterdir()}
    lines: list[str] = []
    for line in text.splitlines():
        command, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if command != "newmtl" and not lines:
            continue
        if command == "newmtl":
            lines.append(f"newmtl material_{rest}")
        elif command.startswith("map_") or command in ("bump", "disp", "decal", "refl"):
            file = there.get(rest.replace("\\", "/").rsplit("/", 1)[-1].lower())
            if command == "map_Kd" and file:
                lines.append(f"map_Kd {file}")
        else:
            lines.append(f"{command} {rest}".rstrip())
    return "\n".join(lines) + "\n"
