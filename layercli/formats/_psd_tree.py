"""The entries of a parsed PSD file with values of their own: what has no equal is approximated, and noted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from psd_tools import PSDImage
from psd_tools.constants import BlendMode, ChannelID, ColorMode, Resource

from layercli.core.layers import Layer, Offset
from layercli.core.pixels import dequantize, is_srgb_profile
from layercli.formats._files import clean_name, unique_names
from layercli.formats._psd_view import Folder, Mask, Part, mask_on
from layercli.formats._reading import check_pixels

_BLENDS = {
    BlendMode.NORMAL: "normal",
    BlendMode.MULTIPLY: "multiply",
    BlendMode.SCREEN: "screen",
    BlendMode.OVERLAY: "overlay",
}
_NO_PIXELS = "adjustment and fill layers"


#: A layer's record, its channels, and its number in the file, as psd-tools parses them.
Stored = tuple[Any, Any, int]


class TreeReader:
    """Walks the tree of a file.

    records: what is stored of each layer, by the id of its tagged blocks; notes: what had to be left out or
    approximated -> names of layers, filled while walking; numbers: read the stored numbers of an RGB file as
    they are, whatever its profile says they mean; folders: the groups by their paths, filled while walking.
    """

    def __init__(
        self,
        *,
        image: PSDImage,
        records: dict[int, Stored],
        notes: dict[str, list[str]],
        numbers: bool = False,
    ) -> None:
        self.image = image
        self.records = records
        self.notes = notes
        self.folders: dict[tuple[str, ...], Folder] = {}
        profile = image.image_resources.get_data(Resource.ICC_PROFILE)
        #: Whether the stored numbers are taken as sRGB; other files are converted by Pillow, at 8 bits.
        self.plain = (
            image.color_mode == ColorMode.RGB
            and image.depth in (8, 16)
            and (numbers or not profile or is_srgb_profile(profile))
        )

    def note(self, what: str, name: str) -> None:
        names = self.notes.setdefault(what, [])
        if name not in names and len(names) < 5:
            names.append(name)

    def parts(self, group: Any, path: tuple[str, ...] = ()) -> Iterator[Part]:
        """The entries of a group, back to front, those of the groups in it included."""
        children = list(group)
        names = unique_names(clean_name(child.name, fallback="group") for child in children)
        based = False
        for child, name in zip(children, names, strict=True):
            if child.is_group():
                based = False
                inside = (*path, name)
                self.folders[inside] = self.folder(child, name)
                if len(child):
                    yield from self.parts(child, inside)
                else:
                    yield self.bare(child, path, "group")
            elif not child.has_pixels() and not self.empty(child):
                self.note(f"{_NO_PIXELS} were left out", name)
                yield self.bare(child, path, "adjustment")
            else:
                clipped = bool(child.clipping)
                if clipped and based:
                    self.note("clipping was turned into masks", name)
                based = based or not clipped
                yield self.part(child, path, clipped=clipped)

    def folder(self, group: Any, name: str) -> Folder:
        """What a group passes on to its layers."""
        if group.blend_mode not in (BlendMode.PASS_THROUGH, BlendMode.NORMAL):
            self.note("blend modes of groups were left out", name)
        if group.opacity < 255 and len(group) > 1:
            self.note("the opacity of groups was given to their layers", name)
        return Folder(
            visible=group.visible, opacity=group.opacity / 255.0, masks=self.masks(group, name),
            record=self.number(group),
        )  # fmt: skip

    def number(self, child: Any) -> int:
        return self.records[id(child.tagged_blocks)][2]

    def fill(self, plane: np.ndarray, child: Any, number: int) -> bool:
        """Put one channel of a layer, in [0, 1], into a plane (h, w) float32; False where there is none."""
        record, channels, _ = self.records[id(child.tagged_blocks)]
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
        record, _, _ = self.records[id(child.tagged_blocks)]
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

    def part(self, child: Any, path: tuple[str, ...], *, clipped: bool) -> Part:
        """A layer with pixels; its mask alone is in it, not those of the groups around it."""
        name = clean_name(child.name)
        if child.blend_mode not in _BLENDS:
            self.note("blend modes became normal", name)
        if child.has_effects():
            self.note("layer effects were left out", name)
        rgba = self.pixels(child)
        offset = Offset(child.left, child.top)
        own = [mask_on(each, offset, rgba.shape[:2]) for each in self.masks(child, name)]
        layer = Layer(
            name=name,
            rgba=rgba,
            offset=offset,
            opacity=child.opacity / 255.0,
            blend=_BLENDS.get(child.blend_mode, "normal"),
            visible=child.visible,
            mask=own[0] if own else None,
            group=path,
        )
        return Part(
            kind="layer", layer=layer, record=self.number(child), clipped=clipped,
            fill=child.fill_opacity / 255.0,
        )  # fmt: skip

    def bare(self, child: Any, path: tuple[str, ...], kind: str) -> Part:
        """An entry without pixels, one clear pixel here: an adjustment, a fill, an empty group."""
        layer = Layer(
            name=clean_name(child.name),
            rgba=np.zeros((1, 1, 4), dtype=np.float32),
            opacity=child.opacity / 255.0,
            visible=child.visible,
            group=path,
        )
        return Part(kind=kind, layer=layer, record=self.number(child))

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
