"""Put layers into a group, next to each other where the front one is; or take them out of theirs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from layercli.core.effects import free_name
from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack

LAYERS: str = "many"


@dataclass(frozen=True, kw_only=True)
class Options:
    """name: of the group; out: take the layers out of all groups instead."""

    name: str = "group"
    out: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise LayercliError("A group cannot have an empty name.", "Try: group LAYER OTHER --name things")


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Gather layers in a new group inside the one that they share; their order stays."""
    front = max(stack.index(name) for name in names)
    around = [layer.group for layer in stack.layers if layer.name in names]
    shared: tuple[str, ...] = ()
    while all(len(group) > len(shared) and group[: len(shared) + 1] == around[0][: len(shared) + 1]
              for group in around):  # fmt: skip
        shared = around[0][: len(shared) + 1]
    # The front layer's groups inside the shared one stay whole: the new group goes in front of them.
    inner = stack.layers[front].group
    while front + 1 < len(stack.layers) and len(inner) > len(() if options.out else shared):
        depth = len(() if options.out else shared) + 1
        if stack.layers[front + 1].group[:depth] != inner[:depth]:
            break
        front += 1
    if options.out:
        path: tuple[str, ...] = ()
    else:
        taken = [layer.group[len(shared)] for layer in stack.layers
                 if layer.group[: len(shared)] == shared and len(layer.group) > len(shared)]  # fmt: skip
        path = (*shared, free_name(options.name, taken))
    gathered = [dataclasses.replace(layer, group=path) for layer in stack.layers if layer.name in names]
    before = [layer for layer in stack.layers[: front + 1] if layer.name not in names]
    after = [layer for layer in stack.layers[front + 1 :] if layer.name not in names]
    return dataclasses.replace(stack, layers=(*before, *gathered, *after))
