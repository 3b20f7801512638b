"""Layered files as layered pictures: which files there are, which layers are what, what they are called."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.pixels import open_image, quantize
from layercli.data._layered_source import Layered, Limits, areas_of, box_of
from layercli.data.captions import article, plain_caption, plain_noun, with_article
from layercli.data.composed import fitted

EXTENSIONS = (".psd", ".psb", ".ora", ".tif", ".tiff")
CAPTIONS = "meta_data.csv"
"""What a MuLAn-style folder keeps its captions in: columns paths, blip2, llava."""
MULAN_LAYER = re.compile(r"^(.+)-layer_(\d+)\.png$")
COVERS = 0.99
"""Share of the canvas that the bottom layer must cover to be a background."""
# Names that programs give to layers by themselves, in the languages that we know of.
_UNNAMED = re.compile(
    r"(layer|ebene|calque|capa|camada|livello|laag|warstwa|lager|lag|слой|图层|レイヤー|group|gruppe|groupe|"
    r"grupo|gruppo|new layer|pasted layer|shape|form|rectangle|ellipse|smart object|image|bild|object|"
    r"vector layer|paint layer|copy|kopie|\d+|[\s_.#-])+",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(r"background|hintergrund|arri[eè]re-plan|fondo|fundo|sfondo|bg|背景", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """One layered picture in files: a single one, or one a layer, back to front, each with its caption."""

    name: str
    paths: tuple[Path, ...]
    captions: tuple[str, ...] = ()


def found_in(folder: Path, whose: str) -> list[Named]:
    """The layered pictures of a folder and of all folders in it, sorted by name.

    whose: the column of a MuLAn-style folder's captions. Raises LayercliError where there is no folder.
    """
    if not folder.is_dir():
        raise LayercliError(f"There is no folder {folder}.", "Look at the spelling: ls")
    found = [
        Named(str(path.relative_to(folder)), (path,))
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.is_file()
    ]
    found += [Named(str(path.parent.relative_to(folder)), (path,)) for path in folder.rglob("manifest.json")]
    for table in folder.rglob(CAPTIONS):
        found += _mulan(folder, table, whose)
    return sorted(found, key=lambda entry: entry.name)


def _mulan(folder: Path, table: Path, whose: str) -> list[Named]:
    """The pictures of a MuLAn-style folder: `<name>-layer_<n>.png`, 0 the background, with their captions."""
    told: dict[str, str] = {}
    with table.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        if not {"paths", whose} <= set(rows.fieldnames or ()):
            columns = ", ".join(rows.fieldnames or ()) or "none"
            raise LayercliError(
                f'{table} has no column "{whose}": {columns}.', "Name one of them: -O captions=llava"
            )
        for row in rows:
            told[Path(row["paths"]).name] = (row[whose] or "").replace("N/A", "").strip()
    layers: dict[str, list[tuple[int, Path]]] = {}
    for path in table.parent.iterdir():
        fits = MULAN_LAYER.match(path.name)
        if fits:
            layers.setdefault(fits[1], []).append((int(fits[2]), path))
    found = []
    for name, numbered in layers.items():
        paths = tuple(path for _, path in sorted(numbered))
        place = (table.parent / name).relative_to(folder)
        found.append(Named(str(place), paths, tuple(told.get(path.name, "") for path in paths)))
    return found


class FilesSource:
    """One layered picture a file."""

    def __init__(
        self,
        found: Sequence[Named],
        read_stack: Callable[[Path], LayerStack],
        limits: Limits,
        size: int,
        most: int,
        style: str,
        licence: str,
    ) -> None:
        """size: of a picture, in pixels; most: foregrounds."""
        self.found, self.read_stack, self.limits = found, read_stack, limits
        self.size, self.most, self.style, self.licence = size, most, style, licence

    def draw(self, number: int) -> Layered | str:
        """The picture of one file, or why it is none."""
        entry = self.found[number]
        try:
            stack = self._stack(entry)
        except LayercliError as error:
            return f"{entry.name}: {error.message}"
        result = self._picture(stack, entry)
        return result if isinstance(result, Layered) else f"{entry.name}: {result}"

    def _stack(self, entry: Named) -> LayerStack:
        if not entry.captions:
            path = entry.paths[0]
            return self.read_stack(path.parent if path.name == "manifest.json" else path)
        layers = [
            Layer(name=f"{number}", rgba=open_image(path), prompt=caption)
            for number, (path, caption) in enumerate(zip(entry.paths, entry.captions, strict=True))
        ]
        return LayerStack(canvas=layers[0].size, layers=tuple(layers))

    def _picture(self, stack: LayerStack, entry: Named) -> Layered | str:
        shown = [number for number, layer in enumerate(stack.layers) if layer.visible]
        things = [number for number in shown if stack.layers[number].blend == "normal"]
        if not things or stack.placed(things[0])[..., 3].mean() < COVERS:
            return "its bottom layer does not cover the canvas"
        if not 1 <= len(things) - 1 <= self.most:
            return f"it has {len(things) - 1} foregrounds"
        alphas = [stack.placed(number)[..., 3] for number in things[1:]]
        window = _window(stack.canvas, alphas)
        inside = [float(alpha[window].sum() / max(alpha.sum(), 1e-6)) for alpha in alphas]
        if min(inside) < self.limits.inside:
            return "a foreground lies outside the square in the middle"
        layers = [self._small(stack.placed(number)[window]) for number in things]
        areas, visible = areas_of(layers[1:])
        if min(areas) < self.limits.smallest or max(areas) > self.limits.largest:
            return "a foreground is too small or too large"
        if min(visible) < self.limits.visible:
            return "a foreground is hidden"
        whole = self._small(stack.flatten()[window])
        names = [_caption(stack.layers[number], behind=not place) for place, number in enumerate(things)]
        row: dict[str, Any] = {
            "captions": [*names, f"{' and '.join(names[1:])}, {names[0]}"],
            "nouns": [article(noun) if (noun := plain_noun(name)) else None for name in names],
            "style": self.style,
            "boxes": [box_of(layer[..., 3]) for layer in layers[1:]],
            "areas": [round(area, 4) for area in areas],
            "visible": [round(share, 4) for share in visible],
            "sources": ["files"],
            "licences": [self.licence],
            "works": [entry.name],
            "rejected": {},
        }
        for frame in (layers[0], whole):
            frame[..., 3] = 1.0
        return Layered(frames=np.stack([quantize(frame) for frame in (*layers, whole)]), row=row)

    def _small(self, rgba: np.ndarray) -> np.ndarray:
        return fitted(quantize(rgba), self.size)


def _window(canvas: Size, alphas: Sequence[np.ndarray]) -> tuple[slice, slice]:
    """The square of the canvas, as large as fits, whose middle is nearest to that of all foregrounds."""
    side = min(canvas.width, canvas.height)
    rows, columns = np.nonzero(np.maximum.reduce(list(alphas)) > 0.03)
    if not rows.size:
        return slice(0, side), slice(0, side)
    top = int(np.clip((rows.min() + rows.max() + 1 - side) // 2, 0, canvas.height - side))
    left = int(np.clip((columns.min() + columns.max() + 1 - side) // 2, 0, canvas.width - side))
    return slice(top, top + side), slice(left, left + side)


def _caption(layer: Layer, *, behind: bool) -> str:
    """A layer's prompt, or what its name says; `a scene` or `an object` for a name that says nothing."""
    if layer.prompt.strip():
        return plain_caption(layer.prompt)
    name = plain_caption(re.sub(r"[_-]+", " ", layer.name))
    if _UNNAMED.fullmatch(name) or (behind and _BACKGROUND.fullmatch(name)):
        return "a scene" if behind else "an object"
    return with_article(name)
