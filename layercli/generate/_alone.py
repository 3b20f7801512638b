"""One layer alone: a background, or a foreground on transparency; drawn alike by any method.

A background is sampled as diffusers' own pipelines sample it, from layercli's noise: with the same latents to
begin with it equals `StableDiffusionPipeline` and `StableDiffusionXLPipeline` with their DDIM scheduler. A
family whose plain picture is right has the right text, sizes, times and scaling.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import Denoiser
from layercli.generate._alpha import levelled, without_specks
from layercli.generate._harmonize import MethodOptions, styled
from layercli.generate._joint import hold_shapes
from layercli.generate._layers import canvas_plan, pixels, placed
from layercli.generate._masks import mask_guide
from layercli.generate._placement import resized
from layercli.models.family import Model
from layercli.models.reuse import deep_features_reused
from layercli.models.single import Frame, draw_frame


def generate(
    request: GenerateRequest,
    model: Model,
    options: MethodOptions,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    *,
    changed: Callable[[Denoiser], Denoiser] = lambda denoise: denoise,
) -> LayerStack:
    """Draw the one layer of a request; changed: of the denoiser of a foreground.

    Raises LayercliError for a foreground by a model that makes no alpha.
    """
    with torch.no_grad(), deep_features_reused(model.unets, options.fast):
        if request.foregrounds:
            return _foreground(request, model, options, changed, lambda done: on_step(done, request.steps))
        working = model.working_size(request.size)
        x = draw_alone(request, model, options, None, lambda done: on_step(done, request.steps))
        made = model.decode(x, ["background"])[0]
    picture = resized(made[:, : working.used.height, : working.used.width], request.size)
    picture[3] = 1.0  # scaling may round it
    layer = Layer(name="background", rgba=pixels(picture), prompt=request.background)
    return LayerStack(canvas=request.size, layers=(layer,))


def draw_alone(
    request: GenerateRequest,
    model: Model,
    options: MethodOptions,
    start: Tensor | None = None,
    on_step: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Walk a background from noise to clean latents, (1, C, h, w) both; on_step: steps done."""
    size = model.working_size(request.size).made
    return draw_frame(model, _frame(request, options), size, start=start, on_step=on_step)


def _foreground(
    request: GenerateRequest,
    model: Model,
    options: MethodOptions,
    changed: Callable[[Denoiser], Denoiser],
    on_step: Callable[[int], None],
) -> LayerStack:
    """The object on the whole canvas, or where its box or its mask is."""
    if not model.alpha:
        raise LayercliError(
            f'"{model.name}" draws no transparency, and where nothing lies behind a thing none can be found.',
            'Try: --bg "a plain wall", --model sdxl-layerdiffuse, or --model sd15 --method layerdiffuse',
        )
    plan = canvas_plan(request, model)
    guides = {index: mask_guide(model, shape, options.hold) for index, shape in plan.shapes.items()}
    x = draw_frame(
        model,
        _frame(request, options),
        plan.working.made,
        changed=changed,
        edit=hold_shapes(guides) if guides else None,
        on_step=on_step,
    )
    made = without_specks(levelled(model.decode(x, ["foreground"]), options.levels), options.specks)
    cutting = placed(made[0], plan, 0, model.alpha)
    layer = Layer(
        name=request.layer_names[0],
        rgba=cutting.rgba,
        offset=cutting.offset,
        prompt=request.foregrounds[0],
    )
    return LayerStack(canvas=request.size, layers=(layer,))


def _frame(request: GenerateRequest, options: MethodOptions) -> Frame:
    """The frame of a request for one, with the noise that it has in a picture of several."""
    thing = bool(request.foregrounds)
    return Frame(
        kind="foreground" if thing else "background",
        prompt=styled(request.global_prompt, request),
        negative=request.negative,
        seed=request.seed,
        number=int(thing),
        steps=request.steps,
        guidance=request.guidance,
        rescale=options.rescale,
        tint=options.tint,
        eta=options.eta,
    )
