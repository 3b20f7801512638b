"""From sampled frames to a harmonised stack: IRH, then light and shadow as layers; what all methods share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from layercli.core.effects import with_effects
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import Denoiser
from layercli.generate import _irh
from layercli.generate._joint import Sampled
from layercli.generate._layers import (
    Plan,
    alphas_of,
    pixels,
    tensor,
    used_part,
    whole_made,
    with_light,
)
from layercli.generate._light import Transfer, at_size, changed, light_on, shades
from layercli.generate._placement import stands
from layercli.models.family import Kind, Model


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What every method can be told; every piece can be switched off or set, so that its share can be
    measured.

    Harmonising: window (times of IRH; below it the picture is free), fuse (Eq 12 on pixels or on latents),
    transfer (light and shadow, or the whole picture), smooth, reach, strongest, colour, contact (see
    _light.Transfer), against (harmonise the bare background too, and keep only what the objects change).
    Sampling: eta, rescale (of guidance), tint (how much guidance may shift mean colours, from 0 to 1).
    Alpha: levels (what becomes 0 and 1), specks (the share of an object below which a loose piece is
    cleared), hold (down to which time a mask holds its foreground). Speed: fast (2, 3, …: after the first
    steps deep features are renewed every 100, 200, … of 1000 times and carried on between; the picture
    changes by a little).
    """

    window: tuple[int, int] = (400, 600)
    fuse: Literal["pixels", "latents"] = "pixels"
    transfer: Literal["light", "all"] = "light"
    smooth: float = 0.02
    reach: float = 0.12
    strongest: float = 1.5
    colour: float = 0.2
    contact: float = 0.8
    against: bool = True
    eta: float = 0.0
    rescale: float = 0.0
    tint: float = 1.0
    levels: tuple[float, float] = (0.06, 0.94)
    specks: float = 0.01
    hold: int = 500
    fast: int = 1

    def __post_init__(self) -> None:
        check_times("window", self.window)
        if not 0 <= self.tint <= 1:
            raise LayercliError(f"tint={self.tint:g} is not from 0 to 1.", "Try: -O tint=0")
        if self.fast < 1:
            raise LayercliError(f"fast={self.fast} is not 1 or more.", "Try: -O fast=2")
        if not 0 <= self.levels[0] < self.levels[1] <= 1:
            raise LayercliError("levels are two rising numbers from 0 to 1.", "Try: -O levels=0.06-0.94")

    @property
    def light(self) -> Transfer:
        """What of the harmonised picture reaches the layers."""
        return Transfer(
            kind=self.transfer,
            smooth=self.smooth,
            reach=self.reach,
            strongest=self.strongest,
            colour=self.colour,
            contact=self.contact,
        )


def check_times(name: str, times: tuple[int, int]) -> None:
    """Raise LayercliError for what is no range of times."""
    if not 0 <= times[0] <= times[1] <= 1000:
        raise LayercliError(f"{name}={times[0]}-{times[1]} is no range of times.", "Try: -O window=400-600")


def steps_in_all(request: GenerateRequest, model: Model, options: MethodOptions) -> int:
    """Steps of sampling and harmonising together."""
    if request.harmonize != "irh":
        return request.steps
    path = model.schedule.path(request.steps)
    return request.steps + len(_irh.rest_of(path, _irh.fusing_time(path, options.window))) - 1


def harmonized_stack(
    request: GenerateRequest,
    model: Model,
    options: MethodOptions,
    plan: Plan,
    sampled: Sampled,
    stack: LayerStack,
    guided: Callable[[Sequence[str]], Denoiser],
    on_step: Callable[[int], None],
) -> LayerStack:
    """Denoise the layers' composite on as one picture; what this changes becomes effect layers.

    guided: texts of whole pictures -> their guided denoiser; on_step: steps done in all.
    """
    path = model.schedule.path(request.steps)
    start = _irh.fusing_time(path, options.window)
    seen = torch.stack([tensor(stack.flatten()), tensor(stack.layers[0].rgba)])
    clean = model.encode(torch.cat([whole_made(rgba, plan) for rgba in seen]).to(model.device))
    fused = _fused(model, options, plan, sampled, stack, clean, start)
    texts = [styled(request.global_prompt, request)]
    texts += [styled(request.background, request)] * options.against
    clean, fused = clean[: len(texts)], fused[: len(texts)]
    kinds: list[Kind] = ["global"] * len(texts)
    harmonized = _irh.harmonize(
        guided(texts),
        fused,
        model.schedule,
        _irh.rest_of(path, start),
        lambda done: on_step(request.steps + done),
    )
    after = used_part(model.decode(harmonized, kinds)[:, :3], plan)
    before = used_part(model.decode(clean, kinds)[:, :3], plan)
    return _lit(request, options, stack, after, before)


