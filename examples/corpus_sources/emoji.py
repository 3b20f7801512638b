"""Emoji: vector sets that Iconify packs as one JSON a set, and Microsoft's glossy 3D renders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data.captions import with_article, words_of

from .packages import Packages
from .pictures import OBJECT_SIDE, Picture, coverage, framed_object, inner_scene
from .shards import Shard
from .svg import render
from .wording import squashed

NAMES = ("emojibase-data", "17.0.0")

# Names under which most sets draw a whole scene in a square, rather than an object.
_SCENES = {
    "beach with umbrella",
    "bridge at night",
    "camping",
    "cityscape",
    "cityscape at dusk",
    "desert",
    "fireworks",
    "foggy",
    "milky way",
    "moon viewing ceremony",
    "national park",
    "night with stars",
    "sparkler",
    "sunrise",
    "sunrise over mountains",
    "sunset",
}
_SCENE_COVERAGE = 0.92

# Signs, not things: a prompt names none of them. Half hours only repeat other pictures.
_NOT_THINGS = re.compile(
    r"(^|-)(arrows?|buttons?|keycap|thirty|japanese|mark|component)(-|$)"
    r"|(^|-)(symbols?|sign|(?<!lowered-)(?<!raised-)(?<!wind-)flags?)$|^flag|skin-tone|-tone[1-5]$"
    r"|-o-clock$|^[0-9]+$|-duo$"
)
_SKIN_TONE = re.compile(r"-(medium-)?(light|medium|dark)$")
_SIGN_CATEGORIES = {"Symbols", "Flags", "Modifiers"}
_SIGN_GROUPS = {2, 8, 9}  # emojibase: component, symbols, flags


@dataclass(frozen=True)
class IconSet:
    """One npm package with an `icons.json`. first: the number of its first picture."""

    package: str
    version: str
    style: str
    licence: str
    first: int
    run_together: bool = False  # names without spaces: `alarmclock`


SETS = (
    IconSet("@iconify-json/fluent-emoji", "1.2.7", "vector gradient (Fluent color)", "MIT", 0),
    IconSet("@iconify-json/fluent-emoji-flat", "1.2.6", "flat vector (Fluent flat)", "MIT", 1338),
    IconSet("@iconify-json/noto", "1.2.9", "soft vector (Noto)", "Apache-2.0", 2677),
    IconSet("@iconify-json/noto-v1", "1.2.5", "soft vector (Noto blob-era)", "Apache-2.0", 4080),
    IconSet(
        "@iconify-json/fxemoji", "1.2.2", "flat vector (Firefox OS)", "Apache-2.0", 7002, run_together=True
    ),
    IconSet("@iconify-json/emojione", "1.2.3", "flat vector (EmojiOne 2)", "CC-BY-4.0", 7429),
    IconSet("@iconify-json/twemoji", "1.2.5", "flat vector (Twemoji)", "CC-BY-4.0", 9018),
    IconSet("@iconify-json/streamline-emojis", "1.2.4", "flat vector (Streamline)", "CC-BY-4.0", 10417),
    IconSet("@iconify-json/streamline-kameleon-color", "1.2.2", "flat vector (Kameleon)", "CC-BY-4.0", 11141),
)
FLUENT_3D = ("@lobehub/fluent-emoji-3d", "1.1.0")
FLUENT_3D_FIRST = 11340


def emoji_names(folder: Path) -> list[dict[str, Any]]:
    """emojibase's English records: `label`, `hexcode`, `tags`, `group`."""
    records: list[dict[str, Any]] = json.loads((folder / "en" / "data.json").read_text(encoding="utf-8"))
    return records


