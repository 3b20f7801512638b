"""Trim layers to what can be seen, and bleed their edge colour outwards against fringes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.composite import Source
from layercli.core.layers import Layer, opacity_level
from layercli.core.pixels import quantize, quantize_planes


@dataclass(frozen=True, kw_only=True, eq=False)
class Trimmed:
    """A layer as an 8-bit file holds it.

    planes: (4, h, w) uint8 straight alpha; mask: (h, w) uint8; left, top: the corner on the canvas;
    opacity: 0-255.
    """

    planes: np.ndarray
    mask: np.ndarray | None
    left: int
    top: int
    opacity: int
    blend: str

    @property
    def source(self) -> Source:
        """The same for composite.merge."""
        return Source(
            planes=self.planes,
            left=self.left,
            top=self.top,
            opacity=self.opacity / 255.0,
            blend=self.blend,
            mask=self.mask,
        )


def trim(layer: Layer, bleed_pixels: int = 4) -> Trimmed:
    """Quantise a layer and cut it to the box of its visible pixels and a margin of `bleed_pixels`.

    The margin never leaves the layer's own picture, so that trimming twice gives the same box. Under alpha 0
    the colour is that of the nearest visible pixels up to `bleed_pixels` away, and black beyond: nothing of
    the picture is left hidden. A layer without any visible pixel becomes one transparent pixel.
    """
    planes = quantize_planes(layer.rgba)
    box = _visible_box(planes[3], bleed_pixels)
    planes = planes[(slice(None), *box)]
    if planes.shape[1:] != layer.rgba.shape[:2]:
        planes = planes.copy()  # lets go of the whole picture
    bleed(planes, bleed_pixels)
    return Trimmed(
        planes=planes,
        mask=None if layer.mask is None else quantize(layer.mask[box]),
        left=layer.offset.left + box[1].start,
        top=layer.offset.top + box[0].start,
        opacity=opacity_level(layer.opacity),
        blend=layer.blend,
    )


def _visible_box(alpha: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of (h, w) uint8 alpha that hold something, with a margin; else one pixel."""
    rows = np.flatnonzero(alpha.any(axis=1))
    if rows.size == 0:
        return slice(0, 1), slice(0, 1)
    columns = np.flatnonzero(alpha[rows[0] : rows[-1] + 1].any(axis=0))
    height, width = alpha.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)),
    )


def bleed(planes: np.ndarray, pixels: int) -> None:
    """Give the pixels under alpha 0 the colour of their nearest visible neighbours, in place.

    planes: (4, h, w) uint8, contiguous. Ring after ring, up to `pixels` away, each pixel takes the mean of
    its known neighbours; farther away the colour becomes black. No fringe then shows when a program resamples.
    """
    if planes[3].min() > 0:
        return
    known = planes[3] != 0
    for plane in planes[:3]:
        np.multiply(plane, known, out=plane)
    height, width = known.shape
    flat = planes[:3].reshape(3, -1)
    filled = known.reshape(-1)
    ring = np.flatnonzero(_beside(known) & ~known) if pixels > 0 else np.empty(0, dtype=np.intp)
    for step in range(pixels):
        if ring.size == 0:
            break
        neighbours, inside = _neighbours(ring, height, width)
        weights = filled[neighbours] & inside
        count = weights.sum(axis=0)
        for plane in flat:
            total = (plane[neighbours] * weights).sum(axis=0, dtype=np.int64)
            plane[ring] = (total + count // 2) // count
        filled[ring] = True
        if step + 1 < pixels:
            ring = np.unique(neighbours[inside & ~filled[neighbours]])


def _beside(known: np.ndarray) -> np.ndarray:
    """Where a pixel or one of its eight neighbours is known: (h, w) bool -> (h, w) bool."""
    wide = known.copy()
    wide[:, 1:] |= known[:, :-1]
    wide[:, :-1] |= known[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall


def _neighbours(pixels: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices (8, n) of the neighbours of pixels (n,), and which of them are inside the picture."""
    y, x = np.divmod(pixels, width)
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    dy, dx = (np.array(axis)[:, None] for axis in zip(*steps, strict=True))
    inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
    return np.where(inside, pixels + dy * width + dx, 0), inside
