"""Walk the photo back to noise, and let a diffusion model draw its layers from there, without training.

DreamLayer's image to layers (arXiv 2503.12838, supplement 5): DDIM inversion of the photo as the global
frame, duplicated for every layer, with masked attention; then layered denoising with the layers' prompts.
What the model draws is a guess at alpha, colour and background; the 8-bit colours are then solved so that the
layers are the photo. Where a model makes no alpha, as Stable Diffusion 1.5, an object is where the photo's
attention to its words was on the way to noise (context maps, main paper, Eq 3 and 4), cut along the photo's
own edges, and the model draws what is behind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.decompose._context import ContextMaps, object_in
from layercli.decompose._cutting import Cutting, cut_out
from layercli.decompose._objects import Found
from layercli.decompose._stack import Taken, solved_from
from layercli.diffusion.sample import State, run, sample
from layercli.models.catalog import load_model
from layercli.models.family import Kind, Model
from layercli.models.hooks import AttentionCall, edited_attention
from layercli.vision.grids import resized

Share = Literal["all", "global", "none"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the layers show, and how they are drawn.

    foregrounds: prompts, back to front, with commas between them; background: its prompt; prompt: the whole
    picture's, made of the parts where it is empty. inverted_as: the text of every frame on the way back, the
    whole picture's or its layer's. model, device, dtype, offload, steps, guidance: as in generate.
    masked: during inversion every frame sees only the global frame (Eq 2), else all frames (what the paper
    compares with); share: what frames see while layers are drawn, each its own and the global frame's tokens,
    all frames' (LSSA, for models that were trained so), or none but its own. start: the time walked back to;
    refine: further calls per step of inversion, each nearer to the exact inverse. least: alpha below which
    nothing is kept.
    """

    foregrounds: tuple[str, ...]
    background: str
    prompt: str = ""
    model: str = "embedded"
    device: str = "auto"
    dtype: str = "auto"
    offload: Literal["none", "model", "sequential"] = "none"
    steps: int = 30
    guidance: float = 4.0
    inverted_as: Literal["whole", "layers"] = "whole"
    masked: bool = True
    share: Share = "global"
    start: int = 999
    refine: int = 2
    least: float = 0.1

    def __post_init__(self) -> None:
        if not self.foregrounds or not all(prompt.strip() for prompt in self.foregrounds):
            raise LayercliError("A foreground prompt is empty.", 'Try: -O foregrounds="a cat"')
        if not 0 < self.start <= 999:
            raise LayercliError(f"start={self.start} is not from 1 to 999.", "Try: -O start=999")
        if not 0 <= self.least < 0.5:
            raise LayercliError(f"least={self.least:g} is not from 0 to 0.5.", "Try: -O least=0.1")
        if not 1 <= self.steps <= 1000:
            raise LayercliError(f"steps={self.steps} is not from 1 to 1000.", "Try: -O steps=30")


class GlobalAttention:
    """The attention edit: self-attention over the tokens of the global frame, the last of the batch.

    masked: every query sees the global frame's tokens alone (supplement, Eq 1-3: M is 0 for them and -∞ for
    all others, which is to leave the others out); otherwise what `share` says, its own tokens included.
    """

    def __init__(self, share: Share, *, masked: bool, halves: int = 1) -> None:
        self.share, self.masked, self.halves = share, masked, halves

    def __call__(self, call: AttentionCall) -> Tensor:
        if call.layer.cross or (not self.masked and self.share == "none"):
            return call.output()
        query, key, value = call.heads()
        halves = (
            self._seen(query, k, v)
            for k, v in zip(key.chunk(self.halves), value.chunk(self.halves), strict=True)
        )
        keys, values = (torch.cat(parts) for parts in zip(*halves, strict=True))
        return call.project(call.attend(query, keys, values))

    def _seen(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, M, d) that each frame of one half of the batch sees."""
        frames = len(key)
        seen = []
        for part in (key, value):
            whole = part[-1:].expand(frames, -1, -1, -1)
            if self.masked:
                seen.append(whole)
            elif self.share == "all":
                joined = part.transpose(0, 1).flatten(1, 2)
                seen.append(joined.expand(frames, -1, -1, -1))
            else:
                both = torch.cat([part, whole], dim=2)
                both[-1] = torch.cat([part[-1], part[-1]], dim=1)  # the global frame sees itself alone
                seen.append(both)
        return seen[0], seen[1]


@functools.lru_cache(maxsize=1)
def opened(options: Options) -> Model:
    """The model of some options; the last one is kept for the next photo."""
    return load_model(options.model, device=options.device, dtype=options.dtype, offload=options.offload)


def decompose(
    request: DecomposeRequest,
    photo: np.ndarray,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Take a photo apart into the layers that prompts name: photo (H, W, 3) float32 in [0, 1], in levels.

    Raises LayercliError for a model that is not there, and where no object came out.
    """
    model = opened(options)
    height, width = photo.shape[:2]
    maps = None if model.alpha else _maps_of(model, photo, options)
    drawn = draw_layers(model, photo, options, on_step, maps)
    pictures = [resized(np.moveaxis(frame.numpy(), 0, -1), height, width) for frame in drawn]
    *objects, scene = pictures
    for rgba in objects:
        # What a model without alpha draws is opaque: behind its objects there is the scene alone.
        shown = (rgba[..., 3] - options.least) / (1 - 2 * options.least)
        rgba[..., 3] = 0 if maps else np.clip(shown, 0, 1)
    names = [prompt.strip() for prompt in options.foregrounds]
    seen = maps.masks() if maps else None
    stack = solved_from(
        photo,
        names,
        [scene, *objects],
        None if seen is None else lambda number, left: _shown(left, seen[number], names[number]),
    )
    if stack is None:
        raise LayercliError(
            f"No object came out of {request.photo}.",
            "Name what is in it: -O foregrounds=…, or --method matte",
        )
    return stack


