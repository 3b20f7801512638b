"""Sampling foregrounds, background and blended picture together: one network call a step where possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layercli.core.geometry import Size
from layercli.diffusion.attention import Rectangle
from layercli.diffusion.sample import Denoiser, State, frame_noise, sample
from layercli.diffusion.schedule import Schedule
from layercli.generate._exchange import Exchange, Part, Rules
from layercli.models.family import Conditioning, Kind, Model
from layercli.models.hooks import attention_layers, edited_attention

Guide = Callable[[Tensor, Tensor, int], Tensor]
"""(x (C, h, w), x_0, t) -> x to go on with: holds one frame to a shape, or to what it was."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What is sampled together.

    foregrounds: k prompts, back to front; background: its prompt; blended: the whole picture's prompt, or
    None to leave that frame out; rectangles: where each foreground's frame lies in the scene, as fractions;
    guides: by frame; known: clean latents of frames to start from instead of from noise alone, by frame;
    size, frame: of the scene and of a foreground's frame, in pixels. Frames count from 0: the foregrounds,
    the background, the blended one.
    """

    foregrounds: Sequence[str]
    background: str
    blended: str | None
    negative: str
    rectangles: Sequence[Rectangle]
    guides: Mapping[int, Guide]
    size: Size
    frame: Size
    known: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to walk: seed, number of steps, guidance scale, its rescaling and its tint, eta (0 DDIM, 1 DDPM).

    strength: how far up the noise the walk begins, 1 for pure noise (SDEdit, Meng et al. 2022, section 3).

    prior_pass: read the priors in a call of their own before each step, as the paper draws it, instead of
    from the step before, which costs nothing.
    """

    seed: int
    steps: int
    guidance: float
    rescale: float = 0.0
    tint: float = 1.0
    eta: float = 0.0
    prior_pass: bool = False
    strength: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """Latents on the way and after the last step.

    steps: one pair of States a step, of the foregrounds (k rows) and of the scene (the background and, where
    there is one, the blended frame); hint: (k, h, w) where attention saw the objects, if it was watched;
    masks: (k, H, W) of the objects' frames, where a method draws masks of their own.
    """

    steps: Sequence[tuple[State, State]]
    hint: Tensor | None
    masks: Tensor | None = None

    @property
    def foregrounds(self) -> Tensor:
        """The foregrounds' clean latents, (k, C, h, w)."""
        return self.steps[-1][0].x

    @property
    def background(self) -> Tensor:
        """The background's clean latents, (1, C, h, w)."""
        return self.steps[-1][1].x[:1]

    def at(self, t: int) -> tuple[State, State]:
        """The pair of States whose latents are at the time t."""
        return next(pair for pair in self.steps if pair[0].t == t)


def sample_frames(
    model: Model,
    scene: Scene,
    sampling: Sampling,
    rules: Rules | None,
    on_step: Callable[[int], None] = lambda done: None,
) -> Sampled:
    """Sample all frames of a picture together; rules: how frames meet, None keeps them apart.

    Where frames share shape and network they are one batch; else foregrounds and scene take turns, step by
    step. on_step: number of steps done.
    """
    k = len(scene.foregrounds)
    exchange = _exchange(model, scene, rules, sampling)
    steps: list[tuple[State, State]] = []
    with ExitStack() as stack, torch.no_grad():
        walks = _walks(model, scene, sampling, exchange, rules)
        if exchange is not None:
            for unet in model.unets:
                stack.enter_context(edited_attention(unet, exchange))
        for done, states in enumerate(zip(*walks, strict=True), 1):
            joint = len(states) == 1
            if exchange is not None:
                exchange.notice(model.coarse_alpha(states[0].x0[:k]))
            steps.append(
                (rows_of(states[0], slice(0, k)), rows_of(states[-1], slice(k if joint else 0, None)))
            )
            on_step(done)
    return Sampled(steps=steps, hint=None if exchange is None else exchange.alpha_hint())


