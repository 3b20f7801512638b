"""Folders of samples, in our own layouts and in other tools': what lies in them, read one at a time."""

from __future__ import annotations

import hashlib
import re
import struct
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from layercli.cli.files import FORMATS, read_stack
from layercli.core import registry
from layercli.core.errors import LayercliError, as_word
from layercli.core.layers import Layer, LayerStack, Size
from layercli.core.pixels import open_image
from layercli.core.registry import suggest
from layercli.evaluate._run import Run
from layercli.evaluate._sample import Entry, Sample

Layout = Literal["auto", "files", "parts", "numbered", "single", "layerdiffuse", "pictures"]
LAYOUTS = {
    "files": "layered files: PSD, TIFF, OpenRaster, folders with a manifest",
    "parts": "folders fg/, bg/ and composite/ with pictures of the same names",
    "numbered": "one folder a sample with 0.png, 1.png, … (Qwen-Image-Layered, LayerD)",
    "single": "the folder itself is one sample with 0.png, 1.png, …",
    "layerdiffuse": "NAME_transparent.png beside NAME_visualization.png",
    "pictures": "plain pictures: each a sample of one layer",
}
_PARTS = {
    "foreground": ("fg", "fgs", "foreground", "foregrounds"),
    "background": ("bg", "bgs", "background", "backgrounds"),
    "composite": ("composite", "composites", "comp", "blend", "blended", "whole", "image", "images"),
}
_WHOLE = ("composite", "input", "image", "original", "whole", "blended")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_TRANSPARENT = "_transparent"
_ORA_MERGED = "mergedimage.png"


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """One sample's files; read makes the sample of them."""

    name: str
    files: tuple[Path, ...]
    read: Callable[[], Sample]