def _shown(left: np.ndarray, where: np.ndarray, prompt: str) -> Taken | None:
    """An object that the photo shows where a context map is high, None where there is none."""
    mask = object_in(left, where)
    if not (mask > 0.5).any():
        return None
    cutting = cut_out(left, Found(name=prompt, mask=mask), Cutting())
    return cutting if cutting[1].any() else None


def _maps_of(model: Model, photo: np.ndarray, options: Options) -> ContextMaps:
    size = Size(photo.shape[1], photo.shape[0])
    return ContextMaps(model, size, options.foregrounds, whole_prompt(options))


def whole_prompt(options: Options) -> str:
    """The text of the whole picture."""
    return options.prompt or f"{' and '.join(options.foregrounds)}, {options.background}"


def draw_layers(
    model: Model,
    photo: np.ndarray,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    maps: ContextMaps | None = None,
) -> Tensor:
    """Invert and draw: photo (H, W, 3) -> (k + 1, 4, h, w) at the model's size, the background last.

    maps: reads where the photo shows what, on its way to noise.
    """
    size = model.working_size(Size(photo.shape[1], photo.shape[0]))
    used = torch.from_numpy(np.moveaxis(resized(photo, size.used.height, size.used.width), -1, 0).copy())
    rgba = torch.cat([used, torch.ones_like(used[:1])])[None]
    padding = (0, size.made.width - size.used.width, 0, size.made.height - size.used.height)
    rgba = F.pad(rgba, padding, mode="replicate").to(model.device)
    prompts = [*options.foregrounds, options.background]
    whole = whole_prompt(options)
    kinds: list[Kind] = [*(["foreground"] * len(options.foregrounds)), "background", "global"]  # type: ignore[list-item]
    text = model.encode_text([*prompts, whole], kinds, size.made)
    inverted = text if options.inverted_as == "layers" else text.select([len(prompts)] * len(kinds))
    empty = model.encode_text([""] * len(kinds), kinds, size.made)
    path = model.schedule.path(options.steps, start=options.start)
    total = 2 * (len(path) - 1)
    with torch.no_grad():
        clean = model.encode(rgba).repeat(len(kinds), 1, 1, 1)
        edit = GlobalAttention("all", masked=options.masked)
        with edited_attention(model.unet, maps.read_beside(edit) if maps else edit):
            rising = sample(
                model.denoiser(inverted), clean, model.schedule, path[::-1], refine=options.refine
            )
            noise = run(_counted(rising, on_step, 0, total), clean)
        halves = 1 if options.guidance == 1 else 2
        with edited_attention(model.unet, GlobalAttention(options.share, masked=False, halves=halves)):
            falling = sample(model.guided(text, empty, options.guidance), noise, model.schedule, path)
            latents = run(_counted(falling, on_step, len(path) - 1, total), noise)
        drawn = model.decode(latents[:-1], kinds[:-1]).cpu()
    return drawn[..., : size.used.height, : size.used.width]


def _counted(
    states: Iterator[State], on_step: Callable[[int, int], None], before: int, total: int
) -> Iterator[State]:
    for state in states:
        on_step(before + state.step + 1, total)
        yield state
