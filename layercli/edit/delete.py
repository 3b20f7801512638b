"""Delete layers; the shadow and light of an object go with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.edit._effects import owned

LAYERS: str = "many"


@dataclass(frozen=True, kw_only=True)
class Options:
    """alone: leave shadow and light as they are."""

    alone: bool = False


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Take layers out of the stack; raises LayercliError where none would be left."""
    gone = set(names)
    for name in names:
        if not options.alone:
            stack, effects = owned(stack, name)
            gone.update(effects)
    left = tuple(layer for layer in stack.layers if layer.name not in gone)
    if not left:
        raise LayercliError("No layer would be left.", "Keep one of them, or delete the file.")
    return dataclasses.replace(stack, layers=left)
