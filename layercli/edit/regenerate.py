"""Draw a layer anew from other words, in its place; all other layers are held as they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layercli.core.layers import LayerStack
from layercli.edit import _drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from layercli.models.family import Model

LAYERS: str = "one"
MODEL: bool = True


@dataclass(frozen=True, kw_only=True)
class Options(_drawn.Lit):
    """prompt: what the layer shall show; what it shows already where none is given."""

    prompt: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt.strip():
            _drawn.check_prompt(self.prompt, 'regenerate LAYER --prompt "a dog"')


def edit(
    stack: LayerStack,
    names: tuple[str, ...],
    options: Options,
    model: Model,
    on_step: Callable[[int, int], None],
) -> LayerStack:
    """LayerDiff's layer inpainting: the layer starts from noise, the others keep their latents.

    What stands behind all things is drawn whole. Raises LayercliError for an empty layer.
    """
    from layercli.edit._drawing import words_for
    from layercli.edit._redraw import redraw

    [name] = names
    prompt = options.prompt.strip() or words_for(stack.layer(name))
    layer = dataclasses.replace(stack.layer(name), prompt=prompt)
    return redraw(stack.replace(name, layer), name, model, options, on_step)
