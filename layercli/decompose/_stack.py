"""From what was taken off a photo to a stack of layers that is the photo again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from layercli.core.effects import effect_layers, free_name
from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer, LayerStack
from layercli.decompose._exact import behind, in_levels, laid_over, over_exactly
from layercli.vision.grids import Window, window_around

Taken = tuple[Window, np.ndarray, np.ndarray]
"""Where an object is, its alpha (h, w) in levels and its colours (h, w, 3) there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """An object taken off a picture.

    window: where; alpha: (h, w) in levels; colour: (h, w, 3) as wanted; target: (h, w, 3) what it and all
    behind it must give.
    """

    name: str
    window: Window
    alpha: np.ndarray
    colour: np.ndarray
    target: np.ndarray


def solved(left: np.ndarray, light: np.ndarray, pieces: list[Piece]) -> LayerStack:
    """The stack whose 8-bit composite is the photo, from pieces back to front.

    left: (H, W, 3) the background under its shadows, in levels; light: (H, W) what shadows leave of light.
    """
    shaded = light < 1
    layers: list[Layer] = []
    if shaded.any():
        area = window_around(shaded, 4)
        ground = left.copy()
        bright = in_levels(np.clip(left[area] / light[area][..., None], left[area], 1))
        ground[area] = bright
        shadows, _ = effect_layers(bright, left[area], shadows_name="shadow", group=())
        layers += [_opaque(ground), dataclasses.replace(shadows, offset=_corner(area))]
        seen = shadows.rgba[..., 3:] * shadows.rgba[..., :3] + (1 - shadows.rgba[..., 3:])
        below = ground.copy()
        below[area] = bright * seen
    else:
        layers.append(_opaque(left))
        below = left.copy()
    names = {layer.name for layer in layers}
    for piece in pieces:
        colour = over_exactly(below[piece.window], piece.target, piece.alpha, piece.colour)
        below[piece.window] = laid_over(below[piece.window], piece.alpha, colour)
        rgba = np.concatenate([colour, piece.alpha[..., None]], axis=-1)
        name = free_name(piece.name, names)
        names.add(name)
        layers.append(Layer(name=name, rgba=rgba, offset=_corner(piece.window)))
    return LayerStack(canvas=Size(left.shape[1], left.shape[0]), layers=tuple(layers))


def solved_from(
    photo: np.ndarray,
    names: Sequence[str],
    drawn: Sequence[np.ndarray],
    taken: Callable[[int, np.ndarray], Taken | None] | None = None,
) -> LayerStack | None:
    """The stack that is the photo, from what a model drew of it: alpha and colours are its guess.

    photo: (H, W, 3) in levels; drawn: (H, W, 4) each, back to front, the background first, whose alpha does
    not count; names: of the others. taken: the number of an object and what is left of the photo -> what is
    taken off it instead of what was drawn. Empty layers are left out; None where all are.
    """
    scene, *objects = drawn
    below = [scene[..., :3]]
    for rgba in objects[:-1]:
        below.append(laid_over(below[-1], rgba[..., 3], rgba[..., :3]))
    left = photo.copy()
    pieces: list[Piece] = []
    for number in reversed(range(len(objects))):
        found = _as_drawn(objects[number]) if taken is None else taken(number, left)
        if found is None:
            continue
        window, alpha, colour = found
        target = left[window].copy()
        left[window] = behind(target, alpha, colour, below[number][window])
        pieces.append(Piece(name=names[number], window=window, alpha=alpha, colour=colour, target=target))
    if not pieces:
        return None
    return solved(left, np.ones(photo.shape[:2], dtype=np.float32), pieces[::-1])


def _as_drawn(rgba: np.ndarray) -> Taken | None:
    alpha = in_levels(rgba[..., 3])
    if not alpha.any():
        return None
    window = window_around(alpha > 0, 4)
    return window, alpha[window], rgba[window][..., :3]


def _opaque(rgb: np.ndarray) -> Layer:
    rgba = np.empty((*rgb.shape[:2], 4), dtype=np.float32)
    rgba[..., :3], rgba[..., 3] = rgb, 1
    return Layer(name="background", rgba=rgba)


def _corner(window: Window) -> Offset:
    return Offset(int(window[1].start), int(window[0].start))
