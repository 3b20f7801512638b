"""Looking for one object: in a box that a person drew, at a point, or nearer where something was seen.

A salient-object net finds what is large in its view: where it looks decides what it sees.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from layercli.vision.classical import CUT_PIXELS, cut
from layercli.vision.grids import disc, resized, scaled, window_around
from layercli.vision.saliency import Finder, find_in

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""

MARGINS = (0.2, 0.4, 0.1, 0.8)
"""How much around a box a net is shown, as shares of it: what it finds depends on it, and a mask that reaches
all sides of the box that a person drew is the right one more often than not."""
BETTER, DOUBTFUL = 0.02, 0.65
"""By how much a later look must fill the box better; below what fit a cut by colour is tried as well."""

VIEWS = (0.7, 0.5, 0.35, 0.25)
"""Sides of the views on a point, as shares of the root of the picture's area, after the whole picture."""
NEAR, LOOKS = 0.3, 4
"""How much around what was found is looked at next, as a share of its size, and how often at most."""
AGREED, STEADY = 0.9, 0.5
"""The IoU from which on two answers are one; that below which a nearer look has lost what was looked at."""
SLIVER, MUCH, MOST = 0.005, 0.25, 1.0
"""Shares of what a nearer view sees: what it leaves out is the rim's below the first; another object perhaps
above the second; and above the last it leaves out most, and is doubtful itself."""
THICK = 3.0
"""Pixels of a net's own from which on what lies so far from an outline is too thick to be missed by it."""
SURE, SURER = 0.8, 0.9
"""How sure the whole view must be of it, on average, for it to stay; of what may be another object."""


def in_box(look: np.ndarray, box: Box, finder: Finder) -> np.ndarray:
    """The object in a box (left, top, right, bottom): what stands out there, nothing of it far outside."""
    height, width = look.shape[:2]
    left, top, right, bottom = box = _wide_enough(box)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    inside = _inside((height, width), box)
    surely, fits = np.zeros((height, width), dtype=np.float32), 0.0
    if finder.name != "classical":
        for margin in MARGINS:
            seen = np.where(inside, find_in(finder, look, box, margin), 0)
            if _fills(seen, box) > fits + BETTER:
                surely, fits = seen, _fills(seen, box)
            if fits > 1 - BETTER:  # no other look can be better by so much
                break
    if fits < DOUBTFUL:
        y, x = (rows - (top + bottom) / 2) / (bottom - top), (columns - (left + right) / 2) / (right - left)
        prior = np.clip(0.85 - 1.2 * (x * x + y * y), 0.1, 0.9)
        by_colour = _cut(look, prior, outside=~inside)
        if _fills(by_colour, box) > fits + 0.1 or not fits:
            surely = by_colour
    return surely.astype(np.float32)


def _wide_enough(box: Box) -> Box:
    left, top, right, bottom = box
    return left, top, max(right, left + 2), max(bottom, top + 2)


def _inside(shape: tuple[int, ...], box: Box) -> np.ndarray:
    """What lies in a box or hardly outside: (h, w) bool."""
    left, top, right, bottom = _wide_enough(box)
    slack = 0.04 * max(right - left, bottom - top)
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])
    down = (rows >= top - slack) & (rows < bottom + slack)
    return np.asarray(down & (columns >= left - slack) & (columns < right + slack))


def _fills(mask: np.ndarray, box: Box) -> float:
    """How well a mask (h, w) fills a box from side to side: the IoU of the mask's own box with it."""
    solid = mask > 0.5
    if not solid.any():
        return 0.0
    rows, columns = window_around(solid, 0)
    across = min(box[2], columns.stop) - max(box[0], columns.start)
    down = min(box[3], rows.stop) - max(box[1], rows.start)
    both = max(0, across) * max(0, down)
    own = (columns.stop - columns.start) * (rows.stop - rows.start)
    return both / (own + (box[2] - box[0]) * (box[3] - box[1]) - both)


def at_point(
    look: np.ndarray, point: tuple[int, int], finder: Finder, surely: np.ndarray | None = None
) -> np.ndarray:
    """The object under a point (x, y): what most views on it, near and far, agree on.

    surely: (h, w) what the finder sees in the whole view, where it has been asked already.
    """
    if finder.name != "classical":
        answers: list[np.ndarray] = []
        for number, view in enumerate(_views(look.shape[:2], point)):
            seen = find_in(finder, look, view, 0.0) if number or surely is None else surely
            mask = _part_at(seen, point)
            for _ in range(LOOKS):
                if mask is None:
                    break
                answers.append(mask)
                nearer = _part_at(find_in(finder, look, _box_of(mask), NEAR), point)
                if nearer is not None and _iou(nearer, mask) > AGREED:
                    answers.append(nearer)
                    break
                mask = nearer
            if len(answers) > 3 and min(_iou(answers[0], other) for other in answers[1:]) > AGREED:
                break
        if answers:
            support = [sum(_iou(one, other) ** 2 for other in answers) for one in answers]
            return answers[int(np.argmax(support))]
    return _by_colour_at(look, point)


def nearer_look(look: np.ndarray, mask: np.ndarray, finder: Finder) -> np.ndarray | None:
    """What stands out where something was seen, looked at from near; None where that is something else."""
    if finder.name == "classical":
        return mask
    seen = find_in(finder, look, _box_of(mask), NEAR)
    numbers, count = ndimage.label(seen > _THERE)
    if not count:
        return None
    shared = np.bincount(numbers[mask > 0.5].ravel(), minlength=count + 1)[1:]
    part = numbers == 1 + int(shared.argmax())
    nearer = np.where(disc(part, 4), seen, 0).astype(np.float32)
    return nearer if same(nearer, mask) else None


