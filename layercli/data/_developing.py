"""From what the camera saw to a layered picture: shadows, the order of layers, checks, captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from layercli.data._furniture import Piece
from layercli.data._layered_source import Layered, Limits, areas_of, box_of
from layercli.data._placing import Thing
from layercli.data._rendering import View
from layercli.data._scenery import Place, called
from layercli.data._shade import Lamps, Maps, hidden
from layercli.data.captions import article, plain_noun

STYLE = "3d render"
KEY_BLUR, SKY_BLUR = 0.8, 3.0
"""How far shadows on the ground are softened, in pixels of 256: the eye would see the single directions."""
SEEN_BEHIND, SEEN_WHOLE = 0.03, 0.45
"""What a piece of the background needs for the caption to name it: share of the picture that it covers, share
of its own box that is in the picture."""
MISTAKEN = 0.03
"""Share of a layer's pixels at which a layer below it may stand before it."""
SMALLEST_STEP = 2e-5
"""Difference of two depths that says which is nearer."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One layer of a scene as the camera sees it: a thing, or the ground, with the maps of what it shades."""

    view: View
    thing: Thing | None = None
    maps: Maps | None = None


def developed(
    place: Place,
    ground: Seen,
    things: Sequence[Seen],
    far: np.ndarray,
    light: Lamps,
    limits: Limits,
    rng: np.random.Generator,
) -> Layered | str:
    """A layered picture of a scene, or why it is none.

    far: (H, W, 3), what lies behind the ground. Every foreground keeps its own light; its shadow, and the
    shadows that fall on it, are in the whole picture alone.
    """
    backs = [seen for seen in things if seen.thing and not seen.thing.front]
    fronts = in_order([seen for seen in things if seen.thing and seen.thing.front])
    if fronts is None:
        return "no order of layers"
    backs = [ground, *sorted(backs, key=lambda seen: -_middle_depth(seen))]
    if any(stands_before(back, front) > MISTAKEN for back in backs for front in fronts):
        return "behind the background"
    strength = rng.uniform(0.65, 1.0)
    tint = (1 + rng.normal(0, 0.03, 3)) * rng.uniform(0.9, 1.06)
    alone, whole = far, far
    for seen in backs:
        alone = _over(seen, alone, darkness(seen, backs, light) * strength)
        whole = _over(seen, whole, darkness(seen, [*backs, *fronts], light) * strength)
    for seen in fronts:
        whole = _over(seen, whole, darkness(seen, [*backs, *fronts], light) * strength)
    layers = [_tinted(seen.view.rgba, tint) for seen in fronts]
    areas, visible = areas_of(layers)
    if min(areas) < limits.smallest or max(areas) > limits.largest:
        return "too small or too large"
    if min(visible) < limits.visible:
        return "hidden"
    if max(float(_rim(layer[..., 3]).max()) for layer in layers) > 0.5:
        return "cropped away"
    row = _row(place, backs[1:], fronts, rng) | {
        "boxes": [box_of(layer[..., 3]) for layer in layers],
        "areas": [round(area, 4) for area in areas],
        "visible": [round(share, 4) for share in visible],
    }
    opaque = [_tinted(np.dstack([rgb, np.ones(rgb.shape[:2])]), tint) for rgb in (alone, whole)]
    frames = np.stack([opaque[0], *layers, opaque[1]])
    return Layered(frames=np.rint(frames * 255).astype(np.uint8), row=row)


def darkness(seen: Seen, others: Sequence[Seen], light: Lamps) -> np.ndarray:
    """Share of the light that other things keep from a layer, at every pixel: (H, W) in [0, 1]."""
    positions, dark = seen.view.positions(), np.zeros(seen.view.depth.shape)
    for rows, step, blur in ((slice(0, light.keys), 1, KEY_BLUR), (slice(light.keys, None), 2, SKY_BLUR)):
        there = seen.view.depth[::step, ::step] < 1
        points, shares = positions[::step, ::step][there], light.shares[rows, None]
        free = np.ones((len(shares), len(points)), np.float32)
        for other in others:
            if other.maps is not None and other is not seen:
                free *= 1 - hidden(points, other.maps, rows, soft=step == 1)
        plane = np.zeros(there.shape)
        plane[there] = (shares * (1 - free)).sum(0)
        if seen.thing is None:
            plane = gaussian_filter(plane, blur * len(plane) / 256)
        dark += plane.repeat(step, 0).repeat(step, 1)
    return dark.clip(0, 0.9)


def stands_before(first: Seen, second: Seen) -> float:
    """Share of the second's pixels at which the first is nearer to the camera."""
    mine = second.view.rgba[..., 3] > 0.5
    nearer = mine & (second.view.depth < 1) & (first.view.depth < second.view.depth - SMALLEST_STEP)
    nearer &= first.view.rgba[..., 3] > 0.5
    return float(nearer.sum() / max(1, mine.sum()))


def in_order(fronts: Sequence[Seen]) -> list[Seen] | None:
    """Layers back to front, as they cover each other in the scene; None where no order does it."""
    ordered: list[Seen] = []
    for seen in fronts:
        place = len(ordered)
        while place and stands_before(ordered[place - 1], seen) > stands_before(seen, ordered[place - 1]):
            place -= 1
        ordered.insert(place, seen)
    for number, back in enumerate(ordered):
        if any(stands_before(back, front) > MISTAKEN for front in ordered[number + 1 :]):
            return None
    return ordered


def _row(
    place: Place, backs: Sequence[Seen], fronts: Sequence[Seen], rng: np.random.Generator
) -> dict[str, Any]:
    """Captions, nouns, sources and licences."""
    told = [
        called(seen.thing.piece) if rng.random() < 0.5 else _plainly(seen.thing.piece)
        for seen in backs
        if seen.thing and _is_shown(seen)
    ]
    captions = [place.told(told, rng), *(called(seen.thing.piece) for seen in fronts if seen.thing)]
    nouns = [plain_noun(caption) for caption in captions]
    used = [seen.thing.piece for seen in (*backs, *fronts) if seen.thing]
    return {
        "captions": [*captions, f"{' and '.join(captions[1:])}, {captions[0]}"],
        "nouns": [article(noun) if noun else None for noun in nouns],
        "style": STYLE,
        "sources": sorted({piece.source for piece in used}),
        "licences": sorted({piece.licence for piece in used}),
        "works": [piece.model for piece in used],
    }


def _plainly(piece: Piece) -> str:
    noun = plain_noun(called(piece))
    return article(noun) if noun else called(piece)


def _is_shown(seen: Seen) -> bool:
    """Whether a piece of the background is large and whole enough for a caption to name it."""
    assert seen.thing is not None
    flat = np.concatenate([seen.thing.corners(), np.ones((8, 1))], 1) @ seen.view.projection.T
    if (flat[:, 3] < 0.05).any():
        return False
    x, y = (flat[:, :2] / flat[:, 3:]).T
    inside = np.ptp(x.clip(-1, 1)) * np.ptp(y.clip(-1, 1))
    return bool(inside > SEEN_WHOLE * np.ptp(x) * np.ptp(y) and seen.view.rgba[..., 3].mean() > SEEN_BEHIND)


def _middle_depth(seen: Seen) -> float:
    there = seen.view.depth[seen.view.depth < 1]
    return float(np.median(there)) if there.size else 1.0


def _over(seen: Seen, below: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """A layer, darkened, over what lies below it (H, W, 3)."""
    colour, alpha = seen.view.rgba[..., :3], seen.view.rgba[..., 3:]
    return colour * (1 - dark)[..., None] * alpha + below * (1 - alpha)


def _tinted(rgba: np.ndarray, tint: np.ndarray) -> np.ndarray:
    return np.concatenate([(rgba[..., :3] * tint).clip(0, 1), rgba[..., 3:]], -1).astype(np.float32)


def _rim(alpha: np.ndarray) -> np.ndarray:
    return np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
