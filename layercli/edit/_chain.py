"""Several edits in a row, checked before the first one runs; where every layer came from is kept."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from layercli.core import registry
from layercli.core.edit_requests import EditRequest
from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset
from layercli.core.layers import Layer, LayerStack
from layercli.edit._choose import choose
from layercli.edit._effects import is_effect, owned
from layercli.edit._example import command
from layercli.edit._locks import Locks, check_drawing, check_locks

PACKAGE = "layercli.edit"

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One edit, its options checked."""

    request: EditRequest
    module: types.ModuleType
    options: Any

    @property
    def layers(self) -> str:
        """How many layers it is for: "many", "one", "none" or "any"."""
        found: str = getattr(self.module, "LAYERS", "many")
        return found

    @property
    def with_model(self) -> bool:
        """Whether it draws."""
        return bool(getattr(self.module, "MODEL", False))

    @property
    def srgb(self) -> bool:
        """Whether it brings or takes colours whose numbers are sRGB."""
        return self.with_model or bool(getattr(self.module, "SRGB", False))


@dataclass(frozen=True, kw_only=True, eq=False)
class Edited:
    """A stack after edits.

    origins: for each layer its name before them, None for a new one; moved: where the old canvas' corner
    lies now; pictures: what edits wrote beside the stack, (step, layer) -> (H, W, 4); chosen: for each step
    the layers it was for; inside: where, on the canvas of now, the layers that were edited lie or lay.
    """

    stack: LayerStack
    origins: tuple[str | None, ...]
    moved: Offset
    pictures: dict[tuple[int, str], np.ndarray]
    chosen: tuple[tuple[str, ...], ...]
    inside: np.ndarray


def plan(requests: Sequence[EditRequest]) -> list[Step]:
    """Load the edits that are asked for and check their options; raises LayercliError naming the step."""
    steps = []
    for number, request in enumerate(requests, 1):
        try:
            module = registry.load(PACKAGE, request.edit)
            options = registry.options_for(module, request.options, partial(command, module, request))
            step = Step(request=request, module=module, options=options)
            if step.layers in ("many", "one") and not request.layers:
                raise LayercliError(f"{request.edit} needs a layer.", f"Try: {request.edit} LAYER …")
            if step.layers == "none" and request.layers:
                raise LayercliError(f'{request.edit} takes no layer, but was given "{request.layers[0]}".')
        except LayercliError as error:
            raise numbered(error, number, requests) from error
        steps.append(step)
    return steps


def numbered(error: LayercliError, number: int, requests: Sequence[EditRequest]) -> LayercliError:
    """An error that says in which of several steps it happened."""
    if len(requests) == 1:
        return error
    return LayercliError(f"Step {number}, {requests[number - 1].edit}: {error.message}", error.hint)


@dataclass(kw_only=True, eq=False)
class _Trail:
    """What is kept while edits follow each other."""

    names: dict[str, str | None]
    locked: Locks
    moved: Offset = Offset()
    inside: np.ndarray
    pictures: dict[tuple[int, str], np.ndarray] = field(default_factory=dict)
    chosen: list[tuple[str, ...]] = field(default_factory=list)


def run(
    stack: LayerStack,
    steps: Sequence[Step],
    model: Any = None,
    on_step: OnStep = lambda done, total: None,
    locked: Locks | None = None,
) -> Edited:
    """Do edits one after the other; model: for those that draw; locked: what may not be edited of layers.

    Raises LayercliError naming the step.
    """
    shape = (stack.canvas.height, stack.canvas.width)
    trail = _Trail(
        names={name: name for name in stack.names}, inside=np.zeros(shape, dtype=bool), locked=locked or {}
    )
    requests = [step.request for step in steps]
    for number, step in enumerate(steps, 1):
        try:
            stack = _do(stack, step, number, trail, model, on_step)
        except LayercliError as error:
            raise numbered(error, number, requests) from error
    return Edited(
        stack=stack,
        origins=tuple(trail.names[name] for name in stack.names),
        moved=trail.moved,
        pictures=trail.pictures,
        chosen=tuple(trail.chosen),
        inside=trail.inside,
    )


