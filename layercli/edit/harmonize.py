"""Draw fresh shadow and light for things where they stand now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.edit import _drawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from layercli.models.family import Model

LAYERS: str = "any"
MODEL: bool = True


@dataclass(frozen=True, kw_only=True)
class Options(_drawn.Drawing):
    """Nothing but what all edits that draw may be asked."""


def edit(
    stack: LayerStack,
    names: tuple[str, ...],
    options: Options,
    model: Model,
    on_step: Callable[[int, int], None],
) -> LayerStack:
    """Replace the shadow and light of the named things, or of all: DreamLayer's IRH, Eq 13.

    Raises LayercliError where there is no visible thing on the canvas.
    """
    from layercli.edit._drawing import objects_of, relit
    from layercli.edit._effects import settled

    things = [layer.name for layer in objects_of(stack)]
    missing = [name for name in names if name not in things]
    if not things or missing:
        which = f'"{missing[0]}"' if missing else "Nothing"
        raise LayercliError(f"{which} is a visible thing on a background.", "Name a layer that is one.")
    return relit(settled(stack) if names else stack, names, model, options, on_step)
