"""A TIFF of several pages: first the composite, then every layer as a full-size page with its name.

Pages know neither blend modes, opacity nor masks, so these are worked into a page's pixels: laid over each
other plainly, the pages give the composite. What they were is kept for our own reader: the values as JSON in
the first page's ImageDescription, and the pixels as a SubIFD of the page. A hidden layer's page says so in
its name. Files that hold Photoshop's layers (tag 37724) are read as tiff-photoshop.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageOps, ImageSequence

from layercli.core.composite import composite
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size, opacity_level
from layercli.core.pixels import dequantize, open_image, quantize, srgb_profile
from layercli.formats._entry import (
    entry_of,
    layer_from,
    names_for,
    placed,
    receipt_from,
    receipt_json,
    trimmed,
    value,
)
from layercli.formats._files import atomic, clean_name, unique_names
from layercli.formats._reading import check_pixels, damaged, hushed, json_object, reading

EXTENSIONS: tuple[str, ...] = (".tif", ".tiff")

_KIND = "a TIFF file"
#: Tags (TIFF 6.0, section 8, and Adobe's TIFF technical notes).
_PAGE_NAME, _X_RESOLUTION, _Y_RESOLUTION, _X_POSITION, _Y_POSITION = 285, 282, 283, 286, 287
_PHOTOSHOP_LAYERS = 37724
_DEFLATE, _NO_COMPRESSION, _HORIZONTAL = (8, 32946), 1, 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """level: zlib level of the pages, 1 to 9."""

    level: int = 6

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 9:
            raise LayercliError(f"A zlib level of {self.level} is not from 1 to 9.", "Try: -O tiff.level=6")


def write(stack: LayerStack, path: Path, options: Options = Options()) -> Path:
    """Write one .tiff file, whole or not at all."""
    path = Path(path)
    pixels = stack.canvas.width * stack.canvas.height * (2 * len(stack.layers) + 1)
    with atomic(path) as part, tifffile.TiffWriter(part, bigtiff=pixels * 4 > 0xF0000000) as file:
        entries = []
        for layer, name in zip(stack.layers, names_for(stack), strict=True):
            cut = replace(trimmed(layer), name=name)
            entries.append({**entry_of(cut), "kept": not _is_plain(cut, stack.canvas)})
        described = {
            "layercli": 1,
            "canvas": {"width": stack.canvas.width, "height": stack.canvas.height},
            "layers": entries,
            "receipt": receipt_json(stack),
        }
        merged = stack.flatten_quantized()
        opaque = bool(merged[..., 3].min() == 255)
        _add(file, merged[..., :3] if opaque else merged, options, "composite", json.dumps(described))
        backdrop = np.zeros((stack.canvas.height, stack.canvas.width, 4), dtype=np.float32)
        for layer, entry in zip(stack.layers, entries, strict=True):
            page = _baked(backdrop, placed(layer, stack.canvas), layer.blend)
            if layer.visible:
                backdrop = composite(backdrop, page)
            title = entry["name"] if layer.visible else f"{entry['name']} (hidden)"
            kept = [_kept(trimmed(layer))] if entry["kept"] else []
            _add(file, quantize(page), options, title, subifds=len(kept))
            for planes in kept:
                _add(file, planes, options, title)
    return path


def read(path: Path) -> LayerStack:
    """Read a TIFF of any program: the stack that was written, or else one layer per page.

    Places of pages (XPosition, YPosition) are kept. Raises LayercliError for a file that is damaged.
    """
    path = Path(path)
    with reading(path, _KIND), hushed():
        if path.is_dir():
            raise IsADirectoryError(path)
        with tifffile.TiffFile(path) as file:
            if _PHOTOSHOP_LAYERS in file.pages[0].tags:
                from layercli.formats import tiff_photoshop  # it imports nothing of this file

                return tiff_photoshop.read(path)
            described = _described(file)
            if described is not None:
                return _read_ours(path, file, described)
        return _read_pages(path)


def written_as(path: Path) -> str:
    """The format that keeps what this file holds when it is written again."""
    with reading(path, _KIND), hushed(), tifffile.TiffFile(path) as file:
        return "tiff-photoshop" if _PHOTOSHOP_LAYERS in file.pages[0].tags else "tiff"


def _add(
    file: tifffile.TiffWriter, pixels: np.ndarray, options: Options, name: str, description: str = "",
    subifds: int = 0,
) -> None:  # fmt: skip
    extra = ["unassalpha", "unspecified"][: pixels.shape[2] - 3]
    file.write(
        pixels, photometric="rgb", extrasamples=extra or None, planarconfig="contig",
        compression="zlib", compressionargs={"level": options.level}, predictor=True,
        description=description or None, metadata=None, software="layercli", contiguous=False,
        subfiletype=0 if description else 2, subifds=subifds, iccprofile=srgb_profile(),
        resolution=(72, 72), resolutionunit="INCH",
        extratags=[(_PAGE_NAME, "s", 0, name.encode(), True)],
    )  # fmt: skip


def _is_plain(layer: Layer, canvas: Size) -> bool:
    """Whether a page holds all of the layer, so that it can be cut out of it again."""
    inside = (
        layer.offset.left >= 0
        and layer.offset.top >= 0
        and layer.offset.left + layer.size.width <= canvas.width
        and layer.offset.top + layer.size.height <= canvas.height
    )
    return inside and layer.blend == "normal" and opacity_level(layer.opacity) == 255 and layer.mask is None


def _kept(layer: Layer) -> np.ndarray:
    """The layer as it is, its mask as a fifth channel -> (h, w, 4 or 5) uint8."""
    planes = [layer.rgba] if layer.mask is None else [layer.rgba, layer.mask[..., None]]
    return quantize(np.concatenate(planes, axis=-1))


def _baked(backdrop: np.ndarray, source: np.ndarray, blend: str) -> np.ndarray:
    """A picture that, laid plainly over a backdrop, looks as the source does in its blend mode.

    backdrop, source: (H, W, 4) straight alpha -> (H, W, 4). The colour is (1-ab)*Cs + ab*B(Cb, Cs)
    (PDF 1.7, 11.3.6). Over an opaque backdrop alpha is then made as small as the change allows, so that a
    shadow stays a shadow instead of turning into a copy of the whole picture.
    """
    if blend == "normal":
        return source
    solid = np.concatenate([source[..., :3], np.ones_like(source[..., 3:])], axis=-1)
    colour = composite(backdrop, solid, blend)[..., :3]
    alpha = source[..., 3:]
    below = backdrop[..., :3]
    wanted = below + alpha * (colour - below)
    change = wanted - below
    # The farthest that alpha 1 could go: to 0 where it gets darker, to 1 where it gets lighter.
    farthest = np.where(change < 0, below, 1 - below)
    share = np.divide(np.abs(change), farthest, out=np.zeros_like(change), where=farthest > 0)
    # Rounded up to a level that 8 bits have, so that the colour is solved for the alpha that is stored.
    least = np.ceil(np.clip(share.max(axis=-1, keepdims=True), 0, 1) * 255) / np.float32(255)
    solved = below + np.divide(change, least, out=np.zeros_like(change), where=least > 0)
    fits = backdrop[..., 3:] == 1
    page = np.concatenate([np.where(fits, solved, colour), np.where(fits, least, alpha)], axis=-1)
    return np.clip(page, 0, 1).astype(np.float32)


def _described(file: tifffile.TiffFile) -> dict[str, Any] | None:
    """What we wrote into the first page; None where another program wrote, or has resized, the file."""
    try:
        described = json_object(file.pages[0].description)
    except ValueError:
        return None
    if described.get("layercli") != 1:
        return None
    canvas, layers = value(described, "canvas", dict), value(described, "layers", list)
    shape = (canvas.get("height"), canvas.get("width"))
    whole = len(file.pages) == len(layers) + 1 and all(isinstance(entry, dict) for entry in layers)
    same = whole and all(
        page.shape[:2] == shape
        and page.dtype == np.uint8
        and page.compression in (*_DEFLATE, _NO_COMPRESSION)
        for page in file.pages
    )
    return described if same else None


def _read_ours(path: Path, file: tifffile.TiffFile, described: dict[str, Any]) -> LayerStack:
    canvas = Size(width=described["canvas"]["width"], height=described["canvas"]["height"])
    check_pixels(path, _KIND, [(canvas.width, canvas.height)] * len(file.pages))
    layers = []
    for entry, page in zip(described["layers"], list(file.pages)[1:], strict=True):
        box = [value(entry, key, int) for key in ("x", "y", "width", "height")]
        check_pixels(path, _KIND, [(box[2], box[3])])
        if value(entry, "kept", bool, False) and page.subifds:
            kept = page.pages[0]
            if kept.shape[:2] != (box[3], box[2]):
                raise damaged(path, _KIND, f'layer "{entry.get("name")}" has another size than its page')
            planes = dequantize(_decoded(path, file, kept))
            mask = np.ascontiguousarray(planes[..., 4]) if planes.shape[2] == 5 else None
            layers.append(layer_from(entry, np.ascontiguousarray(planes[..., :4]), mask))
            continue
        if entry.get("kept"):  # another program dropped the SubIFD; what it shows is in the page
            entry = {**entry, "opacity": 1.0, "blend": "normal"}
        left, top = max(0, box[0]), max(0, box[1])
        picture = _decoded(path, file, page)[top : max(0, box[1] + box[3]), left : max(0, box[0] + box[2])]
        if picture.size == 0:
            left, top, picture = box[0], box[1], np.zeros((1, 1, 4), dtype=np.uint8)
        layers.append(layer_from({**entry, "x": left, "y": top}, dequantize(np.ascontiguousarray(picture))))
    return LayerStack(canvas=canvas, layers=tuple(layers), receipt=receipt_from(described.get("receipt")))


def _decoded(path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> np.ndarray:
    """A page's pixels -> (H, W, 4 or 5) uint8; never inflates more than the page's size allows."""
    if len(page.shape) != 3 or page.shape[2] not in (4, 5) or page.is_tiled or page.planarconfig != 1:
        raise damaged(path, _KIND, "a page is not laid out as layercli lays it out")
    height, width, channels = page.shape
    check_pixels(path, _KIND, [(width, height)])
    rows = min(height, int(page.rowsperstrip))
    pixels = np.empty((height, width, channels), dtype=np.uint8)
    strips = range(0, height, rows)
    for top, offset, count in zip(strips, page.dataoffsets, page.databytecounts, strict=True):
        strip = pixels[top : top + rows]
        file.filehandle.seek(offset)
        packed = file.filehandle.read(count)
        if page.compression in _DEFLATE:
            packed = zlib.decompressobj().decompress(packed, strip.size)
        values = np.frombuffer(packed, dtype=np.uint8, count=strip.size).reshape(strip.shape)
        if page.predictor == _HORIZONTAL:  # each value is the difference to its left neighbour's
            np.cumsum(values, axis=1, dtype=np.uint8, out=strip)
        else:
            strip[...] = values
    return pixels


def _read_pages(path: Path) -> LayerStack:
    """One layer per page, back to front, as GIMP and ImageMagick write them."""
    layers: list[Layer] = []
    with Image.open(path) as image, tempfile.TemporaryDirectory(prefix="layercli-") as scratch:
        sizes = []
        for frame in ImageSequence.Iterator(image):
            sizes.append(frame.size)
            check_pixels(path, _KIND, sizes)
        titles = []
        for index, frame in enumerate(ImageSequence.Iterator(image)):
            fallback = path.stem if len(sizes) == 1 else f"page {index + 1}"
            titles.append(clean_name(_title(frame), fallback=clean_name(fallback)))
            offset = _position(frame)
            page = Path(scratch) / f"{index}.tiff"
            profile = frame.info.get("icc_profile")
            upright = ImageOps.exif_transpose(frame)
            upright.save(page, "TIFF", compression="raw", icc_profile=profile)
            layers.append(Layer(name=f"{index}", rgba=open_image(page), offset=offset))
    names = unique_names(titles)
    layers = [replace(layer, name=name) for layer, name in zip(layers, names, strict=True)]
    canvas = Size(
        width=max(layer.offset.left + layer.size.width for layer in layers),
        height=max(layer.offset.top + layer.size.height for layer in layers),
    )
    check_pixels(path, _KIND, [(canvas.width, canvas.height)])
    return _without_composite(LayerStack(canvas=canvas, layers=tuple(layers)))


def _title(image: Image.Image) -> str:
    # Pillow reads tags of text as Latin-1; programs write UTF-8.
    title = image.tag_v2.get(_PAGE_NAME, "")  # type: ignore[attr-defined]
    return title.encode("latin-1", "replace").decode("utf-8", "replace") if isinstance(title, str) else ""


def _position(image: Image.Image) -> Offset:
    """Where a page lies; TIFF says it in units of its resolution."""
    tags = image.tag_v2  # type: ignore[attr-defined]

    def side(position: int, resolution: int) -> int:
        known = position in tags and resolution in tags
        return round(float(tags[position]) * float(tags[resolution])) if known else 0

    return Offset(side(_X_POSITION, _X_RESOLUTION), side(_Y_POSITION, _Y_RESOLUTION))


def _without_composite(stack: LayerStack) -> LayerStack:
    """Drop a first page that only shows what the others give together."""
    first, rest = stack.layers[0], stack.layers[1:]
    if not rest or first.size != stack.canvas or first.offset != Offset():
        return stack
    others = LayerStack(canvas=stack.canvas, layers=rest)
    difference = np.abs(stack.placed(0) - others.flatten())
    return others if difference.max() <= 2.5 / 255 else stack
