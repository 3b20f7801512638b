"""Stage 1: the RGBA autoencoder, on crops; `-O decoder_only=true` refines a decoder under fixed latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from layercli.data.pictures import Pictures
from layercli.models.precision import fast_layout
from layercli.models.rgba_autoencoder import RGBAAutoencoder, flatten_on_gray, load_autoencoder
from layercli.train._loop import LoopOptions, OnStep, run_loop


@dataclass(frozen=True, kw_only=True)
class Options(LoopOptions):
    """The loop's options, the crop's side in pixels, and the weights of the loss."""

    out: str = "runs/autoencoder"
    steps: int = 3_000
    learning_rate: float = 1e-3
    crop: int = 128
    latent_channels: int = 12
    latent_noise: float = 0.08
    gradient_weight: float = 1.0
    square_weight: float = 1.0
    decoder_only: bool = False


def crop_batch(pictures: Pictures, step: int, options: Options) -> Tensor:
    """Random flipped crops for a step: (B, 4, crop, crop) in [0, 1]; fully transparent crops are redrawn."""
    rng = np.random.default_rng((options.seed, 1, step))
    crops: list[np.ndarray] = []
    while len(crops) < options.batch:
        picture = pictures.pixels(int(rng.integers(len(pictures))))
        top, left = rng.integers(0, np.array(picture.shape[:2]) - options.crop + 1)
        crop = picture[top : top + options.crop, left : left + options.crop]
        if crop[..., 3].any():
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def reconstruction_loss(guess: Tensor, truth: Tensor, options: Options) -> Tensor:
    """L1 + L2 + L1 of the first differences at two scales, over (B, 4, H, W) in [-1, 1]."""
    error = guess.float() - truth
    loss = error.abs().mean() + options.square_weight * error.square().mean()
    for grid in (error, nn.functional.avg_pool2d(error, 2)):
        slopes = grid.diff(dim=-1).abs().mean() + grid.diff(dim=-2).abs().mean()
        loss = loss + options.gradient_weight * slopes
    return loss


class _Objective(nn.Module):
    """Bundles encode, noise and decode in one forward pass, as distributed training needs."""

    def __init__(self, autoencoder: RGBAAutoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, rgba: Tensor, noise: Tensor) -> Tensor:
        latents = self.autoencoder.encode(rgba)
        return self.autoencoder.decode_flat(latents + noise / self.autoencoder.scale)


def train(options: Options, on_step: OnStep = lambda done, total: None) -> Path:
    """Train, measure the latents' mean and deviation, and write a diffusers folder; returns it."""
    pictures = Pictures(Path(options.data))
    torch.manual_seed(options.seed)
    if options.init:
        autoencoder = load_autoencoder(options.init)
    else:
        autoencoder = RGBAAutoencoder(latent_channels=options.latent_channels)
    if options.decoder_only:
        autoencoder.encoder.requires_grad_(False)
    folder = Path(options.out) / "autoencoder"

    def loss_at(model: nn.Module, step: int, device: torch.device) -> Tensor:
        rgba = crop_batch(pictures, step, options).to(device, memory_format=fast_layout(device))
        cells = options.crop // autoencoder.downscale
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        noise = torch.randn(
            (options.batch, autoencoder.config["latent_channels"], cells, cells), generator=generator
        )
        return reconstruction_loss(
            model(rgba, noise.to(device) * options.latent_noise), flatten_on_gray(rgba), options
        )

    def export(step: int) -> None:
        if not options.decoder_only:
            measure_latents(autoencoder, pictures, options)
        autoencoder.save_pretrained(folder)
        if not options.decoder_only:
            autoencoder.shift.zero_()
            autoencoder.scale.fill_(1)

    run_loop(_Objective(autoencoder), loss_at, options, on_step, export)
    export(options.steps)
    return folder


@torch.no_grad()
def measure_latents(autoencoder: RGBAAutoencoder, pictures: Pictures, options: Options) -> None:
    """Set `shift` and `scale` to the per-channel mean and deviation of the latents of 512 pictures."""
    device = next(autoencoder.parameters()).device
    autoencoder.shift.zero_()
    autoencoder.scale.fill_(1)
    rng = np.random.default_rng((options.seed, 2))
    latents = []
    for i in rng.choice(len(pictures), min(512, len(pictures)), replace=False):
        rgba = (
            torch.from_numpy(pictures.pixels(int(i)).copy()).permute(2, 0, 1)[None].float().to(device) / 255
        )
        latents.append(autoencoder.encode(rgba))
    stacked = torch.cat(latents)
    autoencoder.shift.copy_(stacked.mean((0, 2, 3), keepdim=True))
    autoencoder.scale.copy_(stacked.std((0, 2, 3), keepdim=True))
