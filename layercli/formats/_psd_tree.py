"""The layers of a parsed PSD file as ours: what has no equal is approximated, and noted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from psd_tools import PSDImage
from psd_tools.constants import BlendMode, ChannelID, ColorMode, Resource

from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, is_srgb_profile
from layercli.formats._files import clean_name, unique_names
from layercli.formats._reading import check_pixels

_BLENDS = {
    BlendMode.NORMAL: "normal",
    BlendMode.MULTIPLY: "multiply",
    BlendMode.SCREEN: "screen",
    BlendMode.OVERLAY: "overlay",
}
_NO_PIXELS = "adjustment and fill layers"


#: A layer's record and its channels, as psd-tools parses them.
Stored = tuple[Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """A mask as it is stored: pixels (h, w) float32 at left, top; `outside` elsewhere; density: its share."""

    pixels: np.ndarray | None
    left: int
    top: int
    outside: float
    density: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Above:
    """What the groups around a layer pass on to it."""

    path: tuple[str, ...] = ()
    visible: bool = True
    opacity: float = 1.0
    masks: tuple[Mask, ...] = ()


class TreeReader:
    """Walks the tree of a file.

    records: what is stored of each layer, by the id of its tagged blocks; notes: what had to be left out or
    approximated -> names of layers, filled while walking.
    """

    def __init__(self, *, image: PSDImage, records: dict[int, Stored], notes: dict[str, list[str]]) -> None:
        self.image = image
        self.records = records
        self.notes = notes
        profile = image.image_resources.get_data(Resource.ICC_PROFILE)
        #: Whether the stored numbers are sRGB already; other files are converted by Pillow, at 8 bits.
        self.plain = (
            image.color_mode == ColorMode.RGB
            and image.depth in (8, 16)
            and (not profile or is_srgb_profile(profile))
        )

    def note(self, what: str, name: str) -> None:
        names = self.notes.setdefault(what, [])
        if name not in names and len(names) < 5:
            names.append(name)

    def layers(self, group: Any, above: Above) -> Iterator[Layer]:
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

    def inside(self, group: Any, name: str, above: Above) -> Above:
        """What a group passes on to its layers."""
        if group.blend_mode not in (BlendMode.PASS_THROUGH, BlendMode.NORMAL):
            self.note("blend modes of groups were left out", name)
        if group.opacity < 255 and len(group) > 1:
            self.note("the opacity of groups was given to their layers", name)
        return Above(
            path=(*above.path, name),
            visible=above.visible and group.visible,
            opacity=above.opacity * group.opacity / 255.0,
            masks=(*above.masks, *self.masks(group, name)),
        )

    def fill(self, plane: np.ndarray, child: Any, number: int) -> bool:
        """Put one channel of a layer, in [0, 1], into a plane (h, w) float32; False where there is none."""
        record, channels = self.records[id(child.tagged_blocks)]
        for info, channel in zip(record.channel_info, channels, strict=False):
            if info.id == number:
                height, width = plane.shape
                depth = self.image.depth
                data = channel.get_data(width, height, depth, self.image.version)
                values = np.frombuffer(data, dtype={8: ">u1", 16: ">u2", 32: ">f4"}[depth])
                scale = np.float32({8: 255, 16: 65535, 32: 1}[depth])
                np.divide(values.reshape(height, width), scale, out=plane)
                if depth == 32:  # the only depth that can hold anything else
                    np.clip(np.nan_to_num(plane, nan=0.0), 0.0, 1.0, out=plane)
                return True
        return False

    def masks(self, child: Any, name: str) -> tuple[Mask, ...]:
        """The mask of a layer or group as a tuple of one, or of none; a mask block alone is no mask."""
        record, _ = self.records[id(child.tagged_blocks)]
        stored = {info.id for info in record.channel_info}
        mask = child.mask
        real = mask is not None and mask.has_real()
        number = ChannelID.REAL_USER_LAYER_MASK if real else ChannelID.USER_LAYER_MASK
        usable = mask is not None and not mask.disabled and number in stored
        if child.has_vector_mask() and not (usable and real):
            self.note("vector masks were left out", name)
        if not usable:
            return ()
        pixels = None
        if mask.width > 0 and mask.height > 0:
            check_pixels(name, "a mask", [(mask.width, mask.height)])
            pixels = np.empty((mask.height, mask.width), dtype=np.float32)
            self.fill(pixels, child, number)
        density = mask.parameters.user_mask_density if mask.parameters is not None else None
        return (
            Mask(
                pixels=pixels,
                left=mask.left,
                top=mask.top,
                outside=mask.background_color / 255.0,
                density=1.0 if density is None else density / 255.0,
            ),
        )

    def empty(self, child: Any) -> bool:
        """Whether this is a layer for pixels that happens to hold none, not an adjustment."""
        return child.kind in ("pixel", "type", "smartobject") and (child.width <= 0 or child.height <= 0)

    def layer(self, child: Any, above: Above) -> Layer:
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
        rgba = np.ones((child.height, child.width, 4), dtype=np.float32)
        if not self.plain:
            rgba[..., :3] = _converted(child)
        elif not all(self.fill(rgba[..., number], child, number) for number in range(3)):
            raise ValueError(f'layer "{child.name}" lacks a colour')
        self.fill(rgba[..., 3], child, ChannelID.TRANSPARENCY_MASK)
        return rgba

    def flat(self) -> Layer:
        """The merged picture of a file without layers."""
        rgba = np.ones((self.image.height, self.image.width, 4), dtype=np.float32)
        rgba[..., :3] = self.image.numpy("color") if self.plain else _converted(self.image)
        if self.plain:
            rgba[..., 3:] = self.image.numpy("shape")
        return Layer(name="background", rgba=rgba)


def _converted(source: Any) -> np.ndarray:
    """A layer or document of any colour mode, through its profile -> (H, W, 3) float32 sRGB."""
    picture = source.topil(apply_icc=True)
    if picture is None:
        raise ValueError("its colour mode cannot be read")
    return dequantize(np.asarray(picture.convert("RGB")))


def _mask_on(mask: Mask, offset: Offset, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as (H, W) float32 on a layer's pixels, its own colour where it does not reach."""
    height, width = shape
    result = np.full((height, width), mask.outside, dtype=np.float32)
    if mask.pixels is not None:
        left, top = mask.left - offset.left, mask.top - offset.top
        x0, x1 = max(0, left), min(width, left + mask.pixels.shape[1])
        y0, y1 = max(0, top), min(height, top + mask.pixels.shape[0])
        if x0 < x1 and y0 < y1:
            result[y0:y1, x0:x1] = mask.pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    if mask.density < 1.0:
        result = np.clip(1.0 - (1.0 - result) * np.float32(mask.density), 0.0, 1.0)
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
