"""What a file locks of its layers is not edited, unless that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack

Locks = Mapping[str, frozenset[str]]
"""Names of layers -> what of each is locked: "position", "pixels", "transparency", or "all"."""

#: What may be done to a layer -> the lock against it.
_LOCKS = {
    "moved": "position", "drawn on": "pixels", "given another outline": "transparency", "changed": "all",
    "deleted": "all",
}  # fmt: skip
_HINT = "Add --locked to edit it all the same; it stays locked in the file."


def check_locks(before: LayerStack, after: LayerStack, locks: Locks, *, draws: bool) -> None:
    """Refuse what one edit did to locked layers; raises LayercliError naming the layer and the lock.

    draws: whether the edit brings new pixels, whose box may differ without the layer being moved. Any layer
    may go to another canvas, be hidden, renamed and put in order; one of which not all is locked may also
    be faded, blended, given a mask and deleted.
    """
    for name, locked in locks.items():
        was = before.layer(name)
        now = _now(was, before, after)
        if now is None:
            _check(name, locked, "deleted")
            continue
        other = now.rgba is not was.rgba
        done = {
            "moved": _place(now) != _place(was) and before.canvas == after.canvas and not (other and draws),
            "drawn on": other,
            "given another outline": other and not _same_alpha(was, now),
            "changed": _looks(now) != _looks(was) or now.mask is not was.mask,
        }
        for what in filter(done.get, _LOCKS):
            _check(name, locked, what)


def check_drawing(names: Sequence[str], locks: Locks) -> None:
    """Refuse to draw layers whose pixels are locked; raises LayercliError."""
    for name in names:
        _check(name, locks.get(name, frozenset()), "drawn on")


def _check(name: str, locked: frozenset[str], what: str) -> None:
    lock = _LOCKS[what]
    if lock in locked or "all" in locked:
        which = "all of it is" if "all" in locked else f"its {lock} {'are' if lock == 'pixels' else 'is'}"
        raise LayercliError(f'"{name}" cannot be {what}: {which} locked.', _HINT)


def _now(was: Layer, before: LayerStack, after: LayerStack) -> Layer | None:
    """The layer after an edit: of its name, or else with its pixels, as a renamed one."""
    if was.name in after.names:
        return after.layer(was.name)
    new = (layer for layer in after.layers if layer.name not in before.names)  # a copy there was is another
    return next((layer for layer in new if layer.rgba is was.rgba), None)


def _place(layer: Layer) -> tuple[object, ...]:
    return layer.offset, layer.size


def _looks(layer: Layer) -> tuple[object, ...]:
    return layer.opacity, layer.blend


def _same_alpha(was: Layer, now: Layer) -> bool:
    return _place(was) == _place(now) and np.array_equal(was.rgba[..., 3], now.rgba[..., 3])
