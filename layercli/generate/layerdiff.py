"""LayerDiff: layers that see each other while a trained adapter draws them, each kept to its own content.

The adapter's blocks let layers attend to each other; negative texts are the other layers' prompts; self-mask
guidance (SMG), where asked for, pushes a layer away from itself with its object blurred. Every frame is the
canvas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import Denoiser
from layercli.diffusion.scaling import averaged
from layercli.diffusion.self_mask import self_mask_guided
from layercli.generate._attended import Attended, attended
from layercli.generate._given import given_picture, with_given
from layercli.generate._harmonize import MethodOptions, harmonized_stack, plain_guided, steps_in_all
from layercli.generate._layers import canvas_plan, decoded_stack
from layercli.generate._trained import prompts_of, sample_together
from layercli.models.adapters import adapter_folder, chosen
from layercli.models.family import Model
from layercli.models.layerdiff import KIND, Injection, LayerDiff, Rules
from layercli.models.layerdiff_text import LayerText, layer_denoiser, layer_masks, layer_text, negative_texts
from layercli.models.reuse import deep_features_reused

PAPERS_SIDE = 32
"""Positions along a side of the paper's latents, in which it gives the blur."""


@dataclass(frozen=True, kw_only=True)
class Options(MethodOptions):
    """Those of every method (see _harmonize), and the pieces of LayerDiff.

    adapter: its folder; the one that ships with the model where empty. inter, intra, feed, enhance, inject:
    see models.layerdiff. own_text: what the base reads; as in training. negatives: the other layers' prompts,
    or the request's negative text alone. smg: its scale s, 0 for none (the paper has 3; on the embedded
    model's small latents things are recognised less often with 1 than without, and seldom with 3); sigma: of
    its blur, in positions of latents with 32 a side; conceal: where it blurs (the prose says inside, Eq 9 as
    printed outside); marked: by the layers' masks, or by self-attention (SAG), which the paper holds SMG
    against.
    """

    adapter: str = ""
    inter: bool = True
    intra: bool = True
    feed: bool = True
    enhance: Literal["both", "self", "none"] = "both"
    inject: bool = True
    own_text: Literal["layer", "whole"] = "layer"
    negatives: Literal["layers", "none"] = "layers"
    smg: float = 0.0
    sigma: float = 3.0
    conceal: Literal["inside", "outside"] = "inside"
    marked: Literal["masks", "attention"] = "masks"


def generate(
    request: GenerateRequest,
    model: Model,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Draw the layers of a request: the background, then each foreground, then shadows and light.

    LayerDiff draws no whole picture: with harmonize="irh" the composite is harmonised by the model as it is;
    "over": the plain composite; "none": layers do not see each other. Raises LayercliError where no adapter
    is found.
    """
    folder = adapter_folder(options.adapter, model.name, KIND)
    adapter = LayerDiff.load(folder, model.unet)
    adapter.made_ready(model.device, model.dtype)
    rules = chosen(Rules, options)
    if request.harmonize == "none":
        rules = dataclasses.replace(rules, inter=False)
    plan = canvas_plan(request, model)
    total, size = steps_in_all(request, model, options), plan.working.made
    channels = model.latent_shape(size)[0]
    with torch.no_grad(), deep_features_reused(model.unets, options.fast):
        prompts, nothing = prompts_of(request)
        negative = negative_texts(prompts, request.negative) if options.negatives == "layers" else nothing
        positive = layer_text(model, adapter, [prompts], size, rules, options.own_text)
        both = layer_text(model, adapter, [negative, prompts], size, rules, options.own_text)
        watching = attended(model.unet) if options.marked == "attention" else nullcontext()
        with adapter.injected(model.unet, rules) as injection, watching as watched:
            sampled, last = sample_together(
                model,
                plan,
                positive.frames,
                _guided(model, injection, both, positive, watched, request, options),
                request,
                options,
                lambda done: on_step(done, total),
                further=0 if adapter.masks is None else channels,
            )
        if adapter.masks is not None:
            sampled = dataclasses.replace(sampled, masks=layer_masks(model, last, channels)[1:])
        stack = decoded_stack(request, model, plan, sampled, options.levels, options.specks)
        stack = with_given(stack, given_picture(request), request)
        if request.harmonize != "irh":
            return stack
        guided = plain_guided(request, model, options, size)
        return harmonized_stack(
            request, model, options, plan, sampled, stack, guided, lambda done: on_step(done, total)
        )


def _guided(
    model: Model,
    injection: Injection,
    both: LayerText,
    positive: LayerText,
    watched: Attended | None,
    request: GenerateRequest,
    options: Options,
) -> Denoiser:
    """Classifier-free guidance against the other layers' texts, and SMG."""
    channels = model.latent_shape(model.native_size)[0]

    def masks_of(x0: Tensor) -> Tensor:
        if watched is not None:
            return watched.masks(len(x0), (x0.shape[2], x0.shape[3])).to(x0)
        masks = layer_masks(model, x0, channels)[:, None]
        return averaged(masks, (x0.shape[2], x0.shape[3])).to(x0)

    side = min(model.latent_shape(model.native_size)[1:])
    return self_mask_guided(
        layer_denoiser(model, injection, both),
        layer_denoiser(model, injection, positive),
        model.schedule,
        masks_of,
        guidance=request.guidance,
        rescale=options.rescale,
        tint=options.tint,
        scale=options.smg,
        sigma=options.sigma * side / PAPERS_SIDE,
        conceal=options.conceal,
        channels=channels,
    )
