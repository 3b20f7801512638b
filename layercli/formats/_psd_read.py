"""Reading PSD and PSB files, ours and those of other programs, which may be damaged or hostile."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from psd_tools import ParseLimits, PSDImage
from psd_tools.compression import PSDDecompressionWarning
from psd_tools.constants import BlendMode, ChannelID, ColorMode, Resource, Tag
from psd_tools.psd.document import PSD
from psd_tools.psd.layer_and_mask import LayerRecord

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, is_srgb_profile
from layercli.formats._files import clean_name, unique_names
from layercli.formats._xmp import read_packet

#: The most pixels that the canvas and all layers together may have: 8 GiB of floats.
MOST_PIXELS = 1 << 29
_MOST_BYTES = 1 << 33

_BLENDS = {
    BlendMode.NORMAL: "normal",
    BlendMode.MULTIPLY: "multiply",
    BlendMode.SCREEN: "screen",
    BlendMode.OVERLAY: "overlay",
}
_NO_PIXELS = "adjustment and fill layers"


def read(path: Path) -> LayerStack:
    """Read a PSD or PSB file of any colour mode and depth into the pixel law.

    What a stack cannot hold (layer effects, adjustment layers, other blend modes, clipping, opacity of groups)
    is approximated or left out, and one warning says so.
    Raises LayercliError for a file that is missing, damaged, not a PSD, or larger than MOST_PIXELS.
    """
    path = Path(path)
    hint = "Export the file again, or check that it was copied whole."
    notes: dict[str, list[str]] = {}
    try:
        with _strict():
            image, masked = _open(path)
            stack = _stack(image, masked, notes)
    except LayercliError:
        raise
    except FileNotFoundError:
        raise LayercliError(f'There is no file "{path}".', "Check the path and try again.") from None
    except IsADirectoryError:
        raise LayercliError(f'"{path}" is a folder, not a PSD.', "Name one file in it.") from None
    except PermissionError:
        raise LayercliError(f'"{path}" may not be read.', "Check the file's permissions.") from None
    except MemoryError:
        raise LayercliError(f'"{path}" does not fit into memory.', "Make it smaller first.") from None
    except Exception as error:  # a damaged file can make a parser raise anything
        raise LayercliError(f'"{path}" is damaged or not a PSD: {_reason(error)}.', hint) from error
    if notes:
        said = "; ".join(f"{what} ({', '.join(names)})" for what, names in notes.items())
        warnings.warn(f'"{path}" holds what a stack cannot: {said}.', stacklevel=2)
    return stack


def _reason(error: Exception) -> str:
    return (str(error).strip().rstrip(".") or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Damage raises instead of turning into black pixels and log lines."""
    logger = logging.getLogger("psd_tools")
    disabled = logger.disabled, logger.propagate
    silent = logging.NullHandler()
    logger.addHandler(silent)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", PSDDecompressionWarning)
            yield
    finally:
        logger.removeHandler(silent)
        logger.propagate = disabled[1]


def _open(path: Path) -> tuple[PSDImage, frozenset[int]]:
    """Parse a file within limits; returns also which layers (by their tagged blocks' id) have a mask channel."""
    size = path.stat().st_size
    # A part may be read several times while it is parsed, but no honest file makes a parser read much more.
    limits = ParseLimits(
        max_read_bytes=max(1, size), max_total_bytes=8 * size + (1 << 20), max_objects=1 << 22
    )
    with open(path, "rb") as file:
        psd = PSD.read(file, parse_limits=limits)
    image = PSDImage(psd)
    image.max_alloc_bytes = _MOST_BYTES
    boxes = [(image.width, image.height)]
    boxes.extend((layer.width, layer.height) for layer in image.descendants() if not layer.is_group())
    pixels = sum(max(0, width) * max(0, height) for width, height in boxes)
    if pixels > MOST_PIXELS:
        raise LayercliError(
            f'"{path}" has {pixels:,} pixels in its layers; {MOST_PIXELS:,} is the most.',
            "Make it smaller, or merge layers, first.",
        )
    masks = (ChannelID.USER_LAYER_MASK, ChannelID.REAL_USER_LAYER_MASK)
    return image, frozenset(
        id(record.tagged_blocks)
        for record in _layer_records(psd)
        if any(channel.id in masks for channel in record.channel_info)
    )


