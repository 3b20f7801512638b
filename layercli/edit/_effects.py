"""Shadows and light belong to objects: an edit of an object finds its share of them and takes it along."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from layercli.core.effects import EFFECTS_GROUP
from layercli.core.geometry import Offset
from layercli.core.layers import Layer, LayerStack
from layercli.core.trim import visible_box
from layercli.edit._boxes import SEEN, alpha_of, seen_box

_NAME = re.compile(r"(shadows|light)(?: \d+)?(?: of (.+))?", re.DOTALL)


def is_effect(layer: Layer) -> bool:
    """Whether a layer holds shadows or light that were made for objects."""
    named = _NAME.fullmatch(layer.name) is not None
    return named and layer.group[:1] == EFFECTS_GROUP and layer.blend in ("multiply", "screen")


def owned(stack: LayerStack, name: str) -> tuple[LayerStack, tuple[str, ...]]:
    """The shadow and light layers of an object, and the stack in which they are layers of their own.

    Where several objects share one layer it is cut into one for each, every pixel going to the object that
    is nearest: laid over each other they are the shared one again, to the bit. What is no object has none.
    """
    own = own_effects(stack, (name,))
    if own or is_effect(stack.layer(name)):
        return stack, own
    shared, sharing = _shared(stack)
    if not shared or name not in {layer.name for layer in sharing}:
        return stack, ()
    if len(sharing) == 1:
        return stack, tuple(layer.name for layer in shared)
    stack = _cut(stack, shared, sharing)
    return stack, own_effects(stack, (name,))


def together(
    stack: LayerStack, names: Sequence[str]
) -> tuple[LayerStack, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Layers, each with the shadow and light that go with it, none twice; and the stack in which they are.

    What is shared is cut before anything is changed; where it was itself named, all its parts are.
    """
    before = stack.names
    for name in names:
        if name in stack.names:
            stack, _ = owned(stack, name)
    parts = [name for name in stack.names if name not in before]
    named = [
        found
        for name in names
        for found in ([name] if name in stack.names else [part for part in parts if part.startswith(name)])
    ]
    groups: list[tuple[str, tuple[str, ...]]] = []
    gone: set[str] = set()
    for name in sorted(named, key=lambda name: is_effect(stack.layer(name))):
        if name not in gone:
            effects = tuple(effect for effect in owned(stack, name)[1] if effect not in gone)
            groups.append((name, effects))
            gone |= {name, *effects}
    return stack, tuple(groups)


def own_effects(stack: LayerStack, owners: Sequence[str]) -> tuple[str, ...]:
    """The shadow and light layers that are named after some objects."""
    return tuple(layer.name for layer in stack.layers if is_effect(layer) and _owner(layer) in owners)


def settled(stack: LayerStack) -> LayerStack:
    """The stack with every shadow and light named after its object, so that new objects get none of it."""
    shared, sharing = _shared(stack)
    return _cut(stack, shared, sharing) if shared and sharing else stack


def _shared(stack: LayerStack) -> tuple[list[Layer], list[Layer]]:
    """The effect layers that are named after no object, and the objects without any of their own."""
    effects = [layer for layer in stack.layers if is_effect(layer)]
    having = {_owner(layer) for layer in effects}
    shared = [layer for layer in effects if _owner(layer) is None]
    if not shared:
        return [], []
    return shared, [layer for layer in stack.layers if is_object(layer, stack) and layer.name not in having]


def renamed(stack: LayerStack, effects: Sequence[str], owner: str) -> LayerStack:
    """The stack with the effect layers of one object called after another name of it."""
    for name in effects:
        layer = stack.layer(name)
        if _owner(layer) is not None:
            stack = stack.replace(name, dataclasses.replace(layer, name=effect_name(layer, owner)))
    return stack


def effect_name(layer: Layer, owner: str) -> str:
    """What an object's own shadow or light layer is called."""
    found = _NAME.fullmatch(layer.name)
    return f"{found[1] if found else layer.name} of {owner}"


def _owner(layer: Layer) -> str | None:
    found = _NAME.fullmatch(layer.name)
    return found[2] if found else None


def is_object(layer: Layer, stack: LayerStack) -> bool:
    """Whether a layer is a thing on the ground: visible pixels that do not cover the whole canvas."""
    if is_effect(layer) or layer.blend != "normal":
        return False
    box = seen_box(layer)
    if box is None:
        return False
    whole = box.left <= 0 and box.top <= 0
    whole = whole and box.right >= stack.canvas.width and box.bottom >= stack.canvas.height
    return not (whole and float(stack.placed(layer.name)[..., 3].min()) > 0.99 * layer.opacity)


def _cut(stack: LayerStack, shared: Sequence[Layer], sharing: Sequence[Layer]) -> LayerStack:
    nearest = np.full((stack.canvas.height, stack.canvas.width), 0, dtype=np.intp)
    best = np.full(nearest.shape, np.inf, dtype=np.float32)
    for number, layer in enumerate(sharing):
        seen = stack.placed(layer.name)[..., 3] >= SEEN
        if not seen.any():  # it lies beyond the canvas
            continue
        distance = distance_transform_edt(~seen).astype(np.float32)
        # Where one object covers another, what is drawn there is drawn on the front one.
        closer = (distance < best) | seen
        nearest[closer], best[closer] = number, distance[closer]
    layers: list[Layer] = []
    for layer in stack.layers:
        if layer not in shared:
            layers.append(layer)
            continue
        found = _NAME.fullmatch(layer.name)
        group = (*layer.group, found[1] if found else layer.name)
        parts = [(owner, _part(layer, nearest == number)) for number, owner in enumerate(sharing)]
        made = [
            dataclasses.replace(part, name=effect_name(layer, owner.name), group=group)
            for owner, part in parts
            if part is not None
        ]
        layers.extend(made or [layer])  # one that shows nothing stays as it is
    return dataclasses.replace(stack, layers=tuple(layers))


def _part(layer: Layer, where: np.ndarray) -> Layer | None:
    """What of a layer lies where the canvas (H, W) says, cut to its box; None for nothing."""
    rows = np.arange(layer.size.height) + layer.offset.top
    columns = np.arange(layer.size.width) + layer.offset.left
    # What lies beyond the canvas belongs to whom its edge belongs to.
    inside = where[np.ix_(rows.clip(0, where.shape[0] - 1), columns.clip(0, where.shape[1] - 1))]
    seen = (alpha_of(layer) >= SEEN) & inside
    if not seen.any():
        return None
    box = visible_box(seen.astype(np.uint8))
    rgba = layer.rgba[box].copy()
    rgba[..., 3] *= inside[box]
    return dataclasses.replace(
        layer,
        rgba=rgba,
        mask=None if layer.mask is None else layer.mask[box].copy(),
        offset=Offset(layer.offset.left + box[1].start, layer.offset.top + box[0].start),
    )
