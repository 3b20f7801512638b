"""One layer of a stack drawn again: a thing in its box, or what lies behind all things."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from layercli.core.geometry import Offset
from layercli.core.layers import LayerStack
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.diffusion.schedule import Schedule
from layercli.edit._boxes import box_of
from layercli.edit._drawing import (
    box_in,
    draw,
    encoded,
    frame_of,
    ground_of,
    objects_of,
    opaque,
    plan_of,
    relit,
    scenery,
    thing,
    words_for,
)
from layercli.edit._drawn import Drawing, Lit
from layercli.edit._effects import is_effect, settled
from layercli.generate._joint import beginning
from layercli.generate._layers import Plan
from layercli.models.family import Model


def redraw(
    stack: LayerStack,
    name: str,
    model: Model,
    drawing: Lit,
    on_step: Callable[[int, int], None],
    *,
    strength: float = 1.0,
    behind: bool = False,
) -> LayerStack:
    """Draw a layer by its prompt, the others held.

    strength: below 1 it starts from what it is (SDEdit), as on SD 1.5 (see share_of_times); behind: it is the
    ground whatever it looks like now. Raises LayercliError for an empty thing.
    """
    import torch

    strength = share_of_times(model.schedule, strength)
    things = objects_of(stack)
    with torch.no_grad():
        if behind or name not in {layer.name for layer in things}:
            drawn = _ground(stack, name, model, drawing, on_step, strength)
            return relit(drawn, (), model, drawing, on_step) if drawing.light and things else drawn
        box_of(stack.layer(name))
        stack = settled(stack) if drawing.light else stack
        plan = plan_of(stack, model)
        ground, words = ground_of(stack)
        frames = [frame_of(stack, layer, model, free=layer.name == name) for layer in things]
        row = [layer.name for layer in things].index(name)
        whole = opaque(stack.flatten())
        sampled = draw(model, plan, frames, ground, words, whole, drawing, on_step, strength=strength)
        layer = stack.layer(name)
        cutting = thing(model, sampled, row, box_in(stack, layer), plan)
    layer = dataclasses.replace(layer, rgba=cutting.rgba, offset=cutting.offset, mask=None)
    drawn = stack.replace(name, layer)
    return relit(drawn, [name], model, drawing, on_step) if drawing.light else drawn


def share_of_times(schedule: Schedule, strength: float) -> float:
    """The share of a model's times in which its noise is what a strength means on SD 1.5.

    SDEdit (Meng et al. 2022) with strength s starts SD 1.5 at the time t' = 1000 s, where √β rises linearly
    (Rombach et al. 2022). Another schedule starts at the last t that has no less signal to noise
    (Kingma et al. 2021, Eq 2): SNR_t = ᾱ_t / (1 - ᾱ_t) ≥ SNR'_t'. At a strength of 1 it starts from noise.
    """
    if strength >= 1:
        return 1.0
    usual = Schedule.scaled_linear()
    wanted = usual.alpha(max(0, math.ceil(strength * usual.times) - 1))
    alphas = schedule.alphas_cumprod  # SNR rises with ᾱ, so that ᾱ can be compared
    left = int((alphas >= wanted).sum())
    return (max(1, left) - 0.5) / schedule.times  # between two times, for float errors


def backdrop_of(stack: LayerStack) -> str | None:
    """The name of the layer at the back, where it covers the whole canvas."""
    things = {layer.name for layer in objects_of(stack)}
    for layer in stack.layers:
        if layer.name not in things and not is_effect(layer) and layer.visible:
            covers = float(stack.placed(layer.name)[..., 3].min()) > 0.5
            return layer.name if covers else None
    return None


def _ground(
    stack: LayerStack,
    name: str,
    model: Model,
    drawing: Drawing,
    on_step: Callable[[int, int], None],
    strength: float,
) -> LayerStack:
    """Draw what lies behind all things, they held in front of it."""
    plan, layer = plan_of(stack, model), stack.layer(name)
    words = words_for(layer)
    old = opaque(stack.placed(name))
    things = objects_of(stack)
    if things:
        frames = [frame_of(stack, thing, model) for thing in things]
        whole = opaque(stack.flatten())
        sampled = draw(
            model, plan, frames, old, words, whole, drawing, on_step, strength=strength, free_ground=True
        )
        latents = sampled.background[0]
    else:
        latents = _alone(model, plan, words, old, drawing, on_step, strength)
    new = dataclasses.replace(layer, rgba=scenery(model, latents, plan), mask=None, offset=Offset())
    return stack.replace(name, new)


def _alone(
    model: Model,
    plan: Plan,
    words: str,
    old: np.ndarray,
    drawing: Drawing,
    on_step: Callable[[int, int], None],
    strength: float,
) -> Tensor:
    """A background with nothing in front of it."""
    size = plan.working.made
    text = model.encode_text([words], ["background"], size)
    empty = model.encode_text([drawing.negative], ["background"], size)
    path = model.schedule.path(drawing.steps)
    x = frame_noise(drawing.seed, [0], model.latent_shape(size)).to(model.device)
    if strength < 1:
        path = model.schedule.path(drawing.steps, start=beginning(path, strength, model.schedule))
        x = model.schedule.add_noise(encoded(model, plan, old)[None], x, path[0])
    states = sample(model.guided(text, empty, drawing.guidance), x, model.schedule, path)

    def counted():  # type: ignore[no-untyped-def]
        for state in states:
            on_step(state.step + 1, len(path) - 1)
            yield state

    return run(counted(), x)[0]
