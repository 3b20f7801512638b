"""LayerDiff's adapter on a frozen base: layers that see each other, from layered pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from layercli.diffusion.guidance import classifier_free_joint
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.models.adapters import chosen
from layercli.models.family import Model
from layercli.models.frames import Frames, LayerPrompts
from layercli.models.layerdiff import LayerDiff, Rules, Settings
from layercli.models.layerdiff_text import (
    OwnText,
    layer_denoiser,
    layer_masks,
    layer_text,
    negative_texts,
)
from layercli.train._layered import (
    AdapterOptions,
    Batch,
    LayeredObjective,
    noise_at,
    times_at,
    train_adapter,
)
from layercli.train._loop import OnStep


@dataclass(frozen=True, kw_only=True)
class Options(AdapterOptions):
    """The adapter's shape and rules (see `models.layerdiff`), what the base reads, and how times are drawn.

    same_time: share of pictures whose layers all have one time; in the others each has its own (paper: 0.5).
    """

    out: str = "runs/layerdiff"
    warmup: int = 500
    width: int = 64
    rank: int = 16
    tune: int = 0
    inter: bool = True
    intra: bool = True
    feed: bool = True
    enhance: Literal["both", "self", "none"] = "both"
    inject: bool = True
    own_text: Literal["layer", "whole"] = "layer"
    same_time: float = 0.5


class Objective(LayeredObjective):
    """Eq 5: the error of what the network answers, over all layers and their masks, of a step's batch."""

    def forward(self, step: int) -> Tensor:
        """The loss of a step."""
        model, data, options = self.rest
        batch, rules = data.batch_at(step), chosen(Rules, options)
        text = layer_text(model, self.adapter, batch.prompts, model.native_size, rules, options.own_text)
        clean = layers_of(batch, masks=self.adapter.masks is not None).to(model.device)
        times = layer_times(step, len(batch.prompts), text.frames.each, options, model.schedule.times)
        noise = noise_at(step, clean, options).to(clean)
        noisy, target = model.schedule.lesson(clean, noise, times.to(model.device))
        with self.adapter.injected(model.unet, rules) as injection:
            guess = layer_denoiser(model, injection, text)(noisy, times.to(model.device))
        error = (guess.float() - target).square()
        channels = batch.frames.shape[2]
        self.ledger.add(noise=error[:, :channels].mean())
        return error.mean()


def layers_of(batch: Batch, *, masks: bool) -> Tensor:
    """The layers of a batch without the whole: (P·F, C, h, w), mask latents behind the pictures' channels."""
    layers = batch.frames[:, :-1]
    if masks and batch.masks is not None:
        layers = torch.cat([layers, batch.masks[:, :-1]], dim=2)
    return layers.flatten(0, 1)


def layer_times(step: int, pictures: int, each: int, options: Options, times: int) -> Tensor:
    """One time for all layers of a picture, or one for each, by chance (section 5.1): (P·F,) long."""
    together = times_at(step, pictures, options, times).repeat_interleave(each)
    apart = times_at(step, pictures * each, options, times)
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step + 250_007)
    same = torch.rand(pictures, generator=generator) < options.same_time
    return torch.where(same.repeat_interleave(each), together, apart)


@torch.no_grad()
def draw_layers(
    model: Model,
    adapter: LayerDiff,
    prompts: LayerPrompts,
    rules: Rules,
    own_text: OwnText,
    steps: int,
    guidance: float = 3.0,
) -> tuple[Tensor, Frames]:
    """Sample one picture's layers at seed 0: (F, 4, H, W) straight alpha."""
    size = model.native_size
    text = layer_text(model, adapter, [negative_texts(prompts), prompts], size, rules, own_text)
    frames = Frames(pictures=1, foregrounds=len(prompts.foregrounds), whole=False)
    channels, *grid = model.latent_shape(size)
    shape = (channels * (1 if adapter.masks is None else 2), *grid)
    x = frame_noise(0, range(frames.each), shape).to(model.device)
    with adapter.injected(model.unet, rules) as injection:
        denoise = classifier_free_joint(layer_denoiser(model, injection, text), guidance)
        x = run(sample(denoise, x, model.schedule, model.schedule.path(steps)), x)
    rgba = model.decode(x[:, :channels], frames.kinds)
    if adapter.masks is not None:
        rgba = torch.cat([rgba[:, :3], layer_masks(model, x, channels)[:, None].to(rgba)], dim=1)
    return rgba, frames


def train(options: Options, on_step: OnStep = lambda done, total: None) -> Path:
    """Train; see `_layered.train_adapter`."""

    def make(model: Model) -> LayerDiff:
        if options.init:
            return LayerDiff.load(Path(options.init), model.unet)
        settings = Settings(masks=not model.alpha, width=options.width, rank=options.rank, tune=options.tune)
        return LayerDiff(model.unet, settings)

    def draw(model: Model, adapter: LayerDiff, texts: LayerPrompts) -> tuple[Tensor, Frames]:
        rules = chosen(Rules, options)
        return draw_layers(model, adapter, texts, rules, options.own_text, options.steps_drawn)

    return train_adapter(options, make, Objective, draw, on_step)
