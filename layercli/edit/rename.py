"""Give a layer another name; its shadow and light are named after it again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.edit._effects import owned, renamed

LAYERS: str = "one"
WORDS: tuple[str, ...] = ("to",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """to: the new name."""

    to: str

    def __post_init__(self) -> None:
        if not self.to.strip():
            raise LayercliError("A layer cannot have an empty name.", "Try: rename LAYER cat")


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Rename one layer; raises LayercliError where another one has the name."""
    [name] = names
    if options.to in stack.names and options.to != name:
        raise LayercliError(f'There is a layer "{options.to}" already.', "Choose another name.")
    named, effects = owned(stack, name)
    if all(effect in stack.names for effect in effects):  # nothing is cut for a name
        stack = renamed(named, effects, options.to)
    return stack.replace(name, dataclasses.replace(stack.layer(name), name=options.to))
