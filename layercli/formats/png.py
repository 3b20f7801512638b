"""A folder of PNG files, one per layer, with a manifest.json that says how they fit together.

Layers are cut to what is seen of them, and the manifest (order, place, opacity, blend mode, mask, group,
SHA-256) puts them back. A folder without a manifest is read as same-sized pictures in the order of their
names, and a single PNG file as a stack of one layer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import open_image, save_png
from layercli.core.receipt import Receipt
from layercli.formats._entry import (
    entry_of,
    gray,
    layer_from,
    names_for,
    placed,
    receipt_from,
    receipt_json,
    trimmed,
    value,
)
from layercli.formats._files import atomic, clean_name, safe_file_name, unique_names
from layercli.formats._reading import check_pixels, damaged, json_object, picture_size, reading

EXTENSIONS: tuple[str, ...] = (".layers", ".png")
MANIFEST, COMPOSITE = "manifest.json", "composite.png"
#: The keyword of the PNG text that holds the receipt.
RECEIPT_KEY = "layercli"

_KIND = "a folder of layers"
_MANIFEST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be chosen.

    full_canvas: every file as large as the canvas, with opacity and mask in its alpha, for programs that
    stack files blindly; level: zlib level, 0 to 9.
    """

    full_canvas: bool = False
    level: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 9:
            raise LayercliError(f"A zlib level of {self.level} is not from 0 to 9.", "Try: -O png.level=2")


