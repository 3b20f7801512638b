"""One picture from words, without layers, by any model of the table."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from layercli.core.geometry import Size
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.models.family import Model


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
    """Draw a whole picture by DDIM with guidance -> (H, W, 3) float32 in [0, 1]; same seed, same pixels."""
    working = model.working_size(size)
    texts = [model.encode_text([text], ["global"], working.made) for text in (prompt, negative)]
    start = frame_noise(seed, [0], model.latent_shape(working.made)).to(model.device)
    guided = model.guided(texts[0], texts[1], guidance)
    latents = run(sample(guided, start, model.schedule, model.schedule.path(steps)), start)
    rgb = model.decode(latents, ["global"])[:, :3, : working.used.height, : working.used.width].float().cpu()
    if rgb.shape[-2:] != (size.height, size.width):
        rgb = F.interpolate(rgb, (size.height, size.width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(rgb[0].permute(1, 2, 0).clamp(0, 1).numpy())
