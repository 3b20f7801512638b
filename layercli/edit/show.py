"""Show hidden layers again; the shadow and light of an object with it."""

from __future__ import annotations

from dataclasses import dataclass

from layercli.core.layers import LayerStack
from layercli.edit._each import switched

LAYERS: str = "many"


@dataclass(frozen=True, kw_only=True)
class Options:
    """alone: leave shadow and light as they are."""

    alone: bool = False


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Make layers visible; a hidden group around them still hides them."""
    return switched(stack, names, True, alone=options.alone)