def _walks(
    model: Model, scene: Scene, sampling: Sampling, exchange: Exchange | None, rules: Rules | None
) -> list[Iterator[State]]:
    """One sampling loop over all frames, or two, foregrounds first.

    Below the times at which frames meet, nothing looks at the blended frame any more: it is not computed.
    """
    k = len(scene.foregrounds)
    prompts = [*scene.foregrounds, scene.background, *([] if scene.blended is None else [scene.blended])]
    text, empty = _text(model, scene, prompts), _text(model, scene, [scene.negative] * len(prompts))
    # Background and blended frame start from one noise, so that they agree on the scene from the first step.
    draws = [*range(1, k + 1), *[0] * (len(prompts) - k)]
    small, large = model.latent_shape(scene.frame), model.latent_shape(scene.size)
    networks = {id(model.unet_for(kind)) for kind in text.kinds}
    path = model.schedule.path(sampling.steps)
    if sampling.strength < 1:
        path = model.schedule.path(sampling.steps, start=beginning(path, sampling.strength, model.schedule))

    def walk(part: Part, rows: range) -> Iterator[State]:
        shape, numbers = large if part == "scene" else small, [draws[row] for row in rows]
        denoise = model.guided(
            text.select(rows),
            empty.select(rows),
            sampling.guidance,
            rescale=sampling.rescale,
            tint=sampling.tint,
        )
        meets_from = 0 if rules is None or scene.blended is None else rules.window[0]
        if meets_from > 0 and part != "foregrounds":
            fewer = rows[:-1]
            rest = model.guided(
                text.select(fewer),
                empty.select(fewer),
                sampling.guidance,
                rescale=sampling.rescale,
                tint=sampling.tint,
            )
            denoise = _without_last(denoise, rest, meets_from)
        if exchange is not None:
            reads = sampling.prior_pass and part != "scene"
            reader = model.denoiser(text.select(range(k))) if reads else None
            denoise = _announced(model, denoise, exchange, part, reader, k)
        x = frame_noise(sampling.seed, numbers, shape).to(model.device)
        for place, row in enumerate(rows):
            if row in scene.known:
                x[place] = model.schedule.add_noise(scene.known[row].to(x), x[place], path[0])
        guides = {place: scene.guides[row] for place, row in enumerate(rows) if row in scene.guides}
        return sample(
            denoise,
            x,
            model.schedule,
            path,
            eta=sampling.eta,
            fresh=lambda step: frame_noise(sampling.seed, numbers, shape, draw=step + 1),
            edit=hold_shapes(guides) if guides else None,
        )

    if small == large and len(networks) == 1:
        return [walk("all", range(len(prompts)))]
    return [walk("foregrounds", range(k)), walk("scene", range(k, len(prompts)))]


def _exchange(model: Model, scene: Scene, rules: Rules | None, sampling: Sampling) -> Exchange | None:
    """The attention edit of a run; a model without alpha is watched even where frames do not meet."""
    if rules is None and model.alpha:
        return None
    k = len(scene.foregrounds)
    text = model.encode_text(scene.foregrounds, ["foreground"] * k, scene.frame)
    return Exchange(
        rules or Rules(window=(1, 0)),  # no time lies in this window
        rectangles=scene.rectangles,
        summary=text.summary,
        frame=model.latent_shape(scene.frame)[1:],
        scene=model.latent_shape(scene.size)[1:],
        layers=attention_layers(model.unet_for("foreground")),
        guided=sampling.guidance != 1.0,
    )


def _text(model: Model, scene: Scene, prompts: Sequence[str]) -> Conditioning:
    """Foregrounds are told the size of their frame, the others that of the scene."""
    k = len(scene.foregrounds)
    kinds: list[Kind] = ["background", "global"]
    objects = model.encode_text(prompts[:k], ["foreground"] * k, scene.frame)
    return objects.cat(model.encode_text(prompts[k:], kinds[: len(prompts) - k], scene.size))


def _announced(
    model: Model, denoise: Denoiser, exchange: Exchange, part: Part, reader: Denoiser | None, k: int
) -> Denoiser:
    """The denoiser, telling the exchange of each call first."""

    def announced(x: Tensor, t: Tensor) -> Tensor:
        if reader is not None:
            exchange.begin(int(t[0]), part, recording=True)
            x0, _ = model.schedule.split(x[:k], reader(x[:k], t[:k]), int(t[0]))
            exchange.notice(model.coarse_alpha(x0))
        exchange.begin(int(t[0]), part)
        return denoise(x, t)

    return announced


def _without_last(all_frames: Denoiser, rest: Denoiser, low: int) -> Denoiser:
    """Below the time `low` the last frame is given the answer of the one before it, and never asked for."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if int(t[0]) >= low:
            return all_frames(x, t)
        answer = rest(x[:-1], t[:-1])
        return torch.cat([answer, answer[-1:]])

    return denoise


def hold_shapes(guides: Mapping[int, Guide]) -> Callable[[State], Tensor]:
    """A hook between steps that holds frames, by their row, to shapes."""

    def edit(state: State) -> Tensor:
        x = state.x.clone()
        for index, guide in guides.items():
            x[index] = guide(x[index], state.x0[index], state.t)
        return x

    return edit


def beginning(path: Sequence[int], strength: float, schedule: Schedule) -> int:
    """The first time of a falling path at which no more than a share of all times is left, or its last."""
    return next((t for t in path[:-1] if t < strength * schedule.times), path[-2])


def held(model: Model, clean: Tensor) -> Guide:
    """Hold a frame to its clean latents (C, h, w): the predicted x_0 is replaced at every step.

    LayerDiff, layer inpainting: fixed layers keep their latents.
    """

    def guide(x: Tensor, x0: Tensor, t: int) -> Tensor:
        return x + model.schedule.alpha(t).sqrt().to(x) * (clean.to(x) - x0)

    return guide


def rows_of(state: State, rows: slice | list[int]) -> State:
    """A State of some frames alone."""
    return State(step=state.step, t=state.t, came_from=state.came_from, x=state.x[rows], x0=state.x0[rows])
