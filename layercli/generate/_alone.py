"""The background alone: one frame, sampled as diffusers' own pipelines sample it, from layercli's noise.

With the same latents to begin with it equals `StableDiffusionPipeline` and `StableDiffusionXLPipeline` with
their DDIM scheduler: a family whose plain picture is right has the right text, sizes, times and scaling.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from layercli.core.layers import Layer, LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import frame_noise, sample
from layercli.generate._harmonize import MethodOptions, styled
from layercli.generate._layers import pixels
from layercli.generate._placement import resized
from layercli.models.family import Kind, Model
from layercli.models.reuse import deep_features_reused


def generate(
    request: GenerateRequest,
    model: Model,
    options: MethodOptions,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Draw the background of a request that has no foregrounds, as the one layer of a stack."""
    working = model.working_size(request.size)
    start = frame_noise(request.seed, [0], model.latent_shape(working.made)).to(model.device)
    with torch.no_grad(), deep_features_reused(model.unets, options.fast):
        x = draw_alone(request, model, options, start, lambda done: on_step(done, request.steps))
        made = model.decode(x, ["background"])[0]
    picture = resized(made[:, : working.used.height, : working.used.width], request.size)
    picture[3] = 1.0  # scaling may round it
    layer = Layer(name="background", rgba=pixels(picture), prompt=request.background)
    return LayerStack(canvas=request.size, layers=(layer,))


def draw_alone(
    request: GenerateRequest,
    model: Model,
    options: MethodOptions,
    start: Tensor,
    on_step: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Walk one frame from noise to clean latents, (1, C, h, w) both; on_step: steps done."""
    size = model.working_size(request.size).made
    kinds: list[Kind] = ["background"]
    text = model.encode_text([styled(request.global_prompt, request)], kinds, size)
    empty = model.encode_text([request.negative], kinds, size)
    x = start
    for state in sample(
        model.guided(text, empty, request.guidance, rescale=options.rescale),
        x,
        model.schedule,
        model.schedule.path(request.steps),
        eta=options.eta,
        fresh=lambda step: frame_noise(request.seed, [0], tuple(start.shape[1:]), draw=step + 1),
    ):
        x = state.x
        on_step(state.step + 1)
    return x
