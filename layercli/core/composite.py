"""Compositing of straight-alpha pictures by the formulas of PDF 1.7 (11.3) and W3C Compositing Level 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.pixels import round_levels
from layercli.core.threads import each

#: The blend modes that every reader of layered files renders alike.
BLENDS: tuple[str, ...] = ("normal", "multiply", "screen", "overlay")

#: Below this alpha a colour cannot be seen in an 8-bit file.
ALPHA_FLOOR = 1.0 / 255.0

#: Rows and columns of a tile: its working planes stay in a processor's caches.
_TILE = (128, 1024)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One picture as the compositor sees it.

    planes: (4, h, w), float32 in [0, 1] or uint8, straight alpha; left, top: its corner on the canvas;
    mask: (h, w) of either kind, multiplied into alpha.
    """

    planes: np.ndarray
    left: int = 0
    top: int = 0
    opacity: float = 1.0
    blend: str = "normal"
    mask: np.ndarray | None = None


def composite(
    backdrop: np.ndarray, source: np.ndarray, blend: str = "normal", opacity: float = 1.0
) -> np.ndarray:
    """Lay one picture over another with a blend mode.

    backdrop, source: (H, W, 4) float in [0, 1], straight alpha -> (H, W, 4) float32.
    Raises LayercliError for an unknown blend mode. Source: PDF 1.7, 11.3.6.
    """
    check_blend(blend)
    below, above = _planes(backdrop), _planes(source)
    result = below.copy()
    result[:3] *= result[3]
    _accumulate(result, above[:3], above[3] * np.float32(opacity), blend)
    _unpremultiply(result)
    return np.ascontiguousarray(np.moveaxis(result, 0, -1))


