"""Draw the README's contact sheet: 40 common nouns, one seed, not picked.

    python examples/noun_sheet.py nouns.png --seed 0 --style "3d render"

Noise, steps and guidance are those of `layercli generate --fg "a NOUN" --bg … --harmonize none --seed 0`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from layercli.core.pixels import save_png
from layercli.core.sheet import draw_grid
from layercli.data.captions import COMMON_NOUNS, article
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.models.catalog import load_model


def main() -> None:
    """Sample all nouns as one batch a step and write one PNG."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("nouns.png"))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--style", default="")
    parser.add_argument("--nouns", nargs="*", default=list(COMMON_NOUNS))
    chosen = parser.parse_args()

    model = load_model(chosen.model, device="auto", dtype="auto")
    prompts = [article(noun) + (f", {chosen.style}" if chosen.style else "") for noun in chosen.nouns]
    kinds = ["foreground"] * len(prompts)
    size = model.native_size
    guided = model.guided(
        model.encode_text(prompts, kinds, size),
        model.encode_text([""] * len(prompts), kinds, size),
        chosen.guidance,
    )
    with torch.no_grad():
        # generate numbers its foregrounds from 1; every noun here is the first of its own picture
        noise = frame_noise(chosen.seed, [1] * len(prompts), model.latent_shape(size)).to(model.device)
        latents = run(sample(guided, noise, model.schedule, model.schedule.path(chosen.steps)), noise)
        rgba = model.decode(latents, kinds).permute(0, 2, 3, 1).cpu().numpy()
    save_png(chosen.out, draw_grid(list(rgba), chosen.nouns, columns=8))
    print(chosen.out)


if __name__ == "__main__":
    main()
