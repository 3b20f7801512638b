"""LayerDiffuse on SDXL with a given picture: first the whole picture, then the layer that is missing in it.

The networks read the latents of what is known beside the noise: the given picture, then also the whole one
that was drawn to it (arXiv 2402.17113, section 3.3, in the published form for SDXL).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest
from layercli.diffusion.sample import Denoiser, State, frame_noise, sample
from layercli.generate._given import Given, state_of
from layercli.generate._harmonize import MethodOptions, styled
from layercli.generate._joint import Sampled
from layercli.generate._layers import Plan, whole_made
from layercli.models.family import Kind
from layercli.models.hooks import inference
from layercli.models.layerdiffuse import LayerDiffuseXL, sdxl_given_files
from layercli.models.offsets import read_offsets, with_offsets
from layercli.models.reuse import deep_features_reused
from layercli.models.weight_files import FETCH_AGAIN


class _Beside(nn.Module):
    """A UNet that reads latents (1, C, h, w) beside its own, the same in every frame of a batch."""

    def __init__(self, unet: nn.Module, known: Tensor) -> None:
        super().__init__()
        self.unet, self.known = unet, known

    def forward(self, x: Tensor, t: Tensor, **settings: object) -> object:
        known = self.known.to(x).expand(len(x), -1, -1, -1)
        return self.unet(torch.cat([x, known], dim=1), t, **settings)


def steps_for(request: GenerateRequest) -> int:
    """Steps of both passes, for each foreground that is drawn."""
    return 2 * request.steps * len(request.foregrounds)


def sample_beside(
    request: GenerateRequest,
    model: LayerDiffuseXL,
    options: MethodOptions,
    folder: str,
    plan: Plan,
    given: Given,
    on_step: Callable[[int], None],
) -> Sampled:
    """Draw what is missing beside a given picture; the whole picture of the first foreground is kept.

    folder: of the files, "" for the model's own or the hub's cache. A background behind a foreground is ended
    by the base alone: after half of the steps its own network only repeats what was drawn.
    """
    missing: Kind = "foreground" if given.kind == "background" else "background"
    networks = [
        _network(model, path, count)
        for count, path in enumerate(sdxl_given_files(given.kind, model, folder), start=1)
    ]
    size, shape = plan.working.made, model.latent_shape(plan.working.made)
    known = model.codec.encode(whole_made(given.rgba, plan).to(model.device))  # flattened on gray
    noise = frame_noise(request.seed, [0], shape).to(model.device)
    schedule, path = model.schedule, model.schedule.path(request.steps)
    done = 0

    def denoiser(text: str, kind: Kind, network: nn.Module, beside: Tensor) -> Denoiser:
        seen = copy.copy(model)
        seen.foreground = seen._unet = _Beside(network, beside)
        return guided(seen, text, kind)

    def guided(seen: LayerDiffuseXL, text: str, kind: Kind) -> Denoiser:
        said = seen.encode_text([styled(text, request)], [kind], size)
        empty = seen.encode_text([request.negative], [kind], size)
        return seen.guided(said, empty, request.guidance, rescale=options.rescale, tint=options.tint)

    def walk(denoise: Denoiser, draw: int, network: nn.Module) -> Iterator[State]:
        nonlocal done
        start = frame_noise(request.seed, [draw], shape).to(model.device)
        fresh = lambda step: frame_noise(request.seed, [draw], shape, draw=step + 1)  # noqa: E731
        with deep_features_reused([network], options.fast):
            for state in sample(denoise, start, schedule, path, eta=options.eta, fresh=fresh):
                done += 1
                on_step(done)
                yield state

    wholes, drawn = [], []
    for index, thing in enumerate(request.foregrounds):
        one = len(request.foregrounds) == 1 or bool(request.prompt.strip())
        text = request.global_prompt if one else f"{thing}, {request.background}"
        whole = list(walk(denoiser(text, "global", networks[0], known), -index - 1, networks[0]))
        beside = torch.cat([known, whole[-1].x], dim=1)
        words = thing if missing == "foreground" else request.background
        told = denoiser(words, missing, networks[1], beside)
        if missing == "background":
            told = _until(path[len(path) // 2], told, guided(model, words, missing))
        drawn.append(list(walk(told, index + 1 if missing == "foreground" else 0, networks[1])))
        wholes.append(whole)
    clean = model.encode(whole_made(given.rgba, plan).to(model.device))
    steps = []
    for step, whole_state in enumerate(wholes[0]):
        layers = joined([states[step] for states in drawn])
        still = state_of(model, clean, noise, whole_state)
        front, ground = (layers, still) if missing == "foreground" else (still, layers)
        steps.append((front, joined([ground, whole_state])))
    return Sampled(steps=steps, hint=None)


def joined(states: list[State]) -> State:
    """The frames of several States of one time as one."""
    first = states[0]
    return State(
        step=first.step,
        t=first.t,
        came_from=first.came_from,
        x=torch.cat([state.x for state in states]),
        x0=torch.cat([state.x0 for state in states]),
    )


def _until(t: int, first: Denoiser, then: Denoiser) -> Denoiser:
    """One denoiser down to a time, another one below it."""

    def denoise(x: Tensor, times: Tensor) -> Tensor:
        return first(x, times) if int(times[0]) > t else then(x, times)

    return denoise


def _network(model: LayerDiffuseXL, path: Path, known: int) -> nn.Module:
    """The base with a file's offsets, which must read so many pictures beside the noise."""
    offsets = read_offsets(path, model.unet)
    channels = int(model.unet.config.in_channels)  # type: ignore[union-attr, arg-type]
    if offsets.channels != channels * (1 + known):
        raise LayercliError(
            f"{path} reads {offsets.channels // channels - 1} pictures beside the noise; this needs {known}.",
            FETCH_AGAIN,
        )
    return inference(with_offsets(model.unet, offsets), model.device, model.dtype)