def over(backdrop: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Lay source over backdrop: (H, W, 4) each, straight alpha, [0, 1] -> (H, W, 4)."""
    return composite(backdrop, source, "normal")


def multiply(backdrop: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Multiply backdrop by source where both are opaque: (H, W, 4) each, straight alpha -> (H, W, 4)."""
    return composite(backdrop, source, "multiply")


def screen(backdrop: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Multiply the complements of backdrop and source: (H, W, 4) each, straight alpha -> (H, W, 4)."""
    return composite(backdrop, source, "screen")


def overlay(backdrop: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Multiply dark and screen light parts of the backdrop: (H, W, 4) each, straight alpha -> (H, W, 4)."""
    return composite(backdrop, source, "overlay")


def over_premultiplied(backdrop: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Lay source over backdrop, both premultiplied: (..., 4) each, [0, 1] -> (..., 4); associative."""
    return source + backdrop * (1.0 - source[..., 3:4])


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """Multiply colour by alpha: (..., 4) straight -> (..., 4) premultiplied."""
    result = rgba.copy()
    result[..., :3] *= rgba[..., 3:4]
    return result


def unpremultiply(rgba: np.ndarray) -> np.ndarray:
    """Divide colour by alpha: (..., 4) premultiplied -> (..., 4) straight; black where alpha is 0."""
    alpha = rgba[..., 3:4]
    result = np.zeros_like(rgba)
    np.divide(rgba[..., :3], alpha, out=result[..., :3], where=alpha > 0)
    np.clip(result[..., :3], 0.0, 1.0, out=result[..., :3])
    result[..., 3:4] = alpha
    return result


def unblend(photo: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Solve photo = alpha*fg + (1-alpha)*background for fg.

    photo, background: (H, W, 3), alpha: (H, W) -> fg (H, W, 3), all in [0, 1].
    Where alpha < 1/255 the answer is unobservable; fg is taken from the photo.
    """
    a = alpha[..., None]
    seen = a >= ALPHA_FLOOR
    solved = (photo - (1.0 - a) * background) / np.where(seen, a, 1.0)
    return np.clip(np.where(seen, solved, photo), 0.0, 1.0).astype(photo.dtype)


def matte(rgba: np.ndarray, gray: float) -> np.ndarray:
    """Lay a picture over an even gray: (H, W, 4) straight alpha, gray in [0, 1] -> (H, W, 3)."""
    a = rgba[..., 3:4]
    return (rgba[..., :3] * a + gray * (1.0 - a)).astype(rgba.dtype)


def check_blend(blend: str) -> None:
    """Refuse a blend mode that files cannot carry; raises LayercliError."""
    if blend not in BLENDS:
        raise LayercliError(f'Unknown blend mode "{blend}".', f"Use one of: {', '.join(BLENDS)}.")


def merge(
    width: int,
    height: int,
    sources: Sequence[Source],
    *,
    quantized: bool = False,
    ground: float | None = None,
) -> np.ndarray:
    """Flatten pictures, back to front, onto a transparent canvas, tile by tile.

    Returns (4, height, width) straight alpha: float32 in [0, 1], or uint8 where quantized is set. ground: an
    even gray laid under the finished picture, which is then opaque.
    Memory: the result and a few tiles, whatever the number of sources.
    """
    result = np.empty((4, height, width), dtype=np.uint8 if quantized else np.float32)
    rows, columns = _TILE

    def band(top: int) -> None:
        for left in range(0, width, columns):
            _merge_tile(result[:, top : top + rows, left : left + columns], sources, left, top, ground)

    each(band, range(0, height, rows), width * height)
    return result


def _merge_tile(
    tile: np.ndarray, sources: Sequence[Source], left: int, top: int, ground: float | None
) -> None:
    """Fill one tile (4, h, w) of the result, whose corner is at left, top of the canvas."""
    parts = [part for part in (_part(source, left, top, tile.shape) for source in sources) if part]
    hidden = max((index for index, part in enumerate(parts) if part.covers(tile.shape)), default=0)
    parts = parts[hidden:]  # what lies under an opaque part cannot be seen
    if len(parts) == 1 and parts[0].covers(tile.shape) and parts[0].planes.dtype == tile.dtype:
        tile[...] = parts[0].planes
        return
    # Colours are counted in levels where the result is: that saves a pass at either end.
    scale = 255.0 if tile.dtype == np.uint8 else 1.0
    below = np.zeros(tile.shape, dtype=np.float32)
    for part in parts:
        alpha = part.alpha()
        if alpha.max() > 0.0:
            _accumulate(below[(slice(None), *part.where)], part.planes[:3], alpha, part.source.blend, scale)
    if below[3].min() < 1.0:
        if ground is None:
            _unpremultiply(below, scale)
        else:
            below[:3] += (1.0 - below[3]) * np.float32(ground * scale)
            below[3] = 1.0
    if tile.dtype == np.uint8:
        below[3] *= np.float32(scale)
        round_levels(below, tile)
    else:
        np.clip(below, 0.0, 1.0, out=tile)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The part of a source inside a tile: its planes, its mask, and where in the tile it lies."""

    source: Source
    planes: np.ndarray
    mask: np.ndarray | None
    where: tuple[slice, slice]

    def covers(self, shape: tuple[int, ...]) -> bool:
        """Whether the whole tile is hidden behind this part."""
        if self.planes.shape != shape or self.source.blend != "normal" or self.source.opacity != 1.0:
            return False
        channels = [self.planes[3]] if self.mask is None else [self.planes[3], self.mask]
        return all(bool(channel.min() == (255 if channel.dtype == np.uint8 else 1.0)) for channel in channels)

    def alpha(self) -> np.ndarray:
        """Alpha (h, w) with mask and opacity in it."""
        alpha = _unit(self.planes[3])
        if self.mask is not None:
            alpha = alpha * _unit(self.mask)
        if self.source.opacity != 1.0:
            alpha = alpha * np.float32(self.source.opacity)
        return alpha


def _part(source: Source, left: int, top: int, shape: tuple[int, ...]) -> _Part | None:
    """The part of a source inside a tile, None where they do not meet."""
    _, rows, columns = shape
    _, h, w = source.planes.shape
    y0, y1 = max(top, source.top), min(top + rows, source.top + h)
    x0, x1 = max(left, source.left), min(left + columns, source.left + w)
    if y0 >= y1 or x0 >= x1 or source.opacity == 0.0:
        return None
    inside = (slice(y0 - source.top, y1 - source.top), slice(x0 - source.left, x1 - source.left))
    return _Part(
        source=source,
        planes=source.planes[(slice(None), *inside)],
        mask=None if source.mask is None else source.mask[inside],
        where=(slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
    )


def _accumulate(
    below: np.ndarray, colours: np.ndarray, alpha: np.ndarray, blend: str, scale: float = 1.0
) -> None:
    """Composite colours (3, h, w) with alpha (h, w) onto premultiplied planes (4, h, w), in place.

    With ab, as the two alphas and c = a*C premultiplied, the general formula
    ar*Cr = (1-as)*ab*Cb + as*(1-ab)*Cs + as*ab*B(Cb, Cs)   (PDF 1.7, 11.3.6)
    turns into polynomials of cb and cs for each of the four modes. scale: what 1 is in the colours below.
    """
    ab = below[3]
    rest = 1.0 - alpha
    solid = bool(ab.min() == 1.0)  # then 1 - ab is 0, and ab stays 1
    full = 255.0 if colours.dtype == np.uint8 else 1.0
    hides = blend == "normal" and bool(alpha.min() == 1.0)
    # cs in the unit of the planes below for "normal", which only adds; from 0 to 1 where it is a factor.
    unit = (scale if blend == "normal" else 1.0) / full
    weight = alpha if unit == 1.0 else alpha * np.float32(unit)
    for cb, plane in zip(below[:3], colours, strict=True):
        if hides:  # nothing of the backdrop is left
            np.multiply(plane, np.float32(scale / full), out=cb)
            continue
        cs = np.multiply(plane, weight, dtype=np.float32)
        if blend == "normal":  # B = Cs
            cb *= rest
            cb += cs
        elif blend == "multiply":  # B = Cb*Cs
            lone = None if solid else cs * (1.0 - ab) * np.float32(scale)
            cs += rest
            cb *= cs
            if lone is not None:
                cb += lone
        elif blend == "screen":  # B = Cb + Cs - Cb*Cs
            cb += cs * (np.float32(scale) - cb)
        else:  # overlay, B = HardLight(Cs, Cb): multiply the dark half of the backdrop, screen the light half
            top = ab * np.float32(scale)
            dark = 2.0 * cb * cs
            light = alpha * top - 2.0 * (top - cb) * (alpha - cs)
            cb[...] = np.where(2.0 * cb <= top, dark, light) + cs * (np.float32(scale) - top) + cb * rest
    if not solid:
        ab *= rest
        ab += alpha


def _unpremultiply(planes: np.ndarray, scale: float = 1.0) -> None:
    """Turn (4, h, w) premultiplied planes into straight alpha in place; black where alpha is 0."""
    alpha = planes[3]
    np.clip(alpha, 0.0, 1.0, out=alpha)
    if alpha.min() < 1.0:
        planes[:3] /= np.where(alpha > 0.0, alpha, np.float32(1.0))
    np.clip(planes[:3], 0.0, scale, out=planes[:3])


def _planes(rgba: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.asarray(rgba, dtype=np.float32), -1, 0)


def _unit(plane: np.ndarray) -> np.ndarray:
    """A plane as float32 in [0, 1]."""
    if plane.dtype == np.uint8:
        return np.multiply(plane, np.float32(1.0 / 255.0), dtype=np.float32)
    return plane
