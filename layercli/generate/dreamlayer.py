"""DreamLayer: background, foregrounds and whole picture drawn in one batch by a trained adapter.

arXiv 2503.12838. Every frame is the canvas: a foreground's place and size come from the whole picture's
context maps, its alpha from the model, or from the maps for models that have none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.guidance import classifier_free_joint
from layercli.diffusion.sample import Denoiser, State
from layercli.generate._given import given_picture, with_given
from layercli.generate._harmonize import MethodOptions, harmonized_stack, steps_in_all
from layercli.generate._layers import canvas_plan, decoded_stack, with_whole
from layercli.generate._trained import prompts_of, sample_together
from layercli.models.adapters import adapter_folder, chosen
from layercli.models.dreamlayer import KIND, DreamLayer, Injection, Rules
from layercli.models.dreamlayer_text import layered_denoiser, layered_text, whole_denoiser
from layercli.models.family import Kind, Model
from layercli.models.reuse import deep_features_reused


@dataclass(frozen=True, kw_only=True)
class Options(MethodOptions):
    """Those of every method (see _harmonize), and the pieces of DreamLayer.

    adapter: its folder; the one that ships with the model where empty. refine (Eq 5), share (Eq 10, 11),
    carry (Eq 9) while t >= carry_from (T_G), extra (the foregrounds' own keys and values), level (where
    context maps are read: how often latents were halved). whole: the frame of the whole picture stays, as a
    hidden layer.
    """

    adapter: str = ""
    refine: bool = True
    share: bool = True
    carry: bool = True
    carry_from: int = 850
    extra: bool = True
    level: int | None = None
    whole: bool = False


def generate(
    request: GenerateRequest,
    model: Model,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Draw the layers of a request: the background, then each foreground, then shadows and light.

    harmonize="irh": Eq 12, then light and shadow as effect layers; "over": the plain composite; "none":
    frames neither share attention nor features. Raises LayercliError where no adapter is found.
    """
    folder = adapter_folder(options.adapter, model.name, KIND)
    adapter = DreamLayer.load(folder, model.unet)
    adapter.made_ready(model.device, model.dtype)
    rules = chosen(Rules, options)
    if request.harmonize == "none":
        rules = dataclasses.replace(rules, share=False, carry=False)
    plan = canvas_plan(request, model)
    total, size = steps_in_all(request, model, options), plan.working.made
    prompts, negative = prompts_of(request)
    with (
        torch.no_grad(),
        adapter.injected(model.unet, rules) as injection,
        deep_features_reused(model.unets, options.fast),
    ):
        injection.remembers = options.fast > 1
        text = layered_text(model, adapter, [prompts], size)
        frames = text.frames
        if request.guidance != 1.0:
            text = layered_text(model, adapter, [negative, prompts], size)
        seen = _Hints(injection, None if model.alpha else request.steps)
        sampled, _ = sample_together(
            model,
            plan,
            frames,
            _guided(layered_denoiser(model, injection, text), request, options),
            request,
            options,
            lambda done: on_step(done, total),
            watch=seen.note,
        )
        sampled = dataclasses.replace(sampled, hint=seen.hint())
        stack = decoded_stack(request, model, plan, sampled, options.levels, options.specks)
        stack = with_given(stack, given_picture(request), request)
        if request.harmonize != "irh":
            return with_whole(stack, model, plan, sampled) if options.whole else stack

        def guided(texts: Sequence[str]) -> Denoiser:
            halves = [request.negative] * len(texts) * (request.guidance != 1.0) + list(texts)
            kinds: list[Kind] = ["global"] * len(halves)
            conditioning = model.encode_text(halves, kinds, size)
            return _guided(whole_denoiser(model, injection, conditioning), request, options)

        stack = harmonized_stack(
            request, model, options, plan, sampled, stack, guided, lambda done: on_step(done, total)
        )
        return with_whole(stack, model, plan, sampled) if options.whole else stack


def _guided(denoise: Denoiser, request: GenerateRequest, options: Options) -> Denoiser:
    """Guide a denoiser whose batch is [negative, positive]; at scale 1 it is the positive half alone."""
    if request.guidance == 1.0:
        return denoise
    return classifier_free_joint(denoise, request.guidance, rescale=options.rescale, tint=options.tint)


class _Hints:
    """The mean of the context maps over the later half of the steps, for models without alpha."""

    def __init__(self, injection: Injection, steps: int | None) -> None:
        self._injection, self._steps = injection, steps
        self._kept: list[Tensor] = []

    def note(self, state: State) -> None:
        """Keep the maps of the positive half after a step."""
        if self._steps is not None and 2 * (state.step + 1) >= self._steps:
            whole, _ = self._injection.maps()
            self._kept.append(whole[-1].clamp(0, 1).unflatten(-1, self._injection.map_grid))

    def hint(self) -> Tensor | None:
        """(k, h, w), or None where nothing was kept."""
        return torch.stack(self._kept).mean(dim=0) if self._kept else None
