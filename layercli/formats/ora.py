"""OpenRaster (.ora): one file with layers, groups, opacity and blend modes for Krita, GIMP and MyPaint.

OpenRaster has no masks. A mask is multiplied into the layer's alpha, and the layer without it and the mask
itself go along as extra files, which layercli reads and other programs drop when they save.
Specification: openraster.org, baseline 0.0.3.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError, Note
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import open_image, save_png
from layercli.core.receipt import Receipt
from layercli.formats._entry import gray, names_for, trimmed
from layercli.formats._files import atomic, clean_name, unique_names
from layercli.formats._reading import MOST_LAYERS, check_pixels, damaged, picture_size, reading

EXTENSIONS: tuple[str, ...] = (".ora",)
RECEIPT_FILE = "layercli/receipt.json"

_KIND = "an OpenRaster file"
_OPERATORS = {
    "normal": "svg:src-over",
    "multiply": "svg:multiply",
    "screen": "svg:screen",
    "overlay": "svg:overlay",
}
_BLENDS = {operator: blend for blend, operator in _OPERATORS.items()}
#: Attributes of our own; other programs pass over a namespace they do not know.
_OURS = "{urn:layercli:1}"
_DEPTH = 64
_XML_BYTES = 16 << 20
_PICTURE_BYTES = 2 << 30
_THUMBNAIL = 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """level: zlib level of the PNG files inside, 0 to 9."""

    level: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 9:
            raise LayercliError(f"A zlib level of {self.level} is not from 0 to 9.", "Try: -O ora.level=2")


def write(stack: LayerStack, path: Path, options: Options = Options()) -> Path:
    """Write one .ora file, whole or not at all."""
    path = Path(path)
    with (
        atomic(path) as part,
        tempfile.TemporaryDirectory(prefix="layercli-") as scratch,
        zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive,
    ):
        # The mimetype comes first and uncompressed, so that its bytes stand at a known place in the file.
        _add(archive, "mimetype", b"image/openraster")

        def add_png(name: str, pixels: np.ndarray) -> str:
            picture = save_png(Path(scratch) / "picture.png", pixels, level=options.level)
            _add(archive, name, picture.read_bytes())
            return name

        width, height = str(stack.canvas.width), str(stack.canvas.height)
        image = ElementTree.Element("image", version="0.0.3", w=width, h=height, xres="72", yres="72")
        root = ElementTree.SubElement(image, "stack")
        parents: list[tuple[str, ElementTree.Element]] = []
        names = names_for(stack)
        for index in reversed(range(len(stack.layers))):  # OpenRaster lists the front layer first
            layer = replace(trimmed(stack.layers[index]), name=names[index])
            place = _open_groups(root, parents, layer.group)
            element = ElementTree.SubElement(place, "layer", _attributes(layer))
            baked = layer.rgba
            if layer.mask is not None:
                element.set(f"{_OURS}source", add_png(f"layercli/{index:03d}.png", baked))
                element.set(f"{_OURS}mask", add_png(f"layercli/{index:03d}.mask.png", gray(layer.mask)))
                baked = np.concatenate([baked[..., :3], (baked[..., 3] * layer.mask)[..., None]], axis=-1)
            element.set("src", add_png(f"data/{index:03d}.png", baked))
        ElementTree.register_namespace("layercli", _OURS[1:-1])
        _add(archive, "stack.xml", ElementTree.tostring(image, encoding="utf-8", xml_declaration=True))
        merged = stack.flatten_quantized()
        add_png("mergedimage.png", merged)
        add_png("Thumbnails/thumbnail.png", _thumbnail(merged))
        if stack.receipt is not None:
            _add(archive, RECEIPT_FILE, stack.receipt.to_json().encode())
    return path


def read(path: Path) -> LayerStack:
    """Read an .ora file of any program; raises LayercliError for anything that is not a sound one.

    Groups become layers' group paths: a hidden group hides its layers, a group's opacity goes into theirs.
    A blend mode that stacks do not have is read as normal, with a warning.
    """
    path = Path(path)
    with (
        reading(path, _KIND),
        tempfile.TemporaryDirectory(prefix="layercli-") as scratch,
        zipfile.ZipFile(path) as archive,
    ):
        return _read(path, archive, Path(scratch))


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A date of its own would make every run another file.
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _open_groups(
    root: ElementTree.Element, parents: list[tuple[str, ElementTree.Element]], group: tuple[str, ...]
) -> ElementTree.Element:
    """The <stack> for a group path; groups that the layer before was in too are gone on with."""
    shared = 0
    while shared < min(len(parents), len(group)) and parents[shared][0] == group[shared]:
        shared += 1
    del parents[shared:]
    for name in group[shared:]:
        parent = parents[-1][1] if parents else root
        # isolation="auto" is OpenRaster's word for pass-through.
        stack = ElementTree.SubElement(parent, "stack", {"name": clean_xml(name), "isolation": "auto"})
        parents.append((name, stack))
    return parents[-1][1] if parents else root


def _attributes(layer: Layer) -> dict[str, str]:
    attributes = {
        "name": clean_xml(layer.name),
        "x": str(layer.offset.left),
        "y": str(layer.offset.top),
        "opacity": repr(float(layer.opacity)),
        "visibility": "visible" if layer.visible else "hidden",
        "composite-op": _OPERATORS[layer.blend],
    }
    if layer.prompt:
        attributes[f"{_OURS}prompt"] = clean_xml(layer.prompt)
    return attributes


def clean_xml(text: str) -> str:
    """The text without the characters that XML 1.0 cannot hold (section 2.2)."""

    def held(c: str) -> bool:
        return c in "\t\n\r" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff"

    return "".join(c if held(c) else " " for c in text)


def _thumbnail(merged: np.ndarray) -> np.ndarray:
    """The merged picture, at most 256 px on its longer side -> (h, w, 4) uint8."""
    image = Image.fromarray(merged)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(image)


def _read(path: Path, archive: zipfile.ZipFile, scratch: Path) -> LayerStack:
    image = _parse(path, _member(path, archive, "stack.xml", _XML_BYTES))
    root = image.find("stack")
    if image.tag != "image" or root is None:
        raise damaged(path, _KIND, "stack.xml has no stack")
    canvas = Size(width=int(image.get("w", "")), height=int(image.get("h", "")))
    found = list(reversed(list(_walk(root))))
    check_pixels(path, _KIND, [(canvas.width, canvas.height)])
    pictures = _unpacked(path, archive, scratch, [_sources(element) for element, _ in found])
    names = unique_names(
        clean_name(element.get("name", ""), fallback=f"layer {i}") for i, (element, _) in enumerate(found, 1)
    )
    layers = []
    for (element, properties), files, name in zip(found, pictures, names, strict=True):
        rgba, *masks = (_picture(path, file) for file in files)
        mask = np.ascontiguousarray(masks[0][..., 0]) if masks else None
        prompt = element.get(f"{_OURS}prompt", "")
        layers.append(Layer(name=name, rgba=rgba, mask=mask, prompt=prompt, **properties))
    receipt = None
    if RECEIPT_FILE in archive.namelist():
        receipt = Receipt.from_json(_member(path, archive, RECEIPT_FILE, _XML_BYTES).decode())
    return LayerStack(canvas=canvas, layers=tuple(layers), receipt=receipt)


def _member(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The bytes of one file of the archive, never more than `limit`, whatever its header claims."""
    if name not in archive.namelist():
        raise damaged(path, _KIND, f'"{name}" is missing in it')
    with archive.open(name) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise damaged(path, _KIND, f'"{name}" in it is too long')
    return content


