"""LayerDiffuse on SD1.5: foreground, background and whole picture drawn together by its public weights.

arXiv 2402.17113, section 3.3, for one foreground; here for k: a trio of frames each, in one batch, the first
one's background held in all of them. Alpha comes from its transparency decoder. On SDXL, whose public weights
draw no background of their own, it draws to a given picture (see _beside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import State, frame_noise, sample
from layercli.generate import _alone
from layercli.generate._beside import joined, sample_beside, steps_for
from layercli.generate._given import Given, given_picture, on_whole, state_of, with_given
from layercli.generate._harmonize import MethodOptions, harmonized_stack, plain_guided, steps_in_all, styled
from layercli.generate._joint import Sampled, hold_shapes, rows_of
from layercli.generate._layers import Plan, canvas_plan, decoded_stack, whole_made
from layercli.generate._masks import mask_guide
from layercli.models.attention_sharing import AttentionSharing, check_frames
from layercli.models.codecs import GRAY
from layercli.models.family import Kind, Model
from layercli.models.layerdiffuse import (
    SD15_DECODER,
    SD15_ENCODER,
    SD15_FILES,
    LayerDiffuseXL,
    TransparentSD15,
    sd15_file,
    sdxl_given_files,
)
from layercli.models.reuse import deep_features_reused
from layercli.models.sd15 import SD15Model
from layercli.models.sdxl import SDXLModel

MODELS: tuple[str, ...] = ("sd15",)
"""The families it draws with."""

ALONE: bool = True
"""It has weights that draw a foreground by itself."""

TRIO: tuple[Kind, ...] = ("foreground", "background", "global")
FRAMES = {"joint": 3, "alone": 1, "behind": 2, "before": 2}
"""Of one picture, by what a file is for (see models.layerdiffuse)."""


@dataclass(frozen=True, kw_only=True)
class Options(MethodOptions):
    """Those of every method (see _harmonize), and which files to use.

    weights: a folder of the published files, the hub's cache where empty; attention, decoder, encoder: single
    files instead. levels: alpha is kept as the decoder gives it.
    """

    weights: str = ""
    attention: str = ""
    decoder: str = ""
    encoder: str = ""
    levels: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cast:
    """Frames of one batch: their kinds, their texts, and which noise each starts from."""

    kinds: Sequence[Kind]
    texts: Sequence[str]
    draws: Sequence[int]

    def rows(self, kind: Kind) -> list[int]:
        """The frames of a kind."""
        return [row for row, found in enumerate(self.kinds) if found == kind]


def generate(
    request: GenerateRequest,
    model: Model,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Draw the layers of a request: the background, then each foreground, then shadows and light.

    harmonize="irh": the layers' composite is harmonised by the model as it is; "over": the plain composite;
    "none": foregrounds are drawn alone, by the weights made for that, and the background by the plain model.
    A given background gets foregrounds before it, a given foreground a background behind it. Raises
    LayercliError for models without such weights, and where weights are missing.
    """
    given = given_picture(request)
    if request.alone:
        return _foreground_alone(request, model, options, on_step)
    _check_model(model, given)
    plan = canvas_plan(request, model)
    passes = steps_for(request) if isinstance(model, SDXLModel) else request.steps
    more = passes - request.steps
    total = steps_in_all(request, model, options) + more
    with torch.no_grad(), deep_features_reused(model.unets, options.fast):
        seen, sampled = _drawn(request, model, options, plan, given, lambda done: on_step(done, total))
        stack = decoded_stack(request, seen, plan, sampled, options.levels, options.specks)
        stack = with_given(stack, given, request)
        if request.harmonize != "irh":
            return stack
        guided = plain_guided(request, seen, options, plan.working.made)
        return harmonized_stack(
            request, seen, options, plan, sampled, stack, guided, lambda done: on_step(more + done, total)
        )


def _foreground_alone(
    request: GenerateRequest, model: Model, options: Options, on_step: Callable[[int, int], None]
) -> LayerStack:
    """A foreground by the weights made for that: SDXL's are in its model, SD1.5's change its attention."""
    if isinstance(model, LayerDiffuseXL):
        return _alone.generate(request, model, options, on_step)
    _check_model(model, None)
    assert isinstance(model, SD15Model)
    seen, sharing = _opened(model, options, "alone")
    return _alone.generate(
        request, seen, options, on_step, changed=lambda denoise: sharing.shared(denoise, seen.unet)
    )


def weight_files(options: Options, request: GenerateRequest, model: Model) -> list[Path]:
    """The files that a request draws with, besides the model's own, for the receipt."""
    given = given_picture(request)
    if request.alone and isinstance(model, LayerDiffuseXL):
        return []
    _check_model(model, given)
    if given is not None and isinstance(model, LayerDiffuseXL):
        return sdxl_given_files(given.kind, model, options.weights)
    return [path for path in _files(options, _use(request, given)) if path is not None]


def _check_model(model: Model, given: Given | None) -> None:
    """Raise LayercliError for a model without weights of LayerDiffuse, or with none for a whole picture."""
    if isinstance(model, LayerDiffuseXL) and given is None:
        raise LayercliError(
            "LayerDiffuse has no weights that draw all layers of SDXL together.",
            "Try: --method layerfusion, or --given photo.jpg",
        )
    if not isinstance(model, SD15Model) or type(model) is SDXLModel:
        raise LayercliError(
            f'LayerDiffuse draws frames together on SD1.5, not on "{model.name}".',
            "Try: --model sd15, or --method layerfusion",
        )


