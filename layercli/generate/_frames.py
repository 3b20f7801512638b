"""Single frames in batches: objects on transparency, or scenes, each the first of a picture of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from layercli.diffusion.sample import frame_noise, run, sample
from layercli.generate._alpha import levelled, without_specks
from layercli.generate._layers import pixels
from layercli.models.family import Kind, Model


def draw_frames(
    model: Model,
    prompts: Sequence[str],
    kind: Kind,
    *,
    seed: int,
    steps: int,
    guidance: float,
    levels: tuple[float, float],
    specks: float,
    batch: int = 20,
) -> Iterator[np.ndarray]:
    """Draw one frame a prompt at the model's native size: (H, W, 4) each, in order.

    Each starts from the noise that a picture of this seed gives its first foreground, or its background, so
    that neither the batch nor the other prompts change it. levels, specks: see _alpha.
    """
    number = 1 if kind == "foreground" else 0
    shape = model.latent_shape(model.native_size)
    for first in range(0, len(prompts), batch):
        part = list(prompts[first : first + batch])
        kinds: list[Kind] = [kind] * len(part)
        denoise = model.guided(
            model.encode_text(part, kinds, model.native_size),
            model.encode_text([""] * len(part), kinds, model.native_size),
            guidance,
        )
        with torch.no_grad():
            noise = frame_noise(seed, [number] * len(part), shape).to(model.device)
            drawn = model.decode(
                run(sample(denoise, noise, model.schedule, model.schedule.path(steps)), noise), kinds
            )
            if kind == "foreground" and model.alpha:
                drawn = without_specks(levelled(drawn, levels), specks)
        for frame in drawn:
            yield pixels(frame)