def _do(
    before: LayerStack, step: Step, number: int, trail: _Trail, model: Any, on_step: OnStep
) -> LayerStack:
    names: tuple[str, ...] = ()
    if step.request.layers:
        names = choose(before, step.request.layers, one=step.layers == "one")
    trail.chosen.append(names)
    if hasattr(step.module, "pictures"):
        made = step.module.pictures(before, names, step.options)
        trail.pictures |= {(number, name): picture for name, picture in made.items()}
    more = (model, on_step) if step.with_model else ()
    locked = {name: trail.locked[old] for name, old in trail.names.items() if old and old in trail.locked}
    if step.with_model and step.layers == "one":  # told before it is drawn, which takes its time
        check_drawing(names, locked)
    after: LayerStack = step.module.edit(before, names, step.options, *more)
    check_locks(before, after, locked, draws=step.srgb)
    if after.canvas != before.canvas:
        _follow_canvas(before, after, trail)
    else:
        trail.inside |= _where(before, names) | _where(after, _still(before, after, names))
        if step.with_model:  # what is drawn has shadow and light of its own
            for stack in (before, after):
                trail.inside |= _where(stack, [layer.name for layer in stack.layers if is_effect(layer)])
        if getattr(step.module, "WHOLE", False):
            trail.inside[:] = True
    trail.names = {layer.name: _origin(layer, before, trail.names) for layer in after.layers}
    return after


def _follow_canvas(before: LayerStack, after: LayerStack, trail: _Trail) -> None:
    """Take what is known of the old canvas over to the new one."""
    was, now = before.layers[0].offset, after.layers[0].offset
    left, top = now.left - was.left, now.top - was.top
    trail.moved = Offset(trail.moved.left + left, trail.moved.top + top)
    inside = Layer(name="inside", rgba=np.zeros((*trail.inside.shape, 4), dtype=np.float32))
    inside.rgba[..., 3] = trail.inside
    placed = LayerStack(
        canvas=after.canvas, layers=(dataclasses.replace(inside, offset=Offset(left, top)),)
    ).placed(0)
    trail.inside = placed[..., 3] > 0


def _still(before: LayerStack, after: LayerStack, names: Sequence[str]) -> list[str]:
    """The layers after an edit that it was for: the same ones, under any name, and those that are new."""
    pixels = {id(before.layer(name).rgba) for name in names}
    return [
        layer.name
        for layer in after.layers
        if layer.name in names
        or id(layer.rgba) in pixels
        or (layer.name not in before.names and not is_effect(layer))
    ]


def _where(stack: LayerStack, names: Sequence[str]) -> np.ndarray:
    """Where layers and their shadow and light show something, were they visible: (H, W) bool."""
    found = np.zeros((stack.canvas.height, stack.canvas.width), dtype=bool)
    for name in names:
        parted, effects = owned(stack, name)
        for each in (name, *effects):
            layer = dataclasses.replace(parted.layer(each), opacity=1.0, mask=None)
            found |= LayerStack(canvas=stack.canvas, layers=(layer,)).placed(0)[..., 3] > 0
    return found


def _origin(layer: Layer, before: LayerStack, names: dict[str, str | None]) -> str | None:
    """What a layer was called before all edits: by its name, or else by its pixels, which are the same."""
    if layer.name in before.names:
        return names[layer.name]
    same = (other for other in before.layers if other.rgba is layer.rgba)
    return next((names[other.name] for other in same), None)


def changed_outside(before: np.ndarray, edited: Edited, after: np.ndarray) -> int:
    """How many pixels beyond the edited layers differ between two 8-bit pictures (H, W, 4).

    before: of the stack before the edits, on its own canvas; after: of `edited.stack`. What lay outside the
    old canvas is not counted.
    """
    height, width = after.shape[:2]
    top, left = edited.moved.top, edited.moved.left
    y0, y1 = max(0, top), min(height, top + before.shape[0])
    x0, x1 = max(0, left), min(width, left + before.shape[1])
    if y0 >= y1 or x0 >= x1:
        return 0
    was = before[y0 - top : y1 - top, x0 - left : x1 - left]
    differs = (was != after[y0:y1, x0:x1]).any(axis=-1)
    return int((differs & ~edited.inside[y0:y1, x0:x1]).sum())


def steps_of(values: Any) -> Iterator[EditRequest]:
    """Read a list of edits, or {"edits": […]}, as a script or a receipt holds it; raises LayercliError."""
    listed = values.get("edits") if isinstance(values, dict) and "edit" not in values else values
    listed = [listed] if isinstance(listed, dict) else listed
    if not isinstance(listed, list) or not listed:
        raise LayercliError("A script is a list of edits.", 'Write: [{"edit": "hide", "layers": ["cat"]}]')
    for entry in listed:
        yield EditRequest.from_dict(entry)
