"""From a photo's layers to a layered training picture, if it passes the papers' filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from layercli.core.layers import LayerStack
from layercli.vision.grids import resized

Window = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What LayerDiff asks of an object (arXiv 2403.11929, appendix B).

    smallest, largest: share of the picture under its alpha; salient: the least share of it that stands out;
    nested: the most of it that may lie inside another one; cropped: the least of it that the square holds.
    """

    smallest: float = 0.01
    largest: float = 0.8
    salient: float = 0.1
    nested: float = 0.9
    cropped: float = 0.98


def square_around(alphas: list[np.ndarray]) -> Window:
    """The largest square of a picture, as near as it can be to the middle of all objects; (H, W) each."""
    height, width = alphas[0].shape
    side = min(height, width)
    covered = np.maximum.reduce(alphas) > 0.5
    starts = []
    for across, length in ((1, height), (0, width)):
        line = np.flatnonzero(covered.any(axis=across))
        middle = (line[0] + line[-1] + 1) / 2 if line.size else length / 2
        starts.append(int(np.clip(round(middle - side / 2), 0, length - side)))
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def frames_of(
    stack: LayerStack, photo: np.ndarray, side: int, standing_out: Callable[[], np.ndarray], filters: Filters
) -> tuple[np.ndarray, list[str]] | str:
    """Frames (k + 2, side, side, 4) in [0, 1] and the foregrounds' names, or why the photo is left out.

    photo: (H, W, 3); standing_out: gives (H, W) in [0, 1]. An object that does not pass is put back into the
    background, where nothing that passes lies behind it.
    """
    layers = [layer for layer in stack.layers[1:] if layer.blend == "normal"]
    placed = [stack.placed(layer.name) for layer in layers]
    alphas = [rgba[..., 3] for rgba in placed]
    if not alphas:
        return "nothing stands out"
    window = square_around(alphas)
    salient = standing_out()
    background = stack.placed(stack.layers[0].name)[..., :3].copy()
    kept: list[int] = []
    reasons = []
    for index, alpha in enumerate(alphas):
        others = [other for number, other in enumerate(alphas) if number != index]
        reason = _fault(alpha, others, salient, window, filters)
        if not reason:
            kept.append(index)
            continue
        reasons.append(reason)
        if any(float((alpha * alphas[earlier]).sum()) > 0.01 * alpha.sum() for earlier in kept):
            return reason
        rgb, a = placed[index][..., :3], alpha[..., None]
        background = a * rgb + (1 - a) * background
    if not kept:
        return reasons[0]
    pictures = [_opaque(background), *(placed[index] for index in kept), _opaque(photo)]
    frames = [_small(picture[window], side) for picture in pictures]
    return np.stack(frames), [layers[index].name for index in kept]


def _fault(
    alpha: np.ndarray, others: list[np.ndarray], salient: np.ndarray, window: Window, filters: Filters
) -> str:
    """Why an object is not fit for training; "" if it is."""
    total = max(float(alpha.sum()), 1e-6)
    area = float(alpha[window].mean())
    if float(alpha[window].sum()) < filters.cropped * total:
        return "cropped away"
    if area < filters.smallest or area > filters.largest:
        return "too small or too large"
    if float((alpha * salient).sum()) <= filters.salient * total:
        return "does not stand out"
    solid = alpha > 0.5
    inside = max((float((solid & (other > 0.5)).sum()) for other in others), default=0.0)
    larger = any(float(other.sum()) > total for other in others)
    if larger and inside > filters.nested * max(int(solid.sum()), 1):
        return "inside another"
    return ""


def _opaque(rgb: np.ndarray) -> np.ndarray:
    return np.concatenate([rgb, np.ones_like(rgb[..., :1])], axis=-1)


def _small(rgba: np.ndarray, side: int) -> np.ndarray:
    """A square picture at another size, on premultiplied values -> (side, side, 4)."""
    alpha = rgba[..., 3:]
    both = resized(np.concatenate([rgba[..., :3] * alpha, alpha], axis=-1), side, side)
    colour = both[..., :3] / np.maximum(both[..., 3:], 1e-4)
    return np.clip(np.concatenate([colour, both[..., 3:]], axis=-1), 0, 1)
