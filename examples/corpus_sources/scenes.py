"""Scenes: a game's photo landscapes, wallpapers, ray-traced examples, a visual novel's backgrounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data.captions import with_article, words_of

from .copyrights import Copyrights
from .packages import Packages
from .pictures import Picture, framed_scene
from .shards import Shard

ENDLESS_SKY = ("endless-sky-data", "0.11.2-1")
WALLPAPERS = ("budgie-backgrounds", "4.2-1")
POVRAY = ("povray-examples", "1:3.7.0.10-3")
RENPY = ("renpy-demo", "8.3.4+dfsg-6")

Listing = Callable[[Path], Iterator[tuple[int, Path, str, str]]]

# Share-alike pictures would bind whatever is trained on them; these two ask for nothing.
FREE = {"public-domain", "CC0"}

# What stands before the number in the names of images/land.
_LANDS = {
    "asteroid": "asteroid in space",
    "badlands": "rocky badlands",
    "beach": "beach and sea",
    "canyon": "canyon",
    "city": "city buildings",
    "clouds": "clouds",
    "desert": "desert",
    "dune": "sand dunes",
    "earthrise": "earth seen from the moon",
    "enceladus": "icy moon",
    "fields": "green fields",
    "fog": "foggy landscape",
    "forest": "forest",
    "garden": "garden",
    "haze": "hazy sky",
    "hills": "hills",
    "industrial": "industrial buildings",
    "lava": "lava and volcano",
    "mars": "red planet desert",
    "mercury": "planet surface",
    "moon": "moon surface",
    "mountain": "mountains",
    "path": "path",
    "sea": "sea",
    "sky": "sky",
    "snow": "snowy landscape",
    "space": "space station interior",
    "station": "industrial station interior",
    "tundra": "tundra",
    "valley": "valley",
    "water": "lake water",
}
_LAND_FIRST = 22686

# Of images/scene, what shows a place; numbered from 23155 on.
_SCENES = {
    "citydark.jpg": "city at night",
    "busystreet.jpg": "busy city street",
    "buildings.jpg": "city buildings",
    "iceplains.jpg": "ice plain",
    "iceplains2.jpg": "ice plain",
    "Seasunset.jpg": "sunset over the sea",
    "seascape.jpg": "sea",
    "seasidecliffs.jpg": "cliffs by the sea",
    "snowfield.jpg": "snow field",
    "snowplain.jpg": "snow plain",
    "snowvillage.jpg": "village in the snow",
    "sunset.jpg": "sunset",
    "redrocks.jpg": "red rocks",
    "cave scene.png": "cave",
    "lobby.jpg": "lobby of a building",
    "reception.jpg": "reception room",
    "greenwater.jpg": "green water",
    "geoscan.jpg": "rocks",
    "lonelyrock.jpg": "rock in the sea",
}

_WALLPAPERS = (
    "beacon-street-sunset blue-periwinkle canyon-wren extreme-desert-hike lake-sherburne oakland-zoo-otters "
    "ocean-waves perched-osprey perched-shrike pondering-heron roman-colosseum saturnian-profile "
    "singaporean-cityscape sunning-anhinga tea-gardens the-spices-of-life"
)
_WALLPAPERS_FIRST = 22994

# Folder under examples/ -> pictures that show a place or a thing; the others show a feature of the renderer.
_POVRAY = (
    (
        "previews/advanced",
        "abyss balcony biscuit crater crater_dat desk4 diffract drums glasschess isocacti lamppost "
        "landscape mist optics pawns sombrero stackernight sunsethf teapot teapot2 teapot3 teapot4 "
        "wallstucco whiltile wineglass woodbox",
    ),
    ("previews/camera", "fisheye"),
    ("previews/interior", "ballbox1"),
    ("previews/interior/media", "galaxy"),
    ("previews/interior", "rainbow1"),
    ("previews/rad_sub", "patio-radio_36 patio-radio_37"),
    (
        "templates/Basic_Scenes",
        "Desert_blue_sky Grass_partly_cloudy_sky Grass_small_clouds Night_moon_partly_cloudy "
        "Rainy_S_Cloud4 Sea_blue_sky Sea_moon_partly_cloudy Sea_partly_cloudy_sky "
        "Sea_small_clouds_in_sky White_sands_blue_sky starfield",
    ),
    ("templates/Lights_skies_fogs_rainbow", "35_rainbow_arc 37_Rainy_sky_with_S_Cloud4 40_starfield"),
    (
        "templates/height_field_and_HF_macros",
        "10_height_field_mountains1 10_height_field_mountains2 10_height_field_mountains3",
    ),
)
_POVRAY_FIRST = 23107
_POVRAY_LICENCE = "CC-BY-3.0"

_RENPY = ("bg cave.jpg", "bg panorama.webp", "bg washington.jpg", "bg whitehouse.jpg")
_RENPY_FIRST = 23364


def landscapes(root: Path) -> Iterator[tuple[int, Path, str, str]]:
    """Number, file, name and licence of each landscape that its licence leaves free."""
    images = root / "usr/share/games/endless-sky/images"
    rights = Copyrights((root / "usr/share/doc/endless-sky-data/copyright").read_text(encoding="utf-8"))
    lands = [
        (path, _LANDS[start[0]])
        for path in sorted((images / "land").iterdir())
        if (start := re.match("[a-z]+", path.name)) and start[0] in _LANDS
    ]
    places = [(images / "scene" / file, name) for file, name in _SCENES.items()]
    for number, (path, name) in enumerate(lands + places, _LAND_FIRST):
        licence = rights.licence(f"images/{path.parent.name}/{path.name}")
        if licence in FREE:
            yield number, path, name, licence


def ray_traced(root: Path) -> Iterator[tuple[int, Path, str, str]]:
    """Number, file, name and licence of the ray-traced scenes that are not share-alike.

    A preview has the licence of the scene that it was rendered from: previews/advanced/abyss.jpg that of
    advanced/abyss.pov. The numbers of those that are left out stay unused.
    """
    examples = root / "usr/share/doc/povray/examples"
    rights = Copyrights((root / "usr/share/doc/povray-examples/copyright").read_text(encoding="utf-8"))
    named = [(folder, name) for folder, names in _POVRAY for name in names.split()]
    for number, (folder, name) in enumerate(named, _POVRAY_FIRST):
        scene = f"distribution/scenes/{folder.removeprefix('previews/')}/{name}.pov"
        if rights.licence(scene) == _POVRAY_LICENCE:
            yield number, examples / folder / f"{name}.jpg", words_of(name), _POVRAY_LICENCE


def wallpapers(root: Path) -> Iterator[tuple[int, Path, str, str]]:
    """Number, file, name and licence of the Budgie desktop's photographs."""
    folder = root / "usr/share/backgrounds/budgie"
    for number, name in enumerate(_WALLPAPERS.split(), _WALLPAPERS_FIRST):
        yield number, folder / f"{name}.jxl", words_of(name), "CC0-1.0"


