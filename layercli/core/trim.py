"""Trim layers to what can be seen, and bleed their edge colour outwards against fringes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layercli.core.composite import Source
from layercli.core.layers import Layer, opacity_level
from layercli.core.pixels import planes_of, quantize, quantize_words

#: Pixels of a ring that are coloured at once; their neighbours take 16 MB.
_RING = 1 << 18
#: The largest word of a pixel with alpha 0.
_CLEAR = np.uint32(0x00FFFFFF)


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
    words = quantize_words(layer.rgba)
    seen = words > _CLEAR
    box = visible_box(seen, bleed_pixels)
    words = words[box]
    if not seen[box].all():
        framed = np.zeros((words.shape[0] + 2, words.shape[1] + 2), dtype=np.uint32)
        framed[1:-1, 1:-1] = words
        bleed(framed, bleed_pixels)
        words = framed[1:-1, 1:-1]
    return Trimmed(
        planes=planes_of(words),
        mask=None if layer.mask is None else quantize(layer.mask[box]),
        left=layer.offset.left + box[1].start,
        top=layer.offset.top + box[0].start,
        opacity=opacity_level(layer.opacity),
        blend=layer.blend,
    )


def visible_box(alpha: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of (h, w) alpha that hold something, with a margin; else one pixel."""
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

    framed: (h, w) words of `quantize_words`, with a frame of one transparent pixel that is left as it is.
    Ring after ring, up to `pixels` away, each pixel takes the mean of its known neighbours; farther away the
    colour becomes black. So no fringe shows after resampling.
    """
    known = framed > _CLEAR
    framed *= known
    width = known.shape[1]
    free = np.zeros_like(known)  # what may still be filled: never the frame
    np.logical_not(known[1:-1, 1:-1], out=free[1:-1, 1:-1])
    ring = np.flatnonzero(grow(known) & free) if pixels > 0 else np.empty(0, dtype=np.intp)
    words, free = framed.reshape(-1), free.reshape(-1)
    owner = np.empty(words.shape, dtype=np.int32)  # written where a ring passes only
    around = np.array([dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])[:, None]
    rings = []
    for _ in range(pixels):
        if ring.size == 0:
            break
        parts = np.split(ring, range(_RING, ring.size, _RING))
        words[ring] = np.concatenate([_mean(words.take(part + around)) for part in parts])
        free[ring] = False
        rings.append(ring)
        beyond = np.concatenate([next_to[free[next_to]] for next_to in ring + around])
        numbers = np.arange(beyond.size, dtype=np.int32)
        owner[beyond] = numbers
        ring = beyond[owner[beyond] == numbers]  # each pixel once
    for ring in rings:
        words[ring] &= _CLEAR


def _mean(words: np.ndarray) -> np.ndarray:
    """The mean colours of those of (n, m) words that are not 0, with an alpha of 1, which tells them known.

    Two channels are summed at once, each in half a word.
    """
    half = np.uint32(0x00FF00FF)
    count = np.count_nonzero(words, axis=0).astype(np.uint32)
    red_blue = (words & half).sum(axis=0, dtype=np.uint32)
    green = (words >> np.uint32(8) & np.uint32(0xFF)).sum(axis=0, dtype=np.uint32)
    red, green, blue = (
        (total + count // 2) // count for total in (red_blue & np.uint32(0xFFFF), green, red_blue >> 16)
    )
    return red | green << 8 | blue << 16 | np.uint32(1 << 24)


def grow(known: np.ndarray) -> np.ndarray:
    """Where a pixel or one of its eight neighbours is set: (h, w) bool -> (h, w) bool."""
    wide = known.copy()
    wide[:, 1:] |= known[:, :-1]
    wide[:, :-1] |= known[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall
