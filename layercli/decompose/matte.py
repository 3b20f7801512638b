"""Find what stands out, cut it with a soft outline, complete what is behind: layers that are the photo.

The pipeline by which DreamLayer (arXiv 2503.12838, supplement 1) and MuLAn make their data, front-most object
first: find, cut, order, fill; with colours solved so that the 8-bit layers composite to the photo itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from layercli.core import registry
from layercli.core.decompose_request import DecomposeRequest
from layercli.core.effects import free_name
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.decompose._cutting import Cutting, cut_out
from layercli.decompose._exact import behind, without_ghost
from layercli.decompose._objects import (
    MOST_FOUND,
    Found,
    Names,
    named_objects,
    standing_out,
    without,
)
from layercli.decompose._order import front_first
from layercli.decompose._stack import Piece, solved
from layercli.vision.grids import Window, box_mean, disc, resized
from layercli.vision.nets import weights_of
from layercli.vision.saliency import Finder, open_finder, to_look_at
from layercli.vision.shadows import shadow_of

FILLERS = "layercli.vision.fillers"


@dataclass(frozen=True, kw_only=True)
class Options:
    """net: what finds objects; "auto" takes the best at hand, "classical" needs none. band: half the width in
    which the outline is looked for, as a share of the object's size, at most: less where the net draws it
    finely; pull: how much the net's own mask pulls at alpha there, the more the more finely it is drawn;
    detail: megapixels at which alpha is solved (above, it is carried up along the photo's edges); refine: no
    takes drawn masks as alpha, as they are. shadows: a layer for them. least: the
    smallest share of the photo that counts as an object. fill: what completes the background: patch (patches
    of the photo), smooth (an even surface) or lama (the net of the TorchScript file lama, or of big-lama.pt
    in the caches). radius, reach: of the patches, in pixels, and how far around is looked, in object sizes.
    detector, segmenter: folders of Grounding DINO and Segment Anything, for objects that are looked for by
    name (without, the hub's local cache); a segmenter that is given cuts boxes and points too;
    sure: how surely the detector must see one. depth: the folder of a depth net that says which object is in
    front.
    """

    net: str = "auto"
    band: float = 0.02
    pull: float = 0.4
    detail: float = 0.7
    refine: bool = True
    shadows: bool = True
    least: float = 0.005
    fill: str = "patch"
    lama: str = ""
    radius: int = 3
    reach: float = 1.0
    detector: str = ""
    segmenter: str = ""
    sure: float = 0.25
    depth: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.band <= 0.5:
            raise LayercliError(f"band={self.band:g} is not from 0 to 0.5.", "Try: -O band=0.02")
        if not 0.01 <= self.detail <= 100:
            raise LayercliError(f"detail={self.detail:g} is not from 0.01 to 100.", "Try: -O detail=0.7")
        fillers = registry.plugins(FILLERS)
        if self.fill not in fillers:
            raise LayercliError(f'There is no filler "{self.fill}".', registry.suggest(self.fill, fillers))
        if not 1 <= self.radius <= 10:
            raise LayercliError(f"radius={self.radius} is not from 1 to 10.", "Try: -O radius=3")


def decompose(
    request: DecomposeRequest,
    photo: np.ndarray,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Take a photo apart: the background, a shadow layer where one can be told apart, then the objects.

    photo: (H, W, 3) float32 in [0, 1], in 8-bit levels. Raises LayercliError when nothing is found.
    """
    size = Size(photo.shape[1], photo.shape[0])
    finder = open_finder(options.net, weights_of(options.net) if options.net != "classical" else None)
    left = photo.copy()
    light = np.ones(photo.shape[:2], dtype=np.float32)
    pieces: list[Piece] = []
    on_step(0, 2)
    for found, others, remaining in _front_to_back(request, left, size, finder, options):
        on_step(2 * len(pieces) + 1, 2 * (len(pieces) + 1 + remaining) + 1)
        piece = _taken_off(left, light, found, others, options, request.seed)
        if piece is not None:
            pieces.append(piece)
        on_step(2 * len(pieces), 2 * (len(pieces) + remaining) + 1)
    if not pieces:
        raise _nothing_in(request.photo)
    return solved(left, light, pieces[::-1])


def _nothing_in(photo: str) -> LayercliError:
    return LayercliError(
        f"Nothing stands out in {photo}.",
        "Say where the object is: --box left,top,right,bottom, --point x,y or --mask mask.png",
    )


def _front_to_back(
    request: DecomposeRequest, left: np.ndarray, size: Size, finder: Finder, options: Options
) -> Iterator[tuple[Found, list[Found], int]]:
    """Object after object, front-most first, with those still behind it and how many are to come.

    `left` is the photo without what was taken off so far; it changes between two objects. Where more layers
    are asked for than stand out, what is left is looked at again.
    """
    look = to_look_at(left, finder)
    most = request.layers - 1 if request.layers else MOST_FOUND
    ways = Names(detector=options.detector, segmenter=options.segmenter, sure=options.sure)
    found = named_objects(request, look, size, finder, ways)
    named = bool(found)
    if not named:
        found = standing_out(look, finder, most, options.least)
    if not found:
        raise _nothing_in(request.photo)
    nearness = _nearness(look, options.depth) if len(found) > 1 else None
    taken = 0
    names = {entry.name for entry in found}
    while found:
        first = found[front_first([entry.mask for entry in found], nearness)[0]]
        others = [entry for entry in found if entry is not first]
        yield first, others, len(others)
        taken += 1
        look = to_look_at(left, finder)
        found = without(found, first, look)
        found = [entry for entry in found if (entry.mask > 0.5).any()]
        if not found and request.layers and taken < most:
            again = standing_out(look, finder, 1, options.least)
            found = [dataclasses.replace(entry, name=free_name("object", names)) for entry in again]
            names |= {entry.name for entry in found}


def _nearness(look: np.ndarray, folder: str) -> np.ndarray | None:
    """How near everything is, (h, w), by a depth net where one is given."""
    if not folder:
        return None
    from layercli.vision.depth import depth_net

    return depth_net(folder)(look)


def _taken_off(
    left: np.ndarray, light: np.ndarray, found: Found, others: list[Found], options: Options, seed: int
) -> Piece | None:
    """Cut one object off a picture, and put what lies behind it in its place.

    left: (H, W, 3) the picture in levels, light: (H, W) the shadows on its background; both change in place.
    None where nothing of it can be told from what is around it; raises LayercliError if it was asked for.
    """
    how = Cutting(band=options.band, pull=options.pull, detail=options.detail, refine=options.refine)
    window, alpha, colour = cut_out(left, found, how)
    if not alpha.any():
        if not (found.asked or found.drawn):
            return None
        hint = "Draw its mask broader, or add -O refine=no." if found.drawn else "Give it a --mask."
        raise LayercliError(f'Nothing of "{found.name}" could be told from what is around it.', hint)
    target = left[window].copy()
    solid = np.zeros(light.shape, dtype=np.float32)
    solid[window] = alpha
    if options.shadows:
        _darken(light, left, solid, others)
    hole = alpha > 0
    side = float(np.sqrt(hole.sum()))
    # Compression and blur carry an object's colour a little beyond its outline: nothing is copied from there.
    grown = np.zeros(light.shape, dtype=bool)
    grown[window] = hole
    grown = _grown(grown, window, 2 + 0.01 * side)
    lit = np.minimum(left / light[..., None], 1) if (light < 1).any() else left
    sources = _sources(others, hole, window, light.shape)
    made_up = _filled(lit, grown, sources, options, seed)[window] * light[window][..., None]
    rim = 2 + 0.003 * side
    ring = disc(hole, rim) & (alpha < 1)
    if not (found.asked or found.drawn):  # what a net doubts in breadth is no rim
        ring &= ~disc(hole, -(6 + 2 * options.band * side))
    texture = _texture(left, grown, window, 4 + 0.02 * side)  # of another place is what patches bring
    trusted = 0.0 if found.asked else texture  # what is asked for is rather raised than left behind
    alpha = without_ghost(target, alpha, colour, made_up, ring, trusted)
    left[window] = behind(target, alpha, colour, made_up, texture)
    return Piece(name=found.name, window=window, alpha=alpha, colour=colour, target=target)


def _filled(
    rgb: np.ndarray, hole: np.ndarray, sources: np.ndarray | None, options: Options, seed: int
) -> np.ndarray:
    """A picture completed by the filler that was chosen, with what of the options is meant for it."""
    filler = registry.load(FILLERS, options.fill)
    given = {"radius": options.radius, "reach": options.reach, "weights": options.lama}
    taken = {field.name for field in dataclasses.fields(filler.Options)}
    how = filler.Options(**{name: value for name, value in given.items() if name in taken})
    result: np.ndarray = filler.fill(rgb, hole, seed=seed, sources=sources, how=how)
    return result


def _texture(rgb: np.ndarray, hole: np.ndarray, window: Window, radius: float) -> np.ndarray:
    """By how much colours outside a hole vary within a radius, for every pixel of a window: (h, w)."""
    far = int(radius)
    around = tuple(
        slice(max(0, part.start - far), min(full, part.stop + far))
        for part, full in zip(window, hole.shape, strict=True)
    )
    view, known = rgb[around], ~hole[around]
    spread = _nearby((view * view).sum(axis=-1), known, radius)
    spread -= sum(_nearby(view[..., channel], known, radius) ** 2 for channel in range(3))
    top, left = (part.start - wide.start for part, wide in zip(window, around, strict=True))
    height, width = (part.stop - part.start for part in window)
    return np.sqrt(np.maximum(spread, 0))[top : top + height, left : left + width]


def _nearby(values: np.ndarray, there: np.ndarray, radius: float) -> np.ndarray:
    """The mean of what is there within a radius of every pixel, 0 where nothing is: (h, w), (h, w) bool."""
    share = box_mean(there.astype(np.float32), int(radius))
    total = box_mean(np.where(there, values, np.float32(0)), int(radius))
    return np.where(share > 1e-6, total / np.maximum(share, 1e-6), np.float32(0))


def _grown(mask: np.ndarray, window: Window, radius: float) -> np.ndarray:
    """A mask grown by a radius, computed near its window only."""
    height, width = mask.shape
    far = int(radius) + 2
    area = (
        slice(max(0, window[0].start - far), min(height, window[0].stop + far)),
        slice(max(0, window[1].start - far), min(width, window[1].stop + far)),
    )
    mask[area] = disc(mask[area], radius)
    return mask


def _sources(
    others: list[Found], hole: np.ndarray, window: Window, shape: tuple[int, int]
) -> np.ndarray | None:
    """Where patches may come from: not from objects that will be taken off too, unless they go on behind."""
    barred = None
    for entry in others:
        around = resized(disc(entry.mask > 0.3, 3).astype(np.float32), *shape) > 0.5
        if (around[window] & hole).any():
            continue
        barred = around if barred is None else barred | around
    return None if barred is None else ~barred


def _darken(light: np.ndarray, left: np.ndarray, alpha: np.ndarray, others: list[Found]) -> None:
    """Multiply an object's shadow into the light of the background, in place, but not on other objects."""
    shadow = shadow_of(left, alpha)
    if shadow is None:
        return
    for entry in others:
        shadow[resized(disc(entry.mask > 0.1, 2).astype(np.float32), *light.shape) > 0] = 1
    np.multiply(light, shadow, out=light)
