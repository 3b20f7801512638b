"""Draw a new thing into a finished picture, on a layer of its own, with shadow and light."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layercli.core.effects import free_name
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack
from layercli.edit import _drawn
from layercli.edit._choose import choose
from layercli.edit._effects import is_effect, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from layercli.models.family import Model

LAYERS: str = "none"
MODEL: bool = True


@dataclass(frozen=True, kw_only=True)
class Options(_drawn.Lit):
    """fg: what to add; box: left, top, right and bottom as fractions of the canvas, a sensible place where
    none is given; name: of the layer; above: the layer to put it in front of, all things where none is given.
    """

    fg: str
    box: tuple[float, float, float, float] | None = None
    name: str = ""
    above: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _drawn.check_prompt(self.fg, 'add --fg "a bird"')
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise LayercliError("The box is not inside the canvas.", "Try: --box 0.1,0.4,0.5,0.9")


def edit(
    stack: LayerStack,
    names: tuple[str, ...],
    options: Options,
    model: Model,
    on_step: Callable[[int, int], None],
) -> LayerStack:
    """LayerDiff's iterative generation: what is there is merged and held as the background of the new thing.

    Raises LayercliError where its name is taken.
    """
    from layercli.edit._drawing import (
        Frame,
        box_in,
        draw,
        ground_of,
        objects_of,
        opaque,
        plan_of,
        rectangle_for,
        relit,
        thing,
        words_for,
    )  # fmt: skip
    from layercli.generate._placement import default_boxes

    prompt = options.fg.strip()
    name = options.name or free_name(prompt, stack.names)
    if name in stack.names:
        raise LayercliError(f'There is a layer "{name}" already.', "Choose another name.")
    things = objects_of(stack)
    box = options.box
    if box is None:
        taken = {number: box_in(stack, layer) for number, layer in enumerate(things, 1)}
        prompts = [prompt, *(words_for(layer) for layer in things)]
        box = default_boxes(prompts, stack.canvas, options.seed, taken)[0]
    plan, stack = plan_of(stack, model), settled(stack)
    words = ", ".join([*map(words_for, things), ground_of(stack)[1]])
    frame = Frame(prompt=prompt, rectangle=rectangle_for(box, stack), clean=None, free=True)
    picture = opaque(stack.flatten())
    sampled = draw(model, plan, [frame], picture, words, None, options, on_step)
    cutting = thing(model, sampled, 0, box, plan)
    layer = Layer(name=name, rgba=cutting.rgba, offset=cutting.offset, prompt=prompt)
    if options.above is not None:
        [beside] = choose(stack, [options.above], one=True)
        layer = dataclasses.replace(layer, group=stack.layer(beside).group)
        place = stack.index(beside) + 1
    else:
        place = stack.index(things[-1].name) + 1 if things else _above_ground(stack)
        layer = dataclasses.replace(layer, group=things[-1].group if things else ())
    after = dataclasses.replace(stack, layers=(*stack.layers[:place], layer, *stack.layers[place:]))
    return relit(after, [name], model, options, on_step) if options.light else after


def _above_ground(stack: LayerStack) -> int:
    return next((n for n, layer in enumerate(stack.layers) if is_effect(layer)), len(stack.layers))