def icon_svg(icons: dict[str, Any], name: str) -> str:
    """A whole SVG document for one icon of an `icons.json`."""
    icon = icons["icons"][name]
    left, top = (icon.get(key, icons.get(key, 0)) for key in ("left", "top"))
    width, height = (icon.get(key, icons.get(key, 16)) for key in ("width", "height"))
    return (
        f'<svg viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def kept_icons(
    icons: dict[str, Any], categories: dict[str, str], records: list[dict[str, Any]], run_together: bool
) -> Iterator[tuple[str, str]]:
    """The icon names worth learning, with the words each one stands for."""
    by_name = {
        squashed(record["label"]) if run_together else _hyphened(record["label"]): record
        for record in records
    }
    for name, icon in icons["icons"].items():
        toneless = _SKIN_TONE.sub("", name)
        if toneless != name and toneless in icons["icons"]:
            continue
        key = squashed(name) if run_together else name
        record = by_name.get(key) or (by_name.get(f"{key}face") if run_together else None)
        if icon.get("hidden") or _NOT_THINGS.search(name) or (run_together and record is None):
            continue
        if categories and categories.get(name, "Symbols") in _SIGN_CATEGORIES:
            continue
        if record and record.get("group") in _SIGN_GROUPS:
            continue
        label = re.sub(r"[^a-z0-9]+", " ", record["label"].lower()) if run_together and record else name
        yield name, words_of(label)


def _hyphened(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def _categories(folder: Path) -> dict[str, str]:
    described = folder / "metadata.json"
    if not described.is_file():
        return {}
    by_category = json.loads(described.read_text(encoding="utf-8")).get("categories", {})
    return {name: category for category, names in by_category.items() for name in names}


def icon_pictures(icon_set: IconSet, folder: Path, records: list[dict[str, Any]]) -> Iterator[Picture]:
    """The pictures of one set: objects cropped to what is drawn, scenes cropped to what is inside."""
    icons = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    categories = _categories(folder)
    tags = {record["label"]: record.get("tags", []) for record in records}
    kept = kept_icons(icons, categories, records, icon_set.run_together)
    for number, (name, words) in enumerate(kept, icon_set.first):
        try:
            drawn = render(icon_svg(icons, name), OBJECT_SIDE)
        except LayercliError:
            continue
        image = _object_or_scene(drawn, words)
        if image is not None:
            yield Picture(
                image=image,
                number=number,
                name=words,
                caption=with_article(words),
                style=icon_set.style,
                source=f"npm:{icon_set.package}",
                licence=icon_set.licence,
                tags=tuple(tags.get(name.replace("-", " ")) or tags.get(words, ())),
                group=categories.get(name, ""),
            )


def _object_or_scene(drawn: Image.Image, words: str) -> Image.Image | None:
    if words in _SCENES and coverage(drawn) > _SCENE_COVERAGE:
        return inner_scene(drawn)
    return framed_object(drawn)


def fluent_3d_pictures(folder: Path, records: list[dict[str, Any]]) -> Iterator[Picture]:
    """Microsoft's 3D emoji: files named by code point, named through emojibase."""
    # Some files name the variation selector fe0f and some do not; it changes nothing.
    by_code = {record["hexcode"].lower().replace("-fe0f", ""): record for record in records}
    number = FLUENT_3D_FIRST
    for path in sorted((folder / "assets").glob("*.webp")):
        record = by_code.get(path.stem.replace("-fe0f", ""))
        if (
            record is None
            or record.get("group", 2) in _SIGN_GROUPS
            or _NOT_THINGS.search(_hyphened(record["label"]))
        ):
            continue
        words = words_of(re.sub("[:.]", "", record["label"]))
        with Image.open(path) as picture:
            image = _object_or_scene(picture.convert("RGBA"), words)
        if image is not None:
            yield Picture(
                image=image,
                number=number,
                name=words,
                caption=with_article(words),
                style="3D render (Fluent 3D)",
                source=f"npm:{FLUENT_3D[0]}",
                licence="MIT",
                tags=tuple(record.get("tags", ())),
                orig=f"_lobehub_fluent-emoji-3d/assets/{path.name}",
            )
            number += 1


def shards() -> list[Shard]:
    """One shard a set."""

    def of_set(icon_set: IconSet) -> Shard:
        def draw(packages: Packages) -> Iterator[Picture]:
            return icon_pictures(
                icon_set, packages.npm(icon_set.package, icon_set.version), emoji_names(packages.npm(*NAMES))
            )

        name = icon_set.package.strip("@").replace("/", "-")
        return Shard(name, f"{icon_set.style}, npm {icon_set.package}", draw)

    def fluent_3d(packages: Packages) -> Iterator[Picture]:
        return fluent_3d_pictures(packages.npm(*FLUENT_3D), emoji_names(packages.npm(*NAMES)))

    return [
        *(of_set(icon_set) for icon_set in SETS),
        Shard("lobehub-fluent-emoji-3d", "glossy 3D emoji", fluent_3d),
    ]
