"""Draw another background behind everything; all things are held as they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from layercli.core.effects import free_name
from layercli.core.layers import Layer, LayerStack
from layercli.edit import _drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from layercli.models.family import Model

LAYERS: str = "none"
MODEL: bool = True
WHOLE: bool = True


@dataclass(frozen=True, kw_only=True)
class Options(_drawn.Lit):
    """prompt: what lies behind; strength: from 0, the background as it is, to 1, drawn anew."""

    prompt: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _drawn.check_prompt(self.prompt, 'background --prompt "a beach"')


def edit(
    stack: LayerStack,
    names: tuple[str, ...],
    options: Options,
    model: Model,
    on_step: Callable[[int, int], None],
) -> LayerStack:
    """Redraw the layer behind all things, or put one there where none covers the canvas."""
    from layercli.edit._redraw import backdrop_of, redraw

    prompt = options.prompt.strip()
    name = backdrop_of(stack)
    if name is None:
        name = free_name("background", stack.names)
        clear = np.zeros((stack.canvas.height, stack.canvas.width, 4), dtype=np.float32)
        stack = dataclasses.replace(stack, layers=(Layer(name=name, rgba=clear), *stack.layers))
    stack = stack.replace(name, dataclasses.replace(stack.layer(name), prompt=prompt))
    return redraw(stack, name, model, options, on_step, strength=options.strength, behind=True)