def _parse(path: Path, xml: bytes) -> ElementTree.Element:
    """stack.xml as a tree, without the parts of XML that can name other files or grow without end."""
    builder = ElementTree.TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH:
            raise damaged(path, _KIND, "stack.xml is nested too deeply")
        builder.start(tag, {_named(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise damaged(path, _KIND, "stack.xml defines entities, which a layer stack has no use for")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(xml, True)
    return builder.close()


def _named(key: str) -> str:
    """Expat's "uri}name" as ElementTree's "{uri}name"."""
    return f"{{{key}" if "}" in key else key


def _walk(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, dict[str, Any]]]:
    """All layers, front to back, with their properties, those of the groups around them included."""
    waiting: list[tuple[ElementTree.Element, tuple[str, ...], bool, float, int, int]] = []

    def put(parent: ElementTree.Element, *inherited: Any) -> None:
        waiting.extend((child, *inherited) for child in reversed(parent))

    put(root, (), True, 1.0, 0, 0)
    while waiting:
        element, group, visible, opacity, x, y = waiting.pop()
        visible = visible and element.get("visibility", "visible") != "hidden"
        opacity = opacity * _fraction(element.get("opacity", "1"))
        x, y = x + int(element.get("x", "0")), y + int(element.get("y", "0"))
        if element.tag == "stack":
            name = clean_name(element.get("name", ""), fallback="group")
            put(element, (*group, name), visible, opacity, x, y)
        elif element.tag == "layer":
            properties = {
                "group": group, "visible": visible, "opacity": opacity, "offset": Offset(x, y),
                "blend": _blend(element),
            }  # fmt: skip
            yield element, properties


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"an opacity of {text} is not from 0 to 1")
    return value


def _blend(element: ElementTree.Element) -> str:
    operator = element.get("composite-op", "svg:src-over")
    if operator not in _BLENDS:
        message = f'Layer "{element.get("name", "")}" has the blend mode {operator}, which is read as normal.'
        warnings.warn(message, Note, stacklevel=2)
    return _BLENDS.get(operator, "normal")


def _sources(element: ElementTree.Element) -> list[str]:
    """The archive's names of a layer's picture and, where it has one of its own, of its mask."""
    unmasked, mask = element.get(f"{_OURS}source"), element.get(f"{_OURS}mask")
    return [unmasked, mask] if unmasked and mask else [element.get("src", "")]


def _unpacked(
    path: Path, archive: zipfile.ZipFile, scratch: Path, sources: list[list[str]]
) -> list[list[Path]]:
    """Copy every layer's pictures out of the archive, under names of our own."""
    names = [name for pair in sources for name in pair]
    held = set(archive.namelist())
    for name in names:
        if name not in held:
            raise damaged(path, _KIND, f'"{name}" is missing in it')
    if (
        len(names) > 2 * MOST_LAYERS
        or sum(archive.getinfo(name).file_size for name in names) > _PICTURE_BYTES
    ):
        raise damaged(path, _KIND, "its layers are more than can be read")
    files = [scratch / f"{number}.png" for number in range(len(names))]
    for name, file in zip(names, files, strict=True):
        with archive.open(name) as packed, file.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)  # zipfile stops at the size that was checked above
    check_pixels(path, _KIND, [picture_size(file) for file in files])
    waiting = iter(files)
    return [[next(waiting) for _ in pair] for pair in sources]


def _picture(path: Path, file: Path) -> np.ndarray:
    try:
        return open_image(file)
    except LayercliError as error:
        raise damaged(path, _KIND, "a picture in it is damaged") from error
