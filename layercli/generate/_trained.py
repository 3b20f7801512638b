"""Sampling by a trained adapter: all frames of a picture in one batch, from noise to clean latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import Denoiser, State, frame_noise, sample
from layercli.generate._given import given_picture, on_whole
from layercli.generate._harmonize import MethodOptions
from layercli.generate._joint import Guide, Sampled, held, hold_shapes, rows_of
from layercli.generate._layers import Plan
from layercli.generate._masks import mask_guide
from layercli.models.family import Model
from layercli.models.frames import Frames, LayerPrompts


def prompts_of(request: GenerateRequest) -> tuple[LayerPrompts, LayerPrompts]:
    """The texts of a request's frames, and those of the negative half of guidance."""
    texts = LayerPrompts(
        background=request.background.strip(),
        foregrounds=tuple(prompt.strip() for prompt in request.foregrounds),
        whole=request.global_prompt,
        style=request.style.strip(),
    )
    return texts, LayerPrompts.empty(len(request.foregrounds), request.negative)


def guides_of(model: Model, plan: Plan, frames: Frames, options: MethodOptions) -> dict[int, Guide]:
    """By row of the batch, what holds a foreground to its drawn mask."""
    return {
        frames.front.start + index: mask_guide(model, shape, options.hold)
        for index, shape in plan.shapes.items()
    }


def sample_together(
    model: Model,
    plan: Plan,
    frames: Frames,
    denoise: Denoiser,
    request: GenerateRequest,
    options: MethodOptions,
    on_step: Callable[[int], None],
    *,
    start: Callable[[Tensor], Tensor] = lambda x: x,
    further: int = 0,
    watch: Callable[[State], None] = lambda state: None,
) -> tuple[Sampled, Tensor]:
    """Walk the frames of one picture together -> (what the other methods give, the last latents).

    start: changes the noise the walk begins with; further: channels that a method's latents have beyond the
    codec's, which `Sampled` leaves out; watch: sees every State.
    """
    channels, *grid = model.latent_shape(plan.working.made)
    shape, rows = (channels + further, *grid), range(frames.each)
    guides = guides_of(model, plan, frames, options)
    given = given_picture(request)
    steps: list[tuple[State, State]] = []
    x = start(frame_noise(request.seed, rows, shape).to(model.device))
    if given is not None:  # LayerDiff, layer inpainting: a fixed layer keeps its latents
        row = frames.front.start if given.kind == "foreground" else 0
        clean = on_whole(model, given, plan)
        x[row, :channels] = model.schedule.add_noise(
            clean, x[row, :channels], model.schedule.path(request.steps)[0]
        )
        guides[row] = held(model, clean)
    walk = sample(
        denoise,
        x,
        model.schedule,
        model.schedule.path(request.steps),
        eta=options.eta,
        fresh=lambda step: frame_noise(request.seed, rows, shape, draw=step + 1),
        edit=_held(guides, channels) if guides else None,
    )
    for done, state in enumerate(walk, 1):
        x = state.x
        watch(state)
        pictures = _pictures(state, channels)
        scene = [row for row, kind in enumerate(frames.kinds) if kind != "foreground"]
        steps.append((rows_of(pictures, frames.front), rows_of(pictures, scene)))
        on_step(done)
    return Sampled(steps=steps, hint=None), x


def _held(guides: Mapping[int, Guide], channels: int) -> Callable[[State], Tensor]:
    """Hold the pictures of some rows; further channels go on as they are."""
    hold = hold_shapes(guides)

    def edit(state: State) -> Tensor:
        return torch.cat([hold(_pictures(state, channels)), state.x[:, channels:]], dim=1)

    return edit


def _pictures(state: State, channels: int) -> State:
    return State(
        step=state.step,
        t=state.t,
        came_from=state.came_from,
        x=state.x[:, :channels],
        x0=state.x0[:, :channels],
    )
