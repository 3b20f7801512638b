"""One frame from words, without others beside it: by any model, a whole picture or an object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.geometry import Size
from layercli.diffusion.sample import Denoiser, State, frame_noise, sample
from layercli.models.family import Kind, Model


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What to draw, and how: as in a request; number: which noise of the seed it starts from."""

    kind: Kind
    prompt: str
    negative: str = ""
    seed: int = 0
    number: int = 0
    steps: int = 30
    guidance: float = 4.0
    rescale: float = 0.0
    tint: float = 1.0
    eta: float = 0.0


@torch.no_grad()
def draw_frame(
    model: Model,
    frame: Frame,
    size: Size,
    *,
    start: Tensor | None = None,
    changed: Callable[[Denoiser], Denoiser] = lambda denoise: denoise,
    edit: Callable[[State], Tensor] | None = None,
    on_step: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Walk one frame from noise to clean latents, (1, C, h, w), by DDIM with guidance.

    size: of the picture as it is made; start: other noise than its own; changed: of the guided denoiser;
    edit: of latents between steps; on_step: steps done.
    """
    shape = model.latent_shape(size)
    text, empty = (model.encode_text([words], [frame.kind], size) for words in (frame.prompt, frame.negative))
    x = frame_noise(frame.seed, [frame.number], shape).to(model.device) if start is None else start
    walk = sample(
        changed(model.guided(text, empty, frame.guidance, rescale=frame.rescale, tint=frame.tint)),
        x,
        model.schedule,
        model.schedule.path(frame.steps),
        eta=frame.eta,
        fresh=lambda step: frame_noise(frame.seed, [frame.number], shape, draw=step + 1),
        edit=edit,
    )
    for state in walk:
        x = state.x
        on_step(state.step + 1)
    return x


@torch.no_grad()
def draw_picture(
    model: Model,
    prompt: str,
    *,
    size: Size,
    seed: int,
    steps: int = 30,
    guidance: float = 4.0,
    negative: str = "",
) -> np.ndarray:
    """Draw a whole picture -> (H, W, 3) float32 in [0, 1]; same seed, same pixels."""
    working = model.working_size(size)
    frame = Frame(kind="global", prompt=prompt, negative=negative, seed=seed, steps=steps, guidance=guidance)
    latents = draw_frame(model, frame, working.made)
    rgb = model.decode(latents, ["global"])[:, :3, : working.used.height, : working.used.width].float().cpu()
    if rgb.shape[-2:] != (size.height, size.width):
        rgb = F.interpolate(rgb, (size.height, size.width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(rgb[0].permute(1, 2, 0).clamp(0, 1).numpy())
