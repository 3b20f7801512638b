"""Which objects a photo holds: those a person points at, or those that stand out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from layercli.core.decompose_request import DecomposeRequest, Place
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.masks import open_mask
from layercli.decompose._looking import at_point, in_box, nearer_look
from layercli.vision.classical import CUT_PIXELS, cut
from layercli.vision.grids import disc, resized, scaled
from layercli.vision.saliency import Finder

if TYPE_CHECKING:
    from layercli.vision.named import Segmenter

LOOK_PIXELS = 400_000
"""The size at which objects are looked for, where the net sees no more."""
FINE = 0.75
"""The share of a picture's longer side from which on a net that sees so many pixels sees all of it."""
MOST_FOUND = 3
"""Objects that are taken off unasked: with the background four layers, as in DreamLayer."""
SLIVER, MUCH, MOST = 0.005, 0.25, 1.0
"""Shares of what a nearer view sees: what it leaves out is the rim's below the first; another object perhaps
above the second; and above the last it leaves out most, and is doubtful itself."""
THICK = 3.0
"""Pixels of a net's own from which on what lies so far from an outline is too thick to be missed by it."""
SURE, SURER = 0.8, 0.9
"""How sure the whole view must be of it, on average, for it to stay; of what may be another object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """An object: its name, a coarse mask (h, w) in [0, 1] at the size looked at; drawn: by a person; asked:
    by a person, who is sure that there is one.
    """

    name: str
    mask: np.ndarray
    drawn: bool = False
    asked: bool = False


@dataclass(frozen=True, kw_only=True)
class Names:
    """How objects are looked for by name: folders of a detector and a segmenter, "" for the hub's cache.

    sure: the least sureness of the detector that counts.
    """

    detector: str = ""
    segmenter: str = ""
    sure: float = 0.25


def named_objects(
    request: DecomposeRequest, look: np.ndarray, photo: Size, finder: Finder, names: Names
) -> list[Found]:
    """The objects that a request names, in its order. look: the photo (h, w, 3) at the size looked at.

    Raises LayercliError, with the object's name, where a place lies outside or holds nothing.
    """
    height, width = look.shape[:2]
    found = [
        Found(name=name, mask=resized(open_mask(path, photo), height, width), drawn=True)
        for name, path in request.masks.items()
    ]
    for name, box in request.boxes.items():
        left, top, right, bottom = _pixels(box, name, photo, look)
        if names.segmenter:
            sides = left / width, top / height, right / width, bottom / height
            found.append(Found(name=name, mask=_segmenter(names)(look, box=sides), asked=True))
            continue
        mask = in_box(look, (left, top, right, bottom), finder)
        found.append(Found(name=name, mask=mask, asked=True))
    for name, point in request.points.items():
        x, y = _pixels(point, name, photo, look)
        if names.segmenter:
            mask = _segmenter(names)(look, point=(x / width, y / height))
            found.append(Found(name=name, mask=mask, asked=True))
            continue
        mask = at_point(look, (min(x, width - 1), min(y, height - 1)), finder)
        found.append(Found(name=name, mask=mask, asked=True))
    if request.sought:
        found += _looked_for(request.sought, look, names)
    for entry in found:
        if not (entry.mask > 0.5).any():
            raise LayercliError(f'Nothing was found for "{entry.name}".', "Try a --mask, or a tighter --box.")
    return found


def _segmenter(names: Names) -> Segmenter:
    from layercli.vision.named import segmenter_of

    return segmenter_of(names.segmenter)


def _looked_for(sought: Sequence[str], look: np.ndarray, names: Names) -> list[Found]:
    """Objects by their names: the box that fits a name best, and what is in it."""
    from layercli.vision.named import detector_of

    detector, segmenter = detector_of(names.detector), _segmenter(names)
    found = []
    for name in sought:
        box, sure = detector(look, name)
        if sure < names.sure:
            raise LayercliError(
                f'Nothing in the photo looks like "{name}" ({sure:.0%} at best).',
                f'Try other words, -O sure={sure:.2f}, or show where it is: --box "{name}=0.1,0.4,0.5,0.9"',
            )
        plain = name.partition(" ")[2] if name.lower().startswith(("the ", "a ", "an ")) else name
        found.append(Found(name=plain, mask=segmenter(look, box=box), asked=True))
    return found


def to_look_at(photo: np.ndarray, finder: Finder) -> np.ndarray:
    """A photo (H, W, 3) at the size at which objects are looked for, fine enough for what a net can see."""
    return scaled(photo, max(LOOK_PIXELS, finder.side**2))


def standing_out(look: np.ndarray, finder: Finder, most: int, least: float) -> list[Found]:
    """The objects that stand out, the largest first; least: the smallest share of the picture that counts."""
    surely = finder(look)
    numbers, count = ndimage.label(surely > 0.5)
    sizes = ndimage.sum_labels(np.ones_like(surely), numbers, range(1, count + 1)) if count else []
    chosen = [
        (size, index + 1)
        for index, size in enumerate(sizes)
        if least * surely.size < size < 0.9 * surely.size
    ]
    chosen.sort(reverse=True)
    chosen = [entry for entry in chosen if entry[0] > 0.08 * chosen[0][0]][:most]
    # The doubtful pixels belong to the nearest object, and so do small pieces, whole.
    distance, nearest = ndimage.distance_transform_edt(
        ~np.isin(numbers, [index for _, index in chosen]), return_indices=True
    )
    reach = 0.03 * float(np.hypot(*surely.shape))
    owner = numbers[tuple(nearest)] if chosen else numbers
    near = distance <= reach
    for number in np.setdiff1d(numbers[near], [0, *(index for _, index in chosen)]):
        piece = numbers == number
        owner[piece] = owner[piece][np.argmin(distance[piece])]
        near |= disc(piece, reach / 2) & (distance > 0)
    masks = [np.where((owner == index) & near, surely, 0).astype(np.float32) for _, index in chosen]
    masks = _looked_at_again(look, surely, masks, finder)
    names = ["object"] if len(masks) == 1 else [f"object {n}" for n in range(1, len(masks) + 1)]
    return [Found(name=name, mask=mask) for name, mask in zip(names, masks, strict=True)]


def _looked_at_again(
    look: np.ndarray, surely: np.ndarray, masks: list[np.ndarray], finder: Finder
) -> list[np.ndarray]:
    """What stands out from near, too, as most views on its middle see it; no object twice.

    A view from near tells an object from what it touches, but may show it in part: what the whole view is
    sure of stays. To a net that sees all of the whole view already, a nearer one shows nothing more.
    """
    if not finder.side or finder.side >= FINE * max(look.shape[:2]):
        return masks
    steady = [
        mask
        for mask in masks
        if float(mask[mask > 0.5].mean()) > SURER or nearer_look(look, mask, finder) is not None
    ] or masks
    grain = max(look.shape) / finder.side
    kept: list[np.ndarray] = []
    for mask in steady:
        middle = np.argmax(ndimage.distance_transform_edt(np.pad(mask > 0.5, 1))[1:-1, 1:-1])
        y, x = np.unravel_index(int(middle), mask.shape)
        seen = at_point(look, (int(x), int(y)), finder)
        seen = np.where(_added(surely, seen, grain), 0, seen).astype(np.float32)
        taken = np.maximum.reduce([np.zeros_like(seen), *kept])
        if not ((seen > 0.5) & (taken > 0.5)).sum() > 0.5 * (seen > 0.5).sum():
            whole = np.maximum.reduce([seen, *_left_out(mask, seen, grain)])
            kept.append(np.minimum(whole, 1 - taken))
    return kept


def _added(whole: np.ndarray, seen: np.ndarray, grain: float) -> np.ndarray:
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


def _left_out(whole: np.ndarray, seen: np.ndarray, grain: float) -> list[np.ndarray]:
    """The pieces of an object's mask (h, w) in the whole view that a nearer view leaves out, and wrongly so.

    The outlines of two views differ by a few pixels, and doubtful pieces are left out rightly. Doubt is asked
    of a piece's inside where it has one, which is a grain (pixels to one of the net's own) from its outline:
    there every mask falls, the sure one too, and thin pieces are mostly rim.
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
        if size > SLIVER and whole[asked].mean() > (SURER if MUCH < size < MOST else SURE):
            pieces.append(np.where(disc(piece, slack + 1), whole, 0).astype(np.float32))
    return pieces