def _layer_records(psd: PSD) -> Iterator[LayerRecord]:
    """The records of a file; 16- and 32-bit files keep them in a block of their own."""
    section = psd.layer_and_mask_information
    blocks = section.tagged_blocks
    deep = [blocks.get_data(key) for key in (Tag.LAYER_16, Tag.LAYER_32)] if blocks is not None else []
    for info in (*deep, section.layer_info):
        if info is not None:
            yield from info.layer_records


def _stack(image: PSDImage, masked: frozenset[int], notes: dict[str, list[str]]) -> LayerStack:
    receipt, prompts = read_packet(image.image_resources.get_data(Resource.XMP_METADATA) or b"")
    reader = _Reader(image=image, masked=masked, notes=notes)
    layers = list(reader.layers(image, _Above()))
    if not layers and not len(image):
        layers = [reader.flat()]
    names = unique_names(layer.name for layer in layers)
    named = tuple(
        dataclasses.replace(layer, name=name, prompt=prompts.get(name, ""))
        for layer, name in zip(layers, names, strict=True)
    )
    return LayerStack(canvas=Size(image.width, image.height), layers=named, receipt=receipt)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Above:
    """What the groups around a layer pass on to it."""

    path: tuple[str, ...] = ()
    visible: bool = True
    opacity: float = 1.0
    masks: tuple[Any, ...] = ()


class _Reader:
    """Walks the tree of a file; keeps what had to be left out."""

    def __init__(self, *, image: PSDImage, masked: frozenset[int], notes: dict[str, list[str]]) -> None:
        self.image = image
        self.masked = masked
        self.notes = notes
        profile = image.image_resources.get_data(Resource.ICC_PROFILE)
        #: Whether the stored numbers are sRGB already; other files are converted by Pillow, at 8 bits.
        self.plain = image.color_mode == ColorMode.RGB and (not profile or is_srgb_profile(profile))

    def note(self, what: str, name: str) -> None:
        names = self.notes.setdefault(what, [])
        if name not in names and len(names) < 5:
            names.append(name)

    def layers(self, group: Any, above: _Above) -> Iterator[Layer]:
        """The layers of a group, back to front, those of the groups in it included."""
        children = list(group)
        names = unique_names(clean_name(child.name, fallback="group") for child in children)
        base: Layer | None = None
        for child, name in zip(children, names, strict=True):
            if child.is_group():
                base = None
                yield from self.layers(child, self.inside(child, name, above))
            elif not child.has_pixels() and not self.empty(child):
                self.note(f"{_NO_PIXELS} were left out", name)
            else:
                layer = self.layer(child, above)
                if not child.clipping:
                    base = layer
                elif base is not None:
                    self.note("clipping was turned into masks", name)
                    layer = _clipped(layer, base)
                yield layer

    def inside(self, group: Any, name: str, above: _Above) -> _Above:
        """What a group passes on to its layers."""
        if group.blend_mode not in (BlendMode.PASS_THROUGH, BlendMode.NORMAL):
            self.note("blend modes of groups were left out", name)
        if group.opacity < 255 and len(group) > 1:
            self.note("the opacity of groups was given to their layers", name)
        return _Above(
            path=(*above.path, name),
            visible=above.visible and group.visible,
            opacity=above.opacity * group.opacity / 255.0,
            masks=(*above.masks, *self.masks(group, name)),
        )

    def masks(self, child: Any, name: str) -> tuple[Any, ...]:
        """The mask of a layer or group as a tuple of one, or of none; a mask block alone is no mask."""
        mask = child.mask
        usable = mask is not None and not mask.disabled and id(child.tagged_blocks) in self.masked
        if child.has_vector_mask() and not (usable and mask.has_real()):
            self.note("vector masks were left out", name)
        return (mask,) if usable else ()

    def empty(self, child: Any) -> bool:
        """Whether this is a layer for pixels that happens to hold none, not an adjustment."""
        return child.kind in ("pixel", "type", "smartobject") and (child.width <= 0 or child.height <= 0)

    def layer(self, child: Any, above: _Above) -> Layer:
        name = clean_name(child.name)
        if child.blend_mode not in _BLENDS:
            self.note("blend modes became normal", name)
        if child.has_effects():
            self.note("layer effects were left out", name)
        rgba = self.pixels(child)
        offset = Offset(child.left, child.top)
        mask = None
        for each in (*above.masks, *self.masks(child, name)):
            part = _mask_on(each, offset, rgba.shape[:2])
            mask = part if mask is None else mask * part
        return Layer(
            name=name,
            rgba=rgba,
            offset=offset,
            opacity=above.opacity * (child.opacity / 255.0) * (child.fill_opacity / 255.0),
            blend=_BLENDS.get(child.blend_mode, "normal"),
            visible=above.visible and child.visible,
            mask=mask,
            group=above.path,
        )

    def pixels(self, child: Any) -> np.ndarray:
        """The pixels of a layer -> (H, W, 4) float32; one clear pixel for a layer without any."""
        if child.width <= 0 or child.height <= 0 or not child.has_pixels():
            return np.zeros((1, 1, 4), dtype=np.float32)
        colour = child.numpy("color") if self.plain else _converted(child)
        alpha = child.numpy("shape")
        return _joined(colour, alpha)

    def flat(self) -> Layer:
        """The merged picture of a file without layers."""
        colour = self.image.numpy("color") if self.plain else _converted(self.image)
        alpha = self.image.numpy("shape") if self.plain else None
        return Layer(name="background", rgba=_joined(colour, alpha))


