"""Set the blend mode of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layercli.core.layers import LayerStack
from layercli.edit._each import looks

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("to",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """to: one of the modes that all programs draw alike."""

    to: Literal["normal", "multiply", "screen", "overlay"]


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Give layers a blend mode."""
    return looks(stack, names, blend=options.to)