def without(found: Sequence[Found], taken: Found, filled: np.ndarray) -> list[Found]:
    """The objects that are left when one in front is gone, their masks continued behind it.

    filled: (h, w, 3) the picture without it, at the size looked at.
    """
    hole = taken.mask > 0.1
    left = []
    for entry in found:
        if entry is taken:
            continue
        clear = np.where(hole, 0, entry.mask).astype(np.float32)
        solid = clear > 0.5
        if solid.any() and (disc(solid, 4) & hole).sum() > 12:
            height, width = scaled(hole, CUT_PIXELS).shape
            small_hole = resized(hole.astype(np.float32), height, width) > 0.01
            known = resized(clear, height, width)
            prior = np.where(small_hole, 0.5, np.clip(known, 0.05, 0.95))
            grown = cut(
                resized(filled, height, width),
                prior,
                inside=(known > 0.9) & ~small_hole,
                outside=(known < 0.1) & ~small_hole,
            )
            behind = resized(grown, *hole.shape)
            joined, _ = ndimage.label((behind > 0.5) | solid)
            behind = np.where(np.isin(joined, np.unique(joined[solid])), behind, 0)
            clear = np.where(hole, behind, clear).astype(np.float32)
        left.append(dataclasses.replace(entry, mask=clear))
    return left


def _pixels(place: Place, name: str, photo: Size, look: np.ndarray) -> list[int]:
    """A place in pixels of the size looked at; raises LayercliError outside the photo."""
    sides = [(photo.width, look.shape[1]), (photo.height, look.shape[0])] * 2
    whole = max(place) > 1
    shares = [
        side / full if whole else side for side, (full, _) in zip(place, sides[: len(place)], strict=True)
    ]
    if max(shares) > 1:
        shown = ",".join(f"{side:g}" for side in place)
        raise LayercliError(
            f'The place of "{name}", {shown}, lies outside the photo of {photo}.',
            "Give fractions from 0 to 1, or pixels of the photo.",
        )
    return [round(share * small) for share, (_, small) in zip(shares, sides[: len(shares)], strict=True)]
