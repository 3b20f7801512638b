"""A PSD file opened for editing: what is not touched stays in it, bit for bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layercli.core.errors import LayercliError, as_word
from layercli.core.geometry import Offset, Size
from layercli.core.layers import LayerStack
from layercli.core.pixels import is_srgb_profile
from layercli.formats import _psd_raw
from layercli.formats._files import atomic, unique_names
from layercli.formats._psd_locks import locks_of
from layercli.formats._psd_merged import has_real_picture, merged_after, section
from layercli.formats._psd_patch import Patch
from layercli.formats._psd_plan import LARGEST_PSD_SIDE, thumbnail
from layercli.formats._psd_read import parse, strict
from layercli.formats._psd_shift import guides, shifted_path
from layercli.formats._psd_tree import TreeReader
from layercli.formats._psd_view import Folder, Part, seen
from layercli.formats._reading import reading
from layercli.formats._xmp import read_packet, with_receipt

_GUIDES, _THUMBNAIL, _OLD_THUMBNAIL, _PROFILE, _XMP = 1032, 1036, 1033, 1039, 1060
_SAVED_PATHS = (1025, *range(2000, 2998))
_RGB = 3
#: What a note of the reader means for a file that keeps what it names.
_KEPT = {
    "blend modes became normal": "other blend modes",
    "layer effects were left out": "layer effects",
    "adjustment and fill layers were left out": "adjustment and fill layers",
    "vector masks were left out": "vector masks",
    "blend modes of groups were left out": "blend modes of groups",
    "the opacity of groups was given to their layers": "the opacity of groups",
}


_LACKING = "Where the picture changed, its merged image lacks that until its own program saves it again."
_SECOND = (
    "Where the picture changed, psd-tools drew the merged image with it; it had drawn the old one to within "
    "{:.0f} of 255 levels."
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """A PSD file, its layers with values of their own, and all that is needed to write it back.

    stack: every entry of the file but the groups, back to front; adjustments and empty groups are one clear
    pixel. srgb: whether its numbers are sRGB; others are worked on as they are. undrawn: what of it layercli
    keeps but cannot draw -> names of layers; locked: names of layers -> what the file locks of them.
    """

    path: Path
    stack: LayerStack
    srgb: bool
    undrawn: dict[str, list[str]]
    locked: dict[str, frozenset[str]]
    _raw: _psd_raw.RawFile
    _parts: dict[str, Part]
    _folders: dict[tuple[str, ...], Folder]

    def seen(self, stack: LayerStack, origins: Sequence[str | None], moved: Offset = Offset()) -> LayerStack:
        """An edited stack as the file will show it: what groups, clipping and fill opacity add is in it."""
        parts = []
        for layer, origin in zip(stack.layers, origins, strict=True):
            part = None if origin is None else self._parts[origin]
            if part is None:
                part = Part(kind="layer", layer=layer, record=-1)
            parts.append(dataclasses.replace(part, layer=layer))
        return dataclasses.replace(stack, layers=tuple(seen(parts, self._folders, moved)))

    def write(
        self, stack: LayerStack, origins: Sequence[str | None], path: Path, moved: Offset = Offset()
    ) -> list[str]:
        """Write the file with an edited stack in it; returns what a person should know.

        origins: for each layer the name it had in `self.stack`, None for a new one; moved: where the old
        canvas' corner lies on the new canvas. The old file stays until the new one is complete.
        """
        raw, canvas = self._raw, stack.canvas
        if raw.version == 1 and max(canvas.width, canvas.height) > LARGEST_PSD_SIDE:
            raise LayercliError(
                f"A PSD has at most {LARGEST_PSD_SIDE:,} pixels a side, not {canvas}.",
                f"Try: -o {as_word(path.with_suffix('.psb'))}",
            )
        patch = Patch(
            raw, self._parts, self._folders, moved=moved, before=self.stack.canvas, after=canvas
        )  # fmt: skip
        records = patch.records(stack, origins)
        before = self.seen(self.stack, self.stack.names)
        after = self.seen(stack, origins, moved)
        # The old picture tells nothing of how well psd-tools draws what it did not show.
        was = [origin is None or self._parts[origin].layer.visible for origin in origins]
        shown = any(layer.visible > old for layer, old in zip(stack.layers, was, strict=True))
        asked = self.undrawn and self.stack.canvas == canvas and not shown
        edited = dataclasses.replace(raw, records=records) if asked else None
        merged, away = merged_after(raw, before, after, moved, edited)
        raw = dataclasses.replace(
            raw, records=records, width=canvas.width, height=canvas.height,
            merged=section(merged, raw.version),
        )  # fmt: skip
        raw = self._with_resources(raw, stack, merged, moved)
        with atomic(path) as part, open(part, "xb") as file:
            for piece in raw.pieces():
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        return [
            *([_LACKING if away is None else _SECOND.format(away)] if self.undrawn else []),
            *(f'"{name}" was {what} and is pixels now.' for name, what in patch.pixelled.items()),
            *(f'"{name}" is {what} that layercli cannot read: Photoshop may put it back where it was.'
              for name, what in patch.stuck.items()),
        ]  # fmt: skip

    def _with_resources(
        self, raw: _psd_raw.RawFile, stack: LayerStack, merged: np.ndarray, moved: Offset
    ) -> _psd_raw.RawFile:
        small = merged[:3] if merged.dtype == np.uint8 else (merged[:3] >> 8).astype(np.uint8)
        profile = None if self.srgb else raw.resource(_PROFILE)
        kept = tuple(each for each in raw.resources if each.number != _OLD_THUMBNAIL)
        raw = dataclasses.replace(raw, resources=kept)
        raw = raw.with_resource(_THUMBNAIL, thumbnail(small, profile))
        prompts = {layer.name: layer.prompt for layer in stack.layers}
        raw = raw.with_resource(_XMP, with_receipt(raw.resource(_XMP), stack.receipt, prompts))
        lines = raw.resource(_GUIDES)
        if lines is not None and moved != Offset():
            raw = raw.with_resource(_GUIDES, guides(lines, moved))
        before, after = self.stack.canvas, stack.canvas
        if before != after or moved != Offset():
            for each in raw.resources:
                if each.number in _SAVED_PATHS:
                    raw = raw.with_resource(each.number, shifted_path(each.data, moved, before, after))
        info = raw.resource(1057)
        if info is not None and not has_real_picture(raw):
            raw = raw.with_resource(1057, info[:4] + b"\1" + info[5:])
        return raw


def opened(path: Path) -> Kept:
    """Open a PSD or PSB file for editing.

    Raises LayercliError for a file that cannot be read, and for one that is not RGB of 8 or 16 bits.
    """
    path = Path(path)
    notes: dict[str, list[str]] = {}
    with reading(path, "a PSD"), strict():
        image, records = parse(path)
        raw = _psd_raw.parse(path.read_bytes())
        if raw.mode != _RGB or raw.depth not in (8, 16):
            kind = f"{image.color_mode.name} in {raw.depth} bits"
            raise LayercliError(
                f'"{path}" is {kind}; layercli edits RGB files of 8 or 16 bits in place.',
                f"Try: layercli convert {as_word(path)} {as_word(path.with_stem(path.stem + '-rgb'))}",
            )
        receipt, prompts = read_packet(raw.resource(_XMP) or b"")
        reader = TreeReader(image=image, records=records, notes=notes, numbers=True)
        parts = list(reader.parts(image))
        if not parts:
            raise LayercliError(
                f'"{path}" has no layers to edit.',
                f"Try: layercli convert {as_word(path)} {as_word(path.stem + '-layers.psd')}",
            )
        named = _named(parts, prompts)
    profile = raw.resource(_PROFILE)
    return Kept(
        path=path,
        stack=LayerStack(
            canvas=Size(raw.width, raw.height),
            layers=tuple(part.layer for part in named),
            receipt=receipt,
        ),
        srgb=not profile or is_srgb_profile(profile),
        undrawn={_KEPT[what]: names for what, names in notes.items() if what in _KEPT},
        locked=locks_of(named, reader.folders, raw.records),
        _raw=raw,
        _parts={part.layer.name: part for part in named},
        _folders=reader.folders,
    )


def _named(parts: list[Part], prompts: dict[str, str]) -> list[Part]:
    """The entries with names that come once; layers with pixels are named as the reader of files does."""
    order = sorted(range(len(parts)), key=lambda index: parts[index].kind != "layer")
    names = dict(zip(order, unique_names(parts[index].layer.name for index in order), strict=True))
    return [
        dataclasses.replace(
            part,
            layer=dataclasses.replace(part.layer, name=names[index], prompt=prompts.get(names[index], "")),
        )
        for index, part in enumerate(parts)
    ]