def plain_guided(
    request: GenerateRequest, model: Model, options: MethodOptions, size: Size
) -> Callable[[Sequence[str]], Denoiser]:
    """Texts of whole pictures of a size -> their guided denoiser, by the model as it is."""
    kinds: list[Kind] = ["global"]

    def guided(texts: Sequence[str]) -> Denoiser:
        text = model.encode_text(texts, kinds * len(texts), size)
        empty = model.encode_text([request.negative] * len(texts), kinds * len(texts), size)
        return model.guided(text, empty, request.guidance, rescale=options.rescale, tint=options.tint)

    return guided


def styled(prompt: str, request: GenerateRequest) -> str:
    """A prompt as captions have it: what is seen, then the style."""
    return f"{prompt.strip()}, {request.style.strip()}" if request.style.strip() else prompt.strip()


def _lit(
    request: GenerateRequest, options: MethodOptions, stack: LayerStack, after: Tensor, before: Tensor
) -> LayerStack:
    """The stack with effect layers.

    after, before: (1 or 2, 3, h, w) the harmonised pictures and what the codec makes of the ones they were
    made from, so that what the codec loses is no shadow: with the objects, and without.
    """
    canvas = (stack.canvas.height, stack.canvas.width)
    if options.transfer == "all":
        return with_effects(stack, pixels(at_size(after[0], canvas)))
    alphas = alphas_of(stack, request.layer_names)
    return with_light(stack, *shades_of(alphas, request.foregrounds, after, before, options.light))


def shades_of(
    alphas: Sequence[Tensor], words: Sequence[str], after: Tensor, before: Tensor, light: Transfer
) -> tuple[Tensor, Tensor]:
    """What to multiply and to screen the canvas with for things of these alphas (H, W) and words.

    after, before: (1 or 2, 3, h, w), as in `_lit`.
    """
    seen = [alpha.to(after) for alpha in alphas]
    covered = 1 - torch.stack([1 - alpha for alpha in seen]).prod(dim=0)
    standing = [alpha for prompt, alpha in zip(words, seen, strict=True) if stands(prompt, alpha)]
    stops = changed(after, before)
    without = stops[1] if len(stops) > 1 else None
    return shades(light_on(covered, stops[0], without, standing, light))


def _fused(
    model: Model,
    options: MethodOptions,
    plan: Plan,
    sampled: Sampled,
    stack: LayerStack,
    clean: Tensor,
    start: int,
) -> Tensor:
    """Latents of all frames as one picture, and of the background alone, at the time `start`: (2, C, h, w).

    "pixels": Eq 12 on the decoded layers, whose latents `clean` (2, C, h, w) get the background frame's own
    noise of that time. "latents": Eq 12 on the latents, each frame placed in its rectangle. The embedded
    model's latents have 1/16 of a picture's side, too coarse for the outline of an alpha: hence pixels.
    """
    objects, scene = sampled.at(start)
    noise = _irh.noise_in(scene, model.schedule)[:1]
    if options.fuse == "pixels":
        return model.schedule.add_noise(clean, noise, start)
    alphas = [whole_made(alpha.expand(4, -1, -1), plan)[0, 3] for alpha in alphas_of(stack, stack.names[1:])]
    fused = _irh.fuse_placed(objects.x, scene.x[0], noise[0], alphas, plan.in_scene)
    return torch.stack([fused, scene.x[0]])