def _converted(source: Any) -> np.ndarray:
    """A layer or document of any colour mode, through its profile -> (H, W, 3) float32 sRGB."""
    picture = source.topil(apply_icc=True)
    if picture is None:
        raise ValueError("its colour mode cannot be read")
    return dequantize(np.asarray(picture.convert("RGB")))


def _joined(colour: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Colour (H, W, 3 or 1) and alpha (H, W, 1) of any range -> (H, W, 4) float32 in [0, 1]."""
    rgba = np.ones((*colour.shape[:2], 4), dtype=np.float32)
    rgba[..., :3] = colour[..., :3] if colour.shape[2] >= 3 else colour[..., :1]
    if alpha is not None:
        rgba[..., 3] = alpha[..., 0]
    return np.clip(np.nan_to_num(rgba, copy=False, nan=0.0), 0.0, 1.0, out=rgba)


def _mask_on(mask: Any, offset: Offset, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as (H, W) float32 on a layer's pixels, its own colour where it does not reach."""
    height, width = shape
    result = np.full((height, width), mask.background_color / 255.0, dtype=np.float32)
    picture = mask.topil() if mask.width > 0 and mask.height > 0 else None
    if picture is None:
        return result
    values = dequantize(np.asarray(picture.convert("L")))
    left, top = mask.left - offset.left, mask.top - offset.top
    x0, x1 = max(0, left), min(width, left + values.shape[1])
    y0, y1 = max(0, top), min(height, top + values.shape[0])
    if x0 < x1 and y0 < y1:
        result[y0:y1, x0:x1] = values[y0 - top : y1 - top, x0 - left : x1 - left]
    density = mask.parameters.user_mask_density if mask.parameters is not None else None
    if density is not None:  # how much of the mask counts
        result = 1.0 - (1.0 - result) * np.float32(density / 255.0)
    return result


def _clipped(layer: Layer, base: Layer) -> Layer:
    """A layer that shows on another only: that one's alpha becomes part of its mask."""
    height, width = layer.rgba.shape[:2]
    ground = LayerStack(
        canvas=Size(width, height),
        layers=(
            dataclasses.replace(
                base,
                offset=Offset(base.offset.left - layer.offset.left, base.offset.top - layer.offset.top),
            ),
        ),
    )
    alpha = ground.placed(0)[..., 3]
    mask = alpha if layer.mask is None else layer.mask * alpha
    return dataclasses.replace(layer, mask=np.ascontiguousarray(mask), visible=layer.visible and base.visible)