def whole_in(surely: np.ndarray, box: Box) -> np.ndarray:
    """Of what stands out in the whole view (h, w), the parts that end with a box, but for a few pixels."""
    inside = _inside(surely.shape, box)
    numbers, count = ndimage.label(surely > 0.5)
    own = [number for number in range(1, count + 1) if inside[numbers == number].mean() > AGREED]
    return np.where(inside & disc(np.isin(numbers, own), 4), surely, 0).astype(np.float32)


def whole_at(surely: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    """Of what stands out in the whole view (h, w), the part at a point (x, y)."""
    part = _part_at(surely, point)
    return np.zeros_like(surely) if part is None else part


def added(whole: np.ndarray, seen: np.ndarray, grain: float) -> np.ndarray:
    """Where a nearer view (h, w) adds a piece that the whole view is sure is nothing, and wrongly so: bool.

    grain: pixels to one of the net's own. What is thinner than a few of these only a nearer view can see.
    """
    solid = whole > 0.5
    slack = 2 + 0.03 * float(np.sqrt(solid.sum()))
    numbers, count = ndimage.label((seen > 0.1) & ~disc(solid, slack))
    depth = ndimage.distance_transform_edt(numbers)
    wrong = [
        number
        for number in range(1, count + 1)
        if depth[numbers == number].max() > THICK * grain and whole[numbers == number].mean() < 1 - SURER
    ]
    return np.isin(numbers, wrong)


def left_out(whole: np.ndarray, seen: np.ndarray, grain: float, most: float = np.inf) -> list[np.ndarray]:
    """The pieces of an object's mask (h, w) in the whole view that a nearer view leaves out, and wrongly so.

    The outlines of two views differ by a few pixels, and doubtful pieces are left out rightly. Doubt is asked
    of a piece's inside where it has one, which is a grain (pixels to one of the net's own) from its outline:
    there every mask falls, the sure one too, and thin pieces are mostly rim. most: of what the nearer view
    sees, the share that a piece may have.
    """
    solid = seen > 0.5
    slack = 2 + 0.03 * float(np.sqrt(solid.sum()))
    numbers, count = ndimage.label((whole > 0.5) & ~disc(solid, slack))
    inside = disc(whole > 0.5, -grain)
    pieces = []
    for number in range(1, count + 1):
        piece = numbers == number
        size = piece.sum() / max(1, solid.sum())
        asked = piece & inside if (piece & inside).any() else piece
        if SLIVER < size <= most and whole[asked].mean() > (SURER if MUCH < size < MOST else SURE):
            pieces.append(np.where(disc(piece, slack + 1), whole, 0).astype(np.float32))
    return pieces


def _views(shape: tuple[int, int], point: tuple[int, int]) -> list[Box]:
    """The whole picture, then squares around a point, ever smaller, cut off at its edges."""
    (height, width), (x, y) = shape, point
    views = [(0, 0, width, height)]
    for share in VIEWS:
        half = share * (height * width) ** 0.5 / 2
        left, top = max(0, round(x - half)), max(0, round(y - half))
        views.append((left, top, min(width, round(x + half)), min(height, round(y + half))))
    return views


_THERE = 0.4
"""How sure a net must be of a pixel that belongs to the part that is asked for."""


def _part_at(surely: np.ndarray, point: tuple[int, int]) -> np.ndarray | None:
    """The connected part of what stands out that holds a point (x, y)."""
    numbers, _ = ndimage.label(surely > _THERE)
    number = numbers[point[1], point[0]]
    if not number:
        return None
    return np.where(disc(numbers == number, 4), surely, 0).astype(np.float32)


def _box_of(mask: np.ndarray) -> Box:
    rows, columns = window_around(mask > min(0.5, 0.9 * float(mask.max())), 0)
    return columns.start, rows.start, columns.stop, rows.stop


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two masks (h, w) are of one object, if not of all of it alike."""
    return _iou(one, other) > STEADY


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one > 0.5, other > 0.5
    return float((a & b).sum() / max(1, (a | b).sum()))


def _by_colour_at(look: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    """What has the colours at a point (x, y), cut along edges, where no net finds anything there."""
    height, width = look.shape[:2]
    x, y = point
    rows, columns = np.mgrid[:height, :width]
    apart = np.hypot((rows - y) / height, (columns - x) / width)
    colour = np.abs(look - look[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean(axis=(0, 1))).max(axis=-1)
    prior = np.clip(0.95 - 1.5 * apart - 1.0 * colour, 0.05, 0.95)
    near = apart < 0.02
    surely = _cut(look, prior, inside=near)
    numbers, _ = ndimage.label(surely > 0.5)
    kept = numbers == numbers[y, x] if numbers[y, x] else near
    return np.where(disc(kept, 3), np.maximum(surely, near), 0).astype(np.float32)


def _cut(
    look: np.ndarray,
    prior: np.ndarray,
    *,
    inside: np.ndarray | None = None,
    outside: np.ndarray | None = None,
) -> np.ndarray:
    """vision.classical.cut at its own size."""
    small = scaled(look, CUT_PIXELS)
    height, width = small.shape[:2]

    def shrunk(mask: np.ndarray | None) -> np.ndarray | None:
        return None if mask is None else resized(mask.astype(np.float32), height, width) > 0.5

    prior = resized(prior, height, width)
    return resized(cut(small, prior, inside=shrunk(inside), outside=shrunk(outside)), *look.shape[:2])