def write(stack: LayerStack, path: Path, options: Options = Options()) -> Path:
    """Write the folder `path`, whole or not at all.

    An older folder of layers there gives way; a folder that holds anything else raises LayercliError.
    """
    path = Path(path)
    _refuse_other_folders(path)
    with atomic(path) as part:
        part.mkdir()
        receipt = {} if stack.receipt is None else {RECEIPT_KEY: stack.receipt.to_json()}
        save_png(part / COMPOSITE, stack.flatten_quantized(), receipt, level=options.level)
        digits = len(str(max(0, len(stack.layers) - 1)))
        entries = []
        for index, name in enumerate(names_for(stack)):
            stem = f"{index:0{max(2, digits)}d}-{safe_file_name(name)}"
            layer = stack.layers[index]
            layer = _on_canvas(layer, stack.canvas) if options.full_canvas else trimmed(layer)
            save_png(part / f"{stem}.png", layer.rgba, level=options.level)
            entry = {"order": index, "file": f"{stem}.png", **entry_of(layer), "name": name}
            entry["sha256"] = _sha256(part / f"{stem}.png")
            if layer.mask is not None:
                save_png(part / f"{stem}.mask.png", gray(layer.mask), level=options.level)
                entry["mask"] = {"file": f"{stem}.mask.png", "sha256": _sha256(part / f"{stem}.mask.png")}
            entries.append(entry)
        manifest = {
            "layercli": 1,
            "canvas": {"width": stack.canvas.width, "height": stack.canvas.height},
            "composite": {"file": COMPOSITE, "sha256": _sha256(part / COMPOSITE)},
            "layers": entries,
            "receipt": receipt_json(stack),
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2, allow_nan=False)
        (part / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return path


def read(path: Path) -> LayerStack:
    """Read a folder with or without a manifest, or a single picture.

    Raises LayercliError for a file that is missing, damaged, outside the folder, or not the one whose
    SHA-256 the manifest has.
    """
    path = Path(path)
    with reading(path, _KIND):
        if path.is_file():
            return _read_picture(path)
        if (path / MANIFEST).is_file():
            return _read_manifest(path)
        if path.is_dir():
            return _read_loose(path)
        raise FileNotFoundError(path)


def _on_canvas(layer: Layer, canvas: Size) -> Layer:
    return replace(layer, rgba=placed(layer, canvas), offset=Offset(), opacity=1.0, mask=None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_other_folders(path: Path) -> None:
    """Writing replaces the whole folder, so nothing may be in it that layercli did not put there."""
    found = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if not found:
        return
    ours = {MANIFEST, COMPOSITE}
    if MANIFEST in found:
        with reading(path / MANIFEST, "a manifest"):
            for entry in _entries(_load_manifest(path)):
                ours |= {str(entry.get("file")), str(_mask_entry(entry).get("file"))}
    other = sorted(found - ours) if MANIFEST in found else sorted(found)
    if other:
        raise LayercliError(
            f'The folder "{path}" holds "{other[0]}", which is not one of its layers.',
            "Name another folder with -o.",
        )


def _load_manifest(folder: Path) -> dict[str, Any]:
    manifest = folder / MANIFEST
    if manifest.stat().st_size > _MANIFEST_BYTES:
        raise ValueError(f"{MANIFEST} is too long")
    return json_object(manifest.read_bytes())


def _entries(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = value(manifest, "layers", list)
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("its manifest lists something that is not a layer")
    return sorted(entries, key=lambda entry: value(entry, "order", int, 0))


def _mask_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value(entry, "mask", dict, {})
    return found


def _read_manifest(folder: Path) -> LayerStack:
    manifest = _load_manifest(folder)
    canvas = value(manifest, "canvas", dict)
    size = Size(width=value(canvas, "width", int), height=value(canvas, "height", int))
    entries = _entries(manifest)
    files = [_inside(folder, value(entry, "file", str)) for entry in entries]
    mask_entries = [_mask_entry(entry) for entry in entries]
    masks = [_inside(folder, value(entry, "file", str)) if entry else None for entry in mask_entries]
    check_pixels(folder, _KIND, [(size.width, size.height)])
    check_pixels(folder, _KIND, [picture_size(file) for file in (*files, *masks) if file is not None])
    layers = []
    for entry, file, mask, mask_entry in zip(entries, files, masks, mask_entries, strict=True):
        _check_sha256(file, entry)
        rgba = open_image(file)
        if rgba.shape[:2] != (value(entry, "height", int), value(entry, "width", int)):
            raise damaged(folder, _KIND, f'"{file.name}" has another size than its manifest says')
        alpha = None
        if mask is not None:
            _check_sha256(mask, mask_entry)
            alpha = np.ascontiguousarray(open_image(mask)[..., 0])
        layers.append(layer_from(entry, rgba, alpha))
    return LayerStack(canvas=size, layers=tuple(layers), receipt=receipt_from(manifest.get("receipt")))


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder itself: no paths, no links that lead elsewhere."""
    file = folder / name
    plain = name not in ("", ".", "..") and not set(name) & set("/\\\0")
    if not plain or file.resolve().parent != folder.resolve():
        raise damaged(folder, _KIND, f'its manifest names "{name}", which is not a file of the folder')
    if not file.is_file():
        raise damaged(folder, _KIND, f'"{name}" is missing')
    return file


def _check_sha256(file: Path, entry: Mapping[str, Any]) -> None:
    if "sha256" in entry and entry["sha256"] != _sha256(file):
        raise LayercliError(
            f'"{file}" is not the file that {MANIFEST} describes: its SHA-256 is another one.',
            f'If you changed it on purpose, take its "sha256" out of {MANIFEST}.',
        )


def _read_loose(folder: Path) -> LayerStack:
    """Same-sized pictures, back to front in the order of their names."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() == ".png" and f.name != COMPOSITE)
    if not files:
        raise damaged(folder, _KIND, "there is no PNG file in it")
    sizes = [picture_size(file) for file in files]
    check_pixels(folder, _KIND, sizes)
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise damaged(
                folder, _KIND, f'without a {MANIFEST} all must have one size, and "{file.name}" has another'
            )
    # "03-fox.png" is there to be sorted; the layer is the fox.
    stems = [re.sub(r"^\d+[-_ .]+(?=.)", "", file.stem) for file in files]
    names = unique_names(clean_name(stem) for stem in stems)
    layers = tuple(Layer(name=name, rgba=open_image(file)) for name, file in zip(names, files, strict=True))
    return LayerStack(canvas=Size(*sizes[0]), layers=layers)


def _read_picture(path: Path) -> LayerStack:
    rgba = open_image(path)
    with Image.open(path) as image:
        image.load()
        text = image.info.get(RECEIPT_KEY)
    receipt = Receipt.from_json(text) if isinstance(text, str) else None
    layer = Layer(name=clean_name(path.stem), rgba=rgba, offset=Offset())
    return LayerStack(canvas=layer.size, layers=(layer,), receipt=receipt)
