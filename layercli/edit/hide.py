"""Hide layers; the shadow and light of an object are hidden with it."""

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
    """Make layers invisible; nothing of them is lost."""
    return switched(stack, names, False, alone=options.alone)
