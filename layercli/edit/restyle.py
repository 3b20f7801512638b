"""Draw a layer again in another style or as something alike; all other layers are held as they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.edit import _drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from layercli.models.family import Model

LAYERS: str = "one"
MODEL: bool = True


@dataclass(frozen=True, kw_only=True)
class Options(_drawn.Lit):
    """prompt: what the layer shall look like; strength: from 0, as it is, to 1, drawn anew."""

    prompt: str
    strength: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        _drawn.check_prompt(self.prompt, 'restyle LAYER --prompt "a cat, watercolour"')
        if not 0.0 < self.strength <= 1.0:
            raise LayercliError(f"A strength of {self.strength:g} is not from 0 to 1.", "Try: --strength 0.8")


def edit(
    stack: LayerStack,
    names: tuple[str, ...],
    options: Options,
    model: Model,
    on_step: Callable[[int, int], None],
) -> LayerStack:
    """SDEdit on one layer (LayerDiff's style transfer), the others replaced by their own latents.

    Raises LayercliError for an empty layer.
    """
    from layercli.edit._redraw import redraw

    [name] = names
    layer = dataclasses.replace(stack.layer(name), prompt=options.prompt.strip())
    return redraw(stack.replace(name, layer), name, model, options, on_step, strength=options.strength)