def gather(folder: Path, layout: str = "auto") -> tuple[Run, str]:
    """The samples of a folder, not yet read, and the layout they are in.

    Raises LayercliError for a folder that is missing or holds nothing that could be a sample.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise LayercliError(f'There is no layout "{layout}".', suggest(layout, LAYOUTS))
    if not folder.exists():
        raise LayercliError(
            f"There is no folder {folder}.", "Name a folder of layered files: layercli eval DIR"
        )
    if not folder.is_dir():
        raise LayercliError(
            f"{folder} is a file, not a folder of samples.", f"Try: layercli eval {as_word(folder.parent)}"
        )
    chosen = layout if layout != "auto" else guess(folder)
    found = _FINDERS[chosen](folder)
    if not found:
        listed = "; ".join(f"{name}: {what}" for name, what in LAYOUTS.items())
        raise LayercliError(f'{folder} holds no sample in the layout "{chosen}".', f"Layouts: {listed}.")
    entries = [
        Entry(name=one.name, load=partial(_load, one))
        for one in sorted(found, key=lambda one: natural(one.name))
    ]
    return Run(name=str(folder), entries=entries, digest=_digest(found)), chosen


def _load(one: Found) -> Sample:
    """Read a sample; whatever is wrong with its files is said as LayercliError."""
    try:
        return one.read()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, struct.error, MemoryError) as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise LayercliError(
            f'"{one.name}" cannot be read: {why}.', "Write or fetch its files again."
        ) from error


def guess(folder: Path) -> str:
    """The layout of a folder, by what is in it."""
    subfolders = {path.name.lower() for path in folder.iterdir() if path.is_dir()}
    if any(name in subfolders for name in (*_PARTS["foreground"], *_PARTS["background"])):
        return "parts"
    if any(_is_layered(path) for path in folder.iterdir()):
        return "files"
    pictures = _pictures(folder)
    if any(path.stem.endswith(_TRANSPARENT) for path in pictures):
        return "layerdiffuse"
    if not pictures and any(_numbered(folder / name) for name in subfolders if (folder / name).is_dir()):
        return "numbered"
    if len(_numbered(folder)) > 1 and _is_one_stack(folder):
        return "single"
    if pictures:
        return "pictures"
    return "numbered" if any(_numbered(path) for path in folder.iterdir() if path.is_dir()) else "files"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that puts 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name) if part]


def _files(folder: Path) -> list[Found]:
    layered = [path for path in folder.iterdir() if _is_layered(path)]
    stems = Counter(path.stem for path in layered)
    # cat.psd and cat.ora are two samples; each keeps its whole name then.
    names = {path: path.stem if stems[path.stem] == 1 else path.name for path in layered}
    return [
        Found(name=name, files=_all_files(path), read=partial(_from_file, path, name))
        for path, name in names.items()
    ]


def _from_file(path: Path, name: str) -> Sample:
    stack = read_stack(path)
    request = stack.receipt.request if stack.receipt is not None else {}
    asked = request.get("foregrounds")
    return Sample(
        name=name,
        stack=stack,
        whole=_merged_of(path),
        prompt=_prompt(request),
        asked=tuple(asked) if isinstance(asked, list) else None,
        seed=request.get("seed") if isinstance(request.get("seed"), int) else None,
        seconds=stack.receipt.seconds if stack.receipt is not None else None,
    )


def _prompt(request: dict[str, object]) -> str:
    """The text of the whole picture, as the request has or implies it."""
    if request.get("prompt"):
        return str(request["prompt"])
    things = request.get("foregrounds")
    if not isinstance(things, list):
        return ""
    joined = " and ".join(str(thing) for thing in things)
    return ", ".join(str(part) for part in (joined, request.get("background")) if part)


def _merged_of(path: Path) -> np.ndarray | None:
    """The merged picture that a file carries beside its layers, where one can be read without them."""
    if path.is_dir():
        merged = path / "composite.png"
        return open_image(merged) if merged.is_file() else None
    if path.suffix.lower() == ".psd":
        return open_image(path)
    if path.suffix.lower() == ".ora":
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
            if _ORA_MERGED in archive.namelist():
                return open_image(archive.extract(_ORA_MERGED, scratch))
    return None


def _parts(folder: Path) -> list[Found]:
    """Samples of fg/, bg/, composite/: "cat.png", and "cat_0.png", "cat_1.png" for several foregrounds."""
    where = {
        part: path
        for path in sorted(folder.iterdir())
        for part, names in _PARTS.items()
        if path.is_dir() and path.name.lower() in names
    }
    by_stem = {part: {path.stem: path for path in _pictures(where[part])} for part in where}
    grounds = by_stem.get("background", {}) | by_stem.get("composite", {})
    fronts: dict[str, list[Path]] = {}
    for stem, path in sorted(by_stem.get("foreground", {}).items(), key=lambda entry: natural(entry[0])):
        shorter = re.sub(r"[-_]\d+$", "", stem)
        fronts.setdefault(stem if stem in grounds or shorter not in grounds else shorter, []).append(path)
    found = []
    for stem in dict.fromkeys((*grounds, *fronts)):
        back, whole = (by_stem.get(part, {}).get(stem) for part in ("background", "composite"))
        layers = [("background", back)] if back else []
        layers += [(path.stem, path) for path in fronts.get(stem, [])]
        if layers or whole:
            found.append(_of_pictures(stem, layers, whole))
    return found


def _numbered_folders(folder: Path) -> list[Found]:
    return [_numbered_sample(path) for path in folder.iterdir() if path.is_dir() and _numbered(path)]


def _single(folder: Path) -> list[Found]:
    return [_numbered_sample(folder)] if _numbered(folder) else []


def _numbered_sample(folder: Path) -> Found:
    layers = [(path.stem, path) for path in _numbered(folder)]
    whole = next((path for path in _pictures(folder) if path.stem.lower() in _WHOLE), None)
    return _of_pictures(folder.name, layers, whole)


def _layerdiffuse(folder: Path) -> list[Found]:
    return [
        _of_pictures(path.stem.removesuffix(_TRANSPARENT), [("foreground", path)], None)
        for path in _pictures(folder)
        if path.stem.endswith(_TRANSPARENT)
    ]


def _plain(folder: Path) -> list[Found]:
    return [_of_pictures(path.stem, [("picture", path)], None) for path in _pictures(folder)]


_FINDERS: dict[str, Callable[[Path], list[Found]]] = {
    "files": _files,
    "parts": _parts,
    "numbered": _numbered_folders,
    "single": _single,
    "layerdiffuse": _layerdiffuse,
    "pictures": _plain,
}


def _of_pictures(name: str, layers: Sequence[tuple[str, Path]], whole: Path | None) -> Found:
    """A sample of pictures of one size, back to front; with no layer at all the whole is the only one."""

    def read() -> Sample:
        named = [*layers] if layers or whole is None else [("picture", whole)]
        pictures = [open_image(path) for _, path in named]
        canvas = Size(pictures[0].shape[1], pictures[0].shape[0])
        for rgba, (_, path) in zip(pictures, named, strict=True):
            if rgba.shape[:2] != (canvas.height, canvas.width):
                raise LayercliError(
                    f'The layers of "{name}" are of several sizes: {path} is '
                    f"{rgba.shape[1]}x{rgba.shape[0]}, the first one {canvas}.",
                    "Give all layers of a sample one size.",
                )
        labels = [label for label, _ in named]
        made = tuple(Layer(name=label, rgba=rgba) for label, rgba in zip(labels, pictures, strict=True))
        return Sample(
            name=name,
            stack=LayerStack(canvas=canvas, layers=made),
            whole=open_image(whole) if whole is not None and layers else None,
        )

    files = tuple(path for _, path in layers) + ((whole,) if whole is not None else ())
    return Found(name=name, files=files, read=read)


def _is_layered(path: Path) -> bool:
    if path.is_dir():
        return (path / "manifest.json").is_file() or path.suffix.lower() == ".layers"
    # A pipe would wait for ever; a link to nowhere is a sample that cannot be read.
    return path.suffix.lower() in _extensions() and (path.is_file() or path.is_symlink())


@cache
def _extensions() -> frozenset[str]:
    known = registry.constants(FORMATS, "EXTENSIONS").values()
    return frozenset(suffix for suffixes in known for suffix in suffixes) - {".png"}


def _is_one_stack(folder: Path) -> bool:
    """Whether numbered pictures are the layers of one: named 0 to n, of one size, all but one with alpha."""
    numbered = _numbered(folder)
    if [int(path.stem) for path in numbered] != list(range(len(numbered))) or len(numbered) > 32:
        return False
    try:
        heads = [Image.open(path) for path in numbered]
    except OSError:
        return False
    clear = sum("A" in head.getbands() for head in heads)
    return len({head.size for head in heads}) == 1 and clear >= len(heads) - 1


def _pictures(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in _PICTURES]
    return sorted(found, key=lambda path: natural(path.name))


def _numbered(folder: Path) -> list[Path]:
    """The pictures named by a number, with or without a word before it: 0.png, layer_1.png."""
    return [path for path in _pictures(folder) if re.fullmatch(r"(?:[a-z]*[-_]?)?\d+", path.stem.lower())]


def _all_files(path: Path) -> tuple[Path, ...]:
    return tuple(sorted(path.iterdir())) if path.is_dir() else (path,)


def _digest(found: Iterable[Found]) -> str:
    """One SHA-256 over the names and contents of all files, in an order of their own."""
    total = hashlib.sha256()
    for one in sorted(found, key=lambda one: one.name):
        for path in one.files:
            if path.is_file():
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                total.update(f"{one.name}/{path.name} {digest}\n".encode())
    return total.hexdigest()
