"""Trim layers to what can be seen, and bleed their edge colour outwards against fringes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.composite import Source
from layercli.core.layers import Layer, opacity_level
from layercli.core.pixels import quantize, quantize_planes

#: Pixels of a ring that are coloured at once; their neighbours take 16 MB.
_RING = 1 << 18


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
    (alpha,) = quantize_planes(layer.rgba[..., 3:])
    box = visible_box(alpha, bleed_pixels)
    seen = layer.rgba[box]
    framed = np.zeros((4, seen.shape[0] + 2, seen.shape[1] + 2), dtype=np.uint8)  # a frame for the bleeding
    planes = framed[:, 1:-1, 1:-1]
    planes[3] = alpha[box]
    quantize_planes(seen[..., :3], out=planes[:3])
    bleed(framed, bleed_pixels)
    return Trimmed(
        planes=planes,
        mask=None if layer.mask is None else quantize(layer.mask[box]),
        left=layer.offset.left + box[1].start,
        top=layer.offset.top + box[0].start,
        opacity=opacity_level(layer.opacity),
        blend=layer.blend,
    )


def visible_box(alpha: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
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


def bleed(framed: np.ndarray, pixels: int) -> None:
    """Give the pixels under alpha 0 the colour of their nearest visible neighbours, in place.

    framed: (4, h, w) uint8, contiguous, with a frame of one transparent pixel that is left as it is. Ring
    after ring, up to `pixels` away, each pixel takes the mean of its known neighbours; farther away the
    colour becomes black. So no fringe shows after resampling.
    """
    known = framed[3] != 0
    inner = np.s_[1:-1, 1:-1]
    if known[inner].all():
        return
    for plane in framed[:3]:
        plane *= known.view(np.uint8)
    width = known.shape[1]
    flat = framed[:3].reshape(3, -1)
    filled = known.reshape(-1)
    free = np.zeros_like(known)  # what may still be filled: never the frame
    free[inner] = ~known[inner]
    ring = np.flatnonzero(grow(known) & free) if pixels > 0 else np.empty(0, dtype=np.intp)
    free = free.reshape(-1)
    owner = np.empty(filled.shape, dtype=np.int32)  # written where a ring passes only
    around = np.array([dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])[:, None]
    for _ in range(pixels):
        if ring.size == 0:
            break
        for start in range(0, ring.size, _RING):
            part = ring[start : start + _RING]
            neighbours = part + around
            weights = filled.take(neighbours).view(np.uint8)
            count = weights.sum(axis=0, dtype=np.uint16)
            for plane in flat:
                total = (plane.take(neighbours) * weights).sum(axis=0, dtype=np.uint16)
                plane[part] = (total + count // 2) // count
        filled[ring] = True
        free[ring] = False
        steps = [beyond[free[beyond]] for beyond in (ring + step for step in around.ravel())]
        beyond = np.concatenate(steps)
        numbers = np.arange(beyond.size, dtype=np.int32)
        owner[beyond] = numbers
        ring = beyond[owner[beyond] == numbers]  # each pixel once


def grow(known: np.ndarray) -> np.ndarray:
    """Where a pixel or one of its eight neighbours is set: (h, w) bool -> (h, w) bool."""
    wide = known.copy()
    wide[:, 1:] |= known[:, :-1]
    wide[:, :-1] |= known[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall
