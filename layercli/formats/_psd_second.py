"""A second opinion on what a PSD shows: psd-tools draws adjustments, effects and blend modes that we do not.

It is believed where it passes a test on the file itself: it must draw the old picture as the program did that
saved it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from psd_tools import PSDImage
from psd_tools.psd.document import PSD

from layercli.formats._psd_raw import RawFile
from layercli.formats._psd_read import strict

NEAR = 2
"""Levels of 255 by which a picture may differ from the stored one and be believed."""

_MARGIN = 64
"""Pixels around a change in which effects of layers may reach."""

_MOST_PIXELS = 1 << 23

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Redrawn:
    """A part of a picture drawn again.

    box: left, top, right, bottom; levels: (4, h, w) colours over white and alpha, of 8 or 16 bits; changed:
    where it is another than before (h, w); away: how far the old picture was from the stored one, of 255.
    """

    box: Box
    levels: np.ndarray
    changed: np.ndarray
    away: float


def redrawn(before: RawFile, after: RawFile, stored: np.ndarray, changed: np.ndarray) -> Redrawn | None:
    """Draw what an edit has changed; None where it cannot be drawn, or not as the file's own program does.

    before, after: the file on one canvas; stored: its old picture, (C, H, W) levels with the colours first;
    changed: where the edit shows by our own drawing, (H, W).
    """
    height, width = changed.shape
    boxes = [(0, 0, width, height)]
    if changed.any():
        boxes = [_around(changed), *boxes]
    elif _looks(before) == _looks(after):  # only a name, say
        return None
    for box in dict.fromkeys(boxes):
        left, top, right, bottom = box
        if (right - left) * (bottom - top) > _MOST_PIXELS:
            return None
        old, new = _drawn(before, box), _drawn(after, box)
        if old is None or new is None:
            return None
        most = np.iinfo(stored.dtype).max
        off = np.abs(old[:3] - stored[:3, top:bottom, left:right].astype(np.float32) / most)
        away = round(float(off.max()) * 255, 3)  # of float errors
        if away > NEAR:
            return None
        levels = np.rint(new * most).astype(stored.dtype)
        differs = (levels != np.rint(old * most).astype(stored.dtype)).any(axis=0)
        if not _reaches_out(differs, box, (width, height)):
            return Redrawn(box=box, levels=levels, changed=differs, away=away)
    return None


def _around(changed: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    height, width = changed.shape
    return (
        max(0, int(columns[0]) - _MARGIN), max(0, int(rows[0]) - _MARGIN),
        min(width, int(columns[-1]) + 1 + _MARGIN), min(height, int(rows[-1]) + 1 + _MARGIN),
    )  # fmt: skip


def _looks(raw: RawFile) -> list[object]:
    """All that makes a difference to a picture whose pixels are the same, adjustments included."""
    return [(each.divider, each.box, each.looks, each.blend, each.mask) for each in raw.records]


def _reaches_out(differs: np.ndarray, box: Box, size: tuple[int, int]) -> bool:
    """Whether a change goes on beyond the box, where that is not the end of the canvas."""
    left, top, right, bottom = box
    edges = [
        (left > 0, differs[:, 0]), (top > 0, differs[0]),
        (right < size[0], differs[:, -1]), (bottom < size[1], differs[-1]),
    ]  # fmt: skip
    return any(inner and bool(edge.any()) for inner, edge in edges)


def _drawn(raw: RawFile, box: Box) -> np.ndarray | None:
    """A part of a file's picture as psd-tools draws it: (4, h, w) in [0, 1], colours over white; or None."""
    from psd_tools.composite import composite

    try:
        with strict():
            image = PSDImage(PSD.read(io.BytesIO(b"".join(raw.pieces()))))
            colours, _, alpha = composite(image, viewport=box)
    except Exception:  # an opinion that cannot be given is none, whatever the reason
        return None
    colours, alpha = np.moveaxis(colours, -1, 0)[:3], np.moveaxis(alpha, -1, 0)[:1]
    whole: np.ndarray = np.concatenate([colours * alpha + 1 - alpha, alpha])
    return whole.clip(0, 1) if np.isfinite(whole).all() else None
