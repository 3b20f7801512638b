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
from layercli.decompose._looking import (
    MUCH,
    SURER,
    added,
    at_point,
    in_box,
    left_out,
    nearer_look,
    same,
    whole_at,
    whole_in,
)
from layercli.vision.classical import CUT_PIXELS, cut
from layercli.vision.grids import disc, resized, scaled
from layercli.vision.nets import mattes
from layercli.vision.saliency import Finder

if TYPE_CHECKING:
    from layercli.vision.named import Segmenter

FINE = 0.75
"""The share of a picture's longer side from which on a net that sees so many pixels sees all of it."""
MOST_FOUND = 3
"""Objects that are taken off unasked: with the background four layers, as in DreamLayer."""


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
        Found(name=name, mask=resized(open_mask(path, photo, resizable=False), height, width), drawn=True)
        for name, path in request.masks.items()
    ]
    netted = (request.boxes or request.points) and not names.segmenter and finder.name != "classical"
    surely = finder(look) if netted else None
    wholes: dict[str, np.ndarray] = {}
    for name, place in request.boxes.items():
        left, top, right, bottom = _pixels(place, name, photo, look)
        if names.segmenter:
            sides = left / width, top / height, right / width, bottom / height
            found.append(Found(name=name, mask=_segmenter(names)(look, box=sides), asked=True))
            continue
        box = (left, top, right, bottom)
        found.append(Found(name=name, mask=in_box(look, box, finder), asked=True))
        if surely is not None:
            wholes[name] = whole_in(surely, box)
    for name, place in request.points.items():
        x, y = _pixels(place, name, photo, look)
        if names.segmenter:
            mask = _segmenter(names)(look, point=(x / width, y / height))
            found.append(Found(name=name, mask=mask, asked=True))
            continue
        point = (min(x, width - 1), min(y, height - 1))
        found.append(Found(name=name, mask=at_point(look, point, finder, surely), asked=True))
        if surely is not None:
            wholes[name] = whole_at(surely, point)
    if surely is not None:
        grain = max(look.shape) / finder.side
        found = [_completed(entry, found, surely, wholes.get(entry.name), grain) for entry in found]
    if request.sought:
        found += _looked_for(request.sought, look, names)
    for entry in found:
        if not (entry.mask > 0.5).any():
            hint = "Draw it broader." if entry.drawn else "Try a --mask, or a tighter --box."
            raise LayercliError(f'Nothing was found for "{entry.name}".', hint)
    return found


def _completed(
    entry: Found, found: Sequence[Found], surely: np.ndarray, whole: np.ndarray | None, grain: float
) -> Found:
    """An object that is asked for, with the small pieces that the whole view is sure are its own, or are not.

    surely: (h, w) what stands out in the whole view; whole: of it, what may be the object. Larger pieces may
    be something else that it touches, and what another object holds is not its own. Where the whole view sees
    another thing or nothing, it has no say in what a nearer one adds.
    """
    if whole is None:
        return entry
    theirs = np.any([other.mask > 0.5 for other in found if other is not entry], axis=0)
    pieces = [
        piece for piece in left_out(whole, entry.mask, grain, MUCH) if not (theirs & (piece > 0.5)).any()
    ]
    mask = entry.mask
    if same(whole, mask):
        mask = np.where(added(surely, mask, grain), np.float32(0), mask)
    return dataclasses.replace(entry, mask=np.maximum.reduce([mask, *pieces]))


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
    sure of stays. To a net that sees all of the whole view already, a nearer one shows nothing more; and one
    that answers with alpha knows its object by what is around it.
    """
    if not finder.side or finder.side >= FINE * max(look.shape[:2]) or mattes(finder.name):
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
        seen = at_point(look, (int(x), int(y)), finder, surely)
        seen = np.where(added(surely, seen, grain), 0, seen).astype(np.float32)
        taken = np.maximum.reduce([np.zeros_like(seen), *kept])
        if not ((seen > 0.5) & (taken > 0.5)).sum() > 0.5 * (seen > 0.5).sum():
            whole = np.maximum.reduce([seen, *left_out(mask, seen, grain)])
            kept.append(np.minimum(whole, 1 - taken))
    return kept


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
    mixed = whole and any(0 < side < 1 for side in place)
    if mixed or max(shares) > 1:
        shown = ",".join(f"{side:g}" for side in place)
        wrong = "mixes fractions and pixels" if mixed else f"lies outside the photo of {photo}"
        raise LayercliError(
            f'The place of "{name}", {shown}, {wrong}.',
            "Give fractions from 0 to 1, or pixels of the photo.",
        )
    return [round(share * small) for share, (_, small) in zip(shares, sides[: len(shares)], strict=True)]
