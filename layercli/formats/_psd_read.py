"""Reading PSD and PSB files, ours and those of other programs, which may be damaged or hostile."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psd_tools import ParseLimits, PSDImage
from psd_tools.compression import PSDDecompressionWarning
from psd_tools.constants import Resource, Tag
from psd_tools.psd.document import PSD

from layercli.core.errors import Note
from layercli.core.layers import LayerStack, Size
from layercli.formats._files import unique_names
from layercli.formats._psd_tree import Stored, TreeReader
from layercli.formats._psd_view import seen
from layercli.formats._reading import check_pixels, reading
from layercli.formats._xmp import read_packet

#: What one picture may take while psd-tools decodes it.
_MOST_BYTES = 1 << 33


def read(path: Path) -> LayerStack:
    """Read a PSD or PSB file of any colour mode and depth into the pixel law.

    What a stack cannot hold (layer effects, adjustment layers, other blend modes, clipping, opacity of
    groups) is approximated or left out, and one warning says so.
    Raises LayercliError for a file that is missing, damaged, not a PSD, or larger than memory should hold.
    """
    path = Path(path)
    notes: dict[str, list[str]] = {}
    with reading(path, "a PSD"), strict():
        image, records = parse(path)
        stack = _stack(image, records, notes)
    if notes:
        warnings.warn(f'"{path}" holds what a stack cannot: {told(notes)}.', Note, stacklevel=2)
    return stack


def told(notes: dict[str, list[str]]) -> str:
    """What had to be left out or approximated, in words."""
    return "; ".join(f"{what} ({', '.join(names)})" for what, names in notes.items())


@contextlib.contextmanager
def strict() -> Iterator[None]:
    """Damage raises instead of turning into black pixels and log lines."""
    logger = logging.getLogger("psd_tools")
    propagate = logger.propagate
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
        logger.propagate = propagate


def parse(path: Path) -> tuple[PSDImage, dict[int, Stored]]:
    """Parse a file within limits; returns its tree and, by the id of their tagged blocks, its records."""
    size = path.stat().st_size
    # A part may be read several times while it is parsed, but no honest file makes a parser read much more.
    limits = ParseLimits(
        max_read_bytes=max(1, size), max_total_bytes=8 * size + (1 << 20), max_objects=1 << 22
    )
    with open(path, "rb") as file:
        psd = PSD.read(file, parse_limits=limits)
    image = PSDImage(psd)
    image.max_alloc_bytes = _MOST_BYTES
    layers = [(layer.width, layer.height) for layer in image.descendants() if not layer.is_group()]
    shown = [size for size in layers if min(size) > 0]  # Photoshop's empty layers have no size
    check_pixels(path, "a PSD", [(image.width, image.height), *shown])
    return image, {
        id(record.tagged_blocks): (record, channels, number)
        for number, (record, channels) in enumerate(_records(psd))
    }


def _records(psd: PSD) -> Iterator[tuple[Any, Any]]:
    """The records of a file; 16- and 32-bit files keep them in a block of their own."""
    section = psd.layer_and_mask_information
    blocks = section.tagged_blocks
    deep = [blocks.get_data(key) for key in (Tag.LAYER_16, Tag.LAYER_32)] if blocks is not None else []
    for info in (*deep, section.layer_info):
        if info is not None:
            yield from zip(info.layer_records, info.channel_image_data, strict=False)


def _stack(image: PSDImage, records: dict[int, Stored], notes: dict[str, list[str]]) -> LayerStack:
    receipt, prompts = read_packet(image.image_resources.get_data(Resource.XMP_METADATA) or b"")
    reader = TreeReader(image=image, records=records, notes=notes)
    layers = list(seen(reader.parts(image), reader.folders))
    if not layers and not len(image):
        layers = [reader.flat()]
    names = unique_names(layer.name for layer in layers)
    named = tuple(
        dataclasses.replace(layer, name=name, prompt=prompts.get(name, ""))
        for layer, name in zip(layers, names, strict=True)
    )
    return LayerStack(canvas=Size(image.width, image.height), layers=named, receipt=receipt)
