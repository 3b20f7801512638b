"""Set the opacity of layers."""

from __future__ import annotations

from dataclasses import dataclass

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.edit._each import looks
from layercli.edit._values import share

LAYERS: str = "many"
WORDS: tuple[str, ...] = ("to",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """to: 60% or 0.6."""

    to: str

    def __post_init__(self) -> None:
        if not 0.0 <= share(self.to, "opacity LAYER 60%") <= 1.0:
            raise LayercliError(f"An opacity of {self.to} is not from 0% to 100%.", "Try: opacity LAYER 60%")


def edit(stack: LayerStack, names: tuple[str, ...], options: Options) -> LayerStack:
    """Give layers an opacity of their own; that of their groups stays."""
    return looks(stack, names, opacity=share(options.to, ""))