def novel_backgrounds(root: Path) -> Iterator[tuple[int, Path, str, str]]:
    """Number, file, name and licence of the backgrounds in Ren'Py's demonstration."""
    folder = root / "usr/share/games/renpy/demo/game/images"
    for number, file in enumerate(_RENPY, _RENPY_FIRST):
        yield number, folder / file, words_of(file.rsplit(".", 1)[0]), "MIT"


def _opened(path: Path) -> Image.Image:
    if path.suffix == ".jxl":
        try:
            import pillow_jxl  # noqa: F401 (teaches Pillow the format)
        except ImportError as error:
            raise LayercliError(
                f"Reading {path.name} needs pillow-jxl-plugin.", "pip install pillow-jxl-plugin"
            ) from error
    with Image.open(path) as picture:
        return framed_scene(picture)


def _shard(package: tuple[str, str], about: str, style: str, listed: Listing, remark: str = "") -> Shard:
    name, version = package

    def draw(packages: Packages) -> Iterator[Picture]:
        root = packages.debian(name, version)
        for number, path, words, licence in listed(root):
            yield Picture(
                image=_opened(path),
                number=number,
                name=words,
                caption=with_article(words),
                style=style,
                source=f"deb:{name}",
                licence=f"{licence} {remark}".rstrip(),
                orig=f"{name}/{path.relative_to(root).as_posix()}",
            )

    return Shard(name, about, draw)


def shards() -> list[Shard]:
    """One shard a package."""
    return [
        _shard(ENDLESS_SKY, "photo landscapes, public domain and CC0 only", "photo", landscapes),
        _shard(WALLPAPERS, "wallpapers", "photo", wallpapers),
        _shard(
            POVRAY,
            "ray-traced scenes, without the share-alike ones",
            "3D render (raytraced)",
            ray_traced,
            "(POV-Ray distribution/scenes)",
        ),
        _shard(RENPY, "backgrounds of a visual novel", "photo/drawing", novel_backgrounds),
    ]
