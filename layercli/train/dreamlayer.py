"""DreamLayer's adapter on a frozen base: layers that agree on a layout, from layered pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from layercli.diffusion.guidance import classifier_free_joint
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.models.adapters import chosen
from layercli.models.dreamlayer import DreamLayer, Rules, Settings
from layercli.models.dreamlayer_text import layered_denoiser, layered_text
from layercli.models.family import Model
from layercli.models.frames import Frames, LayerPrompts
from layercli.train._layered import AdapterOptions, LayeredObjective, noise_at, times_at, train_adapter
from layercli.train._loop import OnStep


@dataclass(frozen=True, kw_only=True)
class Options(AdapterOptions):
    """The adapter's shape and rules (see `models.dreamlayer`), and the weights of Eq 8.

    lambda_context, lambda_layout: of L_c and L_layout beside L_noise; the paper has 1 for all.
    """

    out: str = "runs/dreamlayer"
    rank: int = 32
    refiners: int = 2
    gate: float = 0.0
    tune: int = 0
    refine: bool = True
    share: bool = True
    carry: bool = True
    carry_from: int = 850
    extra: bool = True
    lambda_context: float = 1.0
    lambda_layout: float = 1.0


class Objective(LayeredObjective):
    """Eq 8: L = L_noise + λ_c L_c + λ_l L_layout, of a step's batch."""

    def forward(self, step: int) -> Tensor:
        """The loss of a step."""
        model, data, options = self.rest
        batch = data.batch_at(step)
        text = layered_text(model, self.adapter, batch.prompts, model.native_size)
        clean = batch.frames.flatten(0, 1).to(model.device)
        # All frames of a picture have the same time, pictures different ones.
        times = times_at(step, len(batch.prompts), options, model.schedule.times)
        times = times.repeat_interleave(text.frames.each).to(model.device)
        noise = noise_at(step, clean, options).to(clean)
        noisy, target = model.schedule.lesson(clean, noise, times)
        with self.adapter.injected(model.unet, chosen(Rules, options)) as injection:
            guess = layered_denoiser(model, injection, text)(noisy, times)
            alphas = batch.alphas[:, text.frames.front].to(model.device)
            l_context, l_layout = injection.losses(alphas)
        l_noise = (guess.float() - target).square().mean()
        self.ledger.add(noise=l_noise, context=l_context, layout=l_layout)
        return l_noise + options.lambda_context * l_context + options.lambda_layout * l_layout


@torch.no_grad()
def draw_layers(
    model: Model, adapter: DreamLayer, prompts: LayerPrompts, rules: Rules, steps: int, guidance: float = 4.0
) -> tuple[Tensor, Frames]:
    """Sample one picture's frames at seed 0: (F, 4, H, W) straight alpha."""
    size, nothing = model.native_size, LayerPrompts.empty(len(prompts.foregrounds))
    text = layered_text(model, adapter, [nothing, prompts], size)
    frames = Frames(pictures=1, foregrounds=len(prompts.foregrounds))
    x = frame_noise(0, range(frames.each), model.latent_shape(size)).to(model.device)
    with adapter.injected(model.unet, rules) as injection:
        denoise = classifier_free_joint(layered_denoiser(model, injection, text), guidance)
        x = run(sample(denoise, x, model.schedule, model.schedule.path(steps)), x)
    return model.decode(x, frames.kinds), frames


def train(options: Options, on_step: OnStep = lambda done, total: None) -> Path:
    """Train; see `_layered.train_adapter`."""

    def make(model: Model) -> DreamLayer:
        if options.init:
            return DreamLayer.load(Path(options.init), model.unet)
        settings = Settings(
            rank=options.rank, refiners=options.refiners, gate=options.gate, tune=options.tune
        )
        return DreamLayer(model.unet, settings)

    def draw(model: Model, adapter: DreamLayer, texts: LayerPrompts) -> tuple[Tensor, Frames]:
        return draw_layers(model, adapter, texts, chosen(Rules, options), options.steps_drawn)

    return train_adapter(options, make, Objective, draw, on_step)