def _drawn(
    request: GenerateRequest,
    model: Model,
    options: Options,
    plan: Plan,
    given: Given | None,
    on_step: Callable[[int], None],
) -> tuple[Model, Sampled]:
    """The model with alpha, and all frames; what is given stands where it would at every step."""
    if given is not None and isinstance(model, LayerDiffuseXL):
        return model, sample_beside(request, model, options, options.weights, plan, given, on_step)
    assert isinstance(model, SD15Model)
    seen, sharing = _opened(model, options, _use(request, given))
    return seen, _sampled(request, seen, options, plan, sharing, given, on_step)


def _use(request: GenerateRequest, given: Given | None) -> str:
    if given is not None:
        return "before" if given.kind == "background" else "behind"
    return "alone" if request.alone or request.harmonize == "none" else "joint"


def _files(options: Options, use: str) -> tuple[Path, Path, Path | None]:
    """The attention, decoder and encoder files; the encoder may be missing."""

    def named(asked: str, name: str) -> Path:
        return Path(asked).expanduser() if asked else sd15_file(use, name, options.weights)

    attention = named(options.attention, SD15_FILES[use].file)
    decoder = named(options.decoder, SD15_DECODER)
    if options.encoder:
        return attention, decoder, Path(options.encoder).expanduser()
    beside = decoder.with_name(SD15_ENCODER)
    return attention, decoder, beside if beside.is_file() else None


def _opened(model: SD15Model, options: Options, use: str) -> tuple[TransparentSD15, AttentionSharing]:
    attention, decoder, encoder = _files(options, use)
    sharing = AttentionSharing.load(attention, model.unet)
    check_frames(sharing, attention, FRAMES[use], control=use in ("before", "behind"))
    return TransparentSD15.of(model, decoder, encoder), sharing.to(device=model.device, dtype=model.dtype)


def _sampled(
    request: GenerateRequest,
    model: TransparentSD15,
    options: Options,
    plan: Plan,
    sharing: AttentionSharing,
    given: Given | None,
    on_step: Callable[[int], None],
) -> Sampled:
    """Walk all frames from noise to clean latents; what is given stands where it would at every step."""
    control = clean = None
    if given is not None:
        made = whole_made(given.rgba, plan)
        control = made[:, :3] * made[:, 3:] + GRAY * (1 - made[:, 3:])
        clean = on_whole(model, given, plan)[None]
        kinds: tuple[Kind, ...] = ("foreground" if given.kind == "background" else "background", "global")
    else:
        kinds = ("foreground",) if request.harmonize == "none" else TRIO
    together = _cast(request, kinds)
    walks = [_walk(request, model, options, plan, together, sharing, control)]
    casts = [together]
    if "global" not in kinds:
        casts.append(_cast(request, ("background",)))
        walks.append(_walk(request, model, options, plan, casts[-1], None, None))
    noise = frame_noise(request.seed, [0], model.latent_shape(plan.working.made)).to(model.device)
    steps: list[tuple[State, State]] = []
    for done, states in enumerate(zip(*walks, strict=True), 1):
        found = {
            kind: rows_of(state, cast.rows(kind))
            for state, cast in zip(states, casts, strict=True)
            for kind in dict.fromkeys(cast.kinds)
        }
        if given is not None and clean is not None:
            found[given.kind] = state_of(model, clean, noise, states[0])
        scene = [rows_of(found[kind], [0]) for kind in ("background", "global") if kind in found]
        steps.append((found["foreground"], joined(scene)))
        on_step(done)
    return Sampled(steps=steps, hint=None)


def _cast(request: GenerateRequest, kinds: tuple[Kind, ...]) -> _Cast:
    """A picture for each foreground where foregrounds are among the kinds, else one picture."""
    count = len(request.foregrounds) if "foreground" in kinds else 1
    behind = request.background
    texts, draws = [], []
    for index in range(count):
        thing = request.foregrounds[index]
        whole = request.global_prompt if count == 1 or request.prompt.strip() else f"{thing}, {behind}"
        said = {"foreground": thing, "background": behind, "global": whole}
        noises = {"foreground": index + 1, "background": 0, "global": -index - 1}
        texts += [styled(said[kind], request) for kind in kinds]
        draws += [noises[kind] for kind in kinds]
    return _Cast(kinds=kinds * count, texts=texts, draws=draws)


def _walk(
    request: GenerateRequest,
    model: TransparentSD15,
    options: Options,
    plan: Plan,
    cast: _Cast,
    sharing: AttentionSharing | None,
    control: Tensor | None,
) -> Iterator[State]:
    """One sampling loop over the frames of a cast; all backgrounds are the first one's."""
    size, shape = plan.working.made, model.latent_shape(plan.working.made)
    text = model.encode_text(cast.texts, cast.kinds, size)
    empty = model.encode_text([request.negative] * len(cast.texts), cast.kinds, size)
    denoise = model.guided(text, empty, request.guidance, rescale=options.rescale, tint=options.tint)
    if sharing is not None:
        denoise = sharing.shared(denoise, model.unet, control)
    front, grounds = cast.rows("foreground"), cast.rows("background")
    hold = hold_shapes(
        {front[i]: mask_guide(model, mask, options.hold) for i, mask in plan.shapes.items() if front}
    )

    def edit(state: State) -> Tensor:
        x = hold(state)
        x[grounds[1:]] = x[grounds[:1]]
        return x

    return sample(
        denoise,
        frame_noise(request.seed, cast.draws, shape).to(model.device),
        model.schedule,
        model.schedule.path(request.steps),
        eta=options.eta,
        fresh=lambda step: frame_noise(request.seed, cast.draws, shape, draw=step + 1),
        edit=edit,
    )
