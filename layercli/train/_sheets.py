"""Sample sheets drawn while the base network trains: the same prompts and noise at every checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from layercli.core.pixels import save_png
from layercli.core.sheet import draw_grid
from layercli.diffusion.guidance import classifier_free_joint
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.diffusion.schedule import Schedule
from layercli.models.embedded import MAX_TOKENS
from layercli.models.precision import fast_autocast
from layercli.models.rgba_autoencoder import RGBAAutoencoder
from layercli.models.small_unet import PLACED
from layercli.models.text_static import StaticTextEncoder

PROMPTS = (
    ("a cat", 0),
    ("a dog", 0),
    ("a car", 0),
    ("a house", 0),
    ("a fish", 0),
    ("an apple", 0),
    ("a sofa, 3d render", 0),
    ("a bicycle", 0),
    ("a guitar, flat", 0),
    ("a banana", 0),
    ("a sofa, 3d render", 1),
    ("a beach, photo", 1),
    ("a room, 3d render", 1),
    ("a cat, a sofa, 3d render", 2),
    ("a car, a snowy landscape", 2),
    ("a dog and a ball, a beach", 2),
)
PLACED_PROMPTS = tuple(
    (f"{thing}, {style}", PLACED)
    for style, things in (
        ("flat", ("cat", "tree", "car", "house")),
        ("3d render", ("sofa", "lamp", "dog", "bed")),
    )
    for thing in things
)
"""Drawn too where the network knows foregrounds in their places."""


@torch.no_grad()
def draw_samples(
    unet: nn.Module, autoencoder: RGBAAutoencoder, text: StaticTextEncoder, file: Path, steps: int = 16
) -> None:
    """Sample `PROMPTS` with guidance 4 and write one PNG."""
    device = next(unet.parameters()).device
    asked = PROMPTS + (PLACED_PROMPTS if unet.config.num_class_embeds > PLACED else ())  # type: ignore
    schedule = Schedule.cosine(prediction="v_prediction", spacing="trailing")
    prompts = [""] * len(asked) + [prompt for prompt, _ in asked]
    tokens = text.encode(prompts, MAX_TOKENS)[0].to(device)
    kinds = torch.tensor([kind for _, kind in asked] * 2, device=device)

    def both(x: Tensor, t: Tensor) -> Tensor:
        with fast_autocast(device):
            velocity: Tensor = unet(x, t, tokens, class_labels=kinds).sample
        return velocity.float()

    side = 256 // autoencoder.downscale
    shape = (autoencoder.config["latent_channels"], side, side)
    x = frame_noise(0, range(len(asked)), shape).to(device)
    latents = run(sample(classifier_free_joint(both, 4.0), x, schedule, schedule.path(steps)), x)
    rgba = autoencoder.to(device).decode(latents).permute(0, 2, 3, 1).float().cpu()
    rgba[[0 < kind < PLACED for _, kind in asked], ..., 3] = 1
    save_png(file, draw_grid(list(rgba.numpy()), [prompt for prompt, _ in asked], columns=8))
