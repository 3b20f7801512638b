"""LayerFusion: foregrounds, background and blended picture drawn together, agreeing through attention.

arXiv 2412.04460 for one foreground, here for k; its blended picture is harmonised by DreamLayer's IRH.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.generate._exchange import Prior, Rules
from layercli.generate._given import given_picture, in_its_frame, with_given
from layercli.generate._harmonize import (
    MethodOptions,
    check_times,
    harmonized_stack,
    plain_guided,
    steps_in_all,
    styled,
)
from layercli.generate._joint import Sampling, Scene, held, sample_frames
from layercli.generate._layers import decoded_stack, plan_for, with_whole
from layercli.generate._masks import mask_guide
from layercli.models.family import Model
from layercli.models.reuse import deep_features_reused


@dataclass(frozen=True, kw_only=True)
class Options(MethodOptions):
    """Those of every method (see _harmonize), and the pieces of LayerFusion.

    Exchange: d, prior ("both" is the paper's; "auto" takes "alpha", the predicted picture's own, where a
    model has it), prior_pass, blend (Eq 1), feedback (Eq 2), share and shield (Algorithm 3), exchange (times
    at which frames meet), blended_text (the paper gives the blended frame the background's text). whole: the
    blended frame stays, as a hidden layer.
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
    whole: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_times("exchange", self.exchange)
        if self.whole and self.exchange[0] > 0:
            raise LayercliError(
                "The blended frame is not drawn to its end where frames stop meeting before.",
                "Try: -O exchange=0-1000 -O whole=yes",
            )

    def rules(self, model: Model) -> Rules:
        """How frames meet; raises LayercliError for the "alpha" prior on a model that has none."""
        if self.prior == "alpha" and not model.early_alpha:
            raise LayercliError(
                f'The latents of the model "{model.name}" show no alpha.', "Try: -O prior=both"
            )
        own: Prior = "alpha" if model.early_alpha else "both"
        return Rules(
            d=self.d,
            prior=own if self.prior == "auto" else self.prior,
            blend=self.blend,
            feedback=self.feedback,
            share=self.share,
            shield=self.shield,
            window=self.exchange,
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
    "none": every frame is drawn by itself. A given picture is held at every step. on_step: (steps done, steps
    in all).
    """
    given = given_picture(request)
    plan, known = in_its_frame(model, given, plan_for(request, model))
    total = steps_in_all(request, model, options)
    meets = request.harmonize != "none" and (options.blend or options.share)
    if options.whole and not meets:
        raise LayercliError(
            "Where frames do not meet there is no blended frame to keep.", "Leave -O whole=yes out."
        )
    whole, behind = styled(request.global_prompt, request), styled(request.background, request)
    scene = Scene(
        foregrounds=[styled(prompt, request) for prompt in request.foregrounds],
        background=behind,
        blended=(whole if options.blended_text == "whole" else behind) if meets else None,
        negative=request.negative,
        rectangles=plan.in_scene,
        guides={i: mask_guide(model, shape, options.hold) for i, shape in plan.shapes.items()}
        | {frame: held(model, clean) for frame, clean in known.items()},
        size=plan.working.made,
        frame=model.native_size,
        known=known,
    )
    sampling = Sampling(
        seed=request.seed,
        steps=request.steps,
        guidance=request.guidance,
        rescale=options.rescale,
        tint=options.tint,
        eta=options.eta,
        prior_pass=options.prior_pass,
    )
    rules = options.rules(model) if meets else None
    with torch.no_grad(), deep_features_reused(model.unets, options.fast):
        sampled = sample_frames(model, scene, sampling, rules, lambda done: on_step(done, total))
        stack = decoded_stack(request, model, plan, sampled, options.levels, options.specks)
        stack = with_given(stack, given, request)
        if request.harmonize == "irh":
            guided = plain_guided(request, model, options, scene.size)
            stack = harmonized_stack(
                request, model, options, plan, sampled, stack, guided, lambda done: on_step(done, total)
            )
        return with_whole(stack, model, plan, sampled) if options.whole else stack
