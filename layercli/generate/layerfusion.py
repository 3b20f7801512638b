"""LayerFusion: foregrounds, background and blended picture drawn together, agreeing through attention.

arXiv 2412.04460 for one foreground, here for k; its blended picture is harmonised by DreamLayer's IRH.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from layercli.core.effects import with_effects
from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.generate import _irh
from layercli.generate._exchange import Prior, Rules
from layercli.generate._joint import Sampled, Sampling, Scene, sample_frames
from layercli.generate._layers import (
    Plan,
    alphas_of,
    decoded_stack,
    pixels,
    plan_for,
    tensor,
    used_part,
    whole_made,
    with_light,
)
from layercli.generate._light import Transfer, at_size, changed, light_on, shades
from layercli.generate._masks import mask_guide
from layercli.generate._placement import stands
from layercli.models.family import Kind, Model


@dataclass(frozen=True, kw_only=True)
class Options:
    """Every piece can be switched off or set, so that its share can be measured.

    Exchange: d, prior ("both" is the paper's; "auto" takes "alpha", the predicted picture's own, where a
    model has it), prior_pass, blend (Eq 1), feedback (Eq 2), share and shield (Algorithm 3), exchange (times
    at which frames meet), blended_text (the paper gives the blended frame the background's text).
    Harmonising: window (times of IRH; below it the picture is free), fuse (Eq 12 on pixels or on latents),
    transfer (light and shadow, or the whole picture), smooth, reach, strongest, colour, contact (see
    _light.Transfer), against (harmonise the bare background too, and keep only what the objects change).
    Sampling: eta, rescale (of guidance). Alpha: levels (what becomes 0 and 1), specks (the share of an object
    below which a loose piece is cleared), hold (down to which time a mask holds its foreground).
    """

    d: float = 10.0
    prior: Literal["auto", "both", "structure", "content", "alpha"] = "auto"
    prior_pass: bool = False
    blend: bool = True
    feedback: bool = True
    share: bool = True
    shield: bool = True
    exchange: tuple[int, int] = (0, 1000)
    blended_text: Literal["whole", "background"] = "whole"
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
    levels: tuple[float, float] = (0.06, 0.94)
    specks: float = 0.01
    hold: int = 500

    def __post_init__(self) -> None:
        for name in ("window", "exchange"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 1000:
                raise LayercliError(f"{name}={low}-{high} is no range of times.", "Try: -O window=400-600")
        if not 0 <= self.levels[0] < self.levels[1] <= 1:
            raise LayercliError("levels are two rising numbers from 0 to 1.", "Try: -O levels=0.06-0.94")

    def rules(self, model: Model) -> Rules:
        """How frames meet; raises LayercliError for the "alpha" prior on a model that has none."""
        if self.prior == "alpha" and not model.alpha:
            raise LayercliError(f'The model "{model.name}" has no alpha of its own.', "Try: -O prior=both")
        own: Prior = "alpha" if model.alpha else "both"
        return Rules(
            d=self.d,
            prior=own if self.prior == "auto" else self.prior,
            blend=self.blend,
            feedback=self.feedback,
            share=self.share,
            shield=self.shield,
            window=self.exchange,
        )

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


def generate(
    request: GenerateRequest,
    model: Model,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Draw the layers of a request: the background, then each foreground, then shadows and light.

    harmonize="irh": frames meet while they are drawn, their composite is denoised on as one picture, and the
    light and shadow this gives become effect layers. "over": frames meet, and the plain composite stays.
    "none": every frame is drawn by itself. on_step: (steps done, steps in all).
    """
    plan = plan_for(request, model)
    path = model.schedule.path(request.steps)
    start = _irh.fusing_time(path, options.window)
    total = request.steps + (len(_irh.rest_of(path, start)) - 1 if request.harmonize == "irh" else 0)
    meets = request.harmonize != "none" and (options.blend or options.share)
    whole, behind = _styled(request.global_prompt, request), _styled(request.background, request)
    scene = Scene(
        foregrounds=[_styled(prompt, request) for prompt in request.foregrounds],
        background=behind,
        blended=(whole if options.blended_text == "whole" else behind) if meets else None,
        negative=request.negative,
        rectangles=plan.in_scene,
        guides={i: mask_guide(model, shape, options.hold) for i, shape in plan.shapes.items()},
        size=plan.working.made,
        frame=model.native_size,
    )
    sampling = Sampling(
        seed=request.seed,
        steps=request.steps,
        guidance=request.guidance,
        rescale=options.rescale,
        eta=options.eta,
        prior_pass=options.prior_pass,
    )
    rules = options.rules(model) if meets else None
    with torch.no_grad():
        sampled = sample_frames(model, scene, sampling, rules, lambda done: on_step(done, total))
        stack = decoded_stack(request, model, plan, sampled, options.levels, options.specks)
        if request.harmonize != "irh":
            return stack
        seen = torch.stack([tensor(stack.flatten()), tensor(stack.layers[0].rgba)])
        clean = model.encode(torch.cat([whole_made(rgba, plan) for rgba in seen]).to(model.device))
        fused = _fused(model, options, plan, sampled, stack, clean, start)
        texts = [whole, behind] if options.against else [whole]
        clean, fused = clean[: len(texts)], fused[: len(texts)]
        kinds: list[Kind] = ["global"] * len(texts)
        text = model.encode_text(texts, kinds, scene.size)
        empty = model.encode_text([request.negative] * len(texts), kinds, scene.size)
        harmonized = _irh.harmonize(
            model.guided(text, empty, request.guidance, rescale=options.rescale),
            fused,
            model.schedule,
            _irh.rest_of(path, start),
            lambda done: on_step(request.steps + done, total),
        )
        after = used_part(model.decode(harmonized, kinds)[:, :3], plan)
        before = used_part(model.decode(clean, kinds)[:, :3], plan)
    return _lit(request, options, stack, after, before)


def _lit(
    request: GenerateRequest, options: Options, stack: LayerStack, after: Tensor, before: Tensor
) -> LayerStack:
    """The stack with effect layers.

    after, before: (1 or 2, 3, h, w) the harmonised pictures and what the codec makes of the ones they were
    made from, so that what the codec loses is no shadow: with the objects, and without.
    """
    canvas = (stack.canvas.height, stack.canvas.width)
    if options.transfer == "all":
        return with_effects(stack, pixels(at_size(after[0], canvas)))
    alphas = [alpha.to(after) for alpha in alphas_of(stack, request.layer_names)]
    covered = 1 - torch.stack([1 - alpha for alpha in alphas]).prod(dim=0)
    standing = [
        alpha for prompt, alpha in zip(request.foregrounds, alphas, strict=True) if stands(prompt, alpha)
    ]
    stops = changed(after, before)
    without = stops[1] if len(stops) > 1 else None
    return with_light(stack, *shades(light_on(covered, stops[0], without, standing, options.light)))


def _styled(prompt: str, request: GenerateRequest) -> str:
    """A prompt as captions have it: what is seen, then the style."""
    return f"{prompt.strip()}, {request.style.strip()}" if request.style.strip() else prompt.strip()


def _fused(
    model: Model,
    options: Options,
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
