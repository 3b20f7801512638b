"""What joint sampling of k frames costs beside diffusers' own loop on the same UNet: aim 1.15 or less.

Run it: python tests/benchmarks/bench_joint.py [--foregrounds 2] [--steps 6] [--rounds 5] [--model FOLDER]
Both loops denoise the same k frames (foregrounds, background, blended) with guidance, that is 2k rows a
step; ours also makes the masks and blends attention. The loops take turns, so that a busy machine slows
both; the ratio of the fastest rounds is printed with that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from layercli.diffusion.schedule import Schedule
from layercli.generate._joint import Sampling, Scene, sample_frames
from layercli.generate._placement import default_boxes, frame_rectangle
from layercli.generate.layerfusion import Options
from layercli.models.catalog import load_model
from layercli.models.embedded import EmbeddedModel
from layercli.models.family import Kind, Model
from layercli.models.rgba_autoencoder import RGBAAutoencoder
from layercli.models.text_static import StaticTextEncoder

NAMES = ["a cat", "a dog", "a ball", "a bottle", "a chair", "a bird"]


def random_model() -> Model:
    """The embedded model's shape at its real widths, with random weights."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=12,
        out_channels=12,
        block_out_channels=(96, 160, 192),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(3, 5, 6),
        cross_attention_dim=256,
        num_class_embeds=3,
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )
    schedule = Schedule.cosine(prediction="v_prediction", spacing="trailing")
    return EmbeddedModel(unet, RGBAAutoencoder(), StaticTextEncoder.load(), schedule)


def theirs(model: Model, prompts: list[str], kinds: list[Kind], steps: int) -> Callable[[], torch.Tensor]:
    """diffusers' loop as its pipelines write it: one batch of [unconditional, conditional], DDIM."""
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type=model.prediction,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    empty = model.encode_text([""] * len(prompts), kinds, model.native_size)
    text = empty.cat(model.encode_text(prompts, kinds, model.native_size))
    start = torch.randn(len(prompts), *model.latent_shape(model.native_size))

    @torch.no_grad()
    def loop() -> torch.Tensor:
        scheduler.set_timesteps(steps)
        x = start
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([x, x]), t)
            output = model.unet(
                both,
                t,
                encoder_hidden_states=text.tokens,
                class_labels=text.class_labels,
                added_cond_kwargs=dict(text.added) or None,
                return_dict=False,
            )[0]
            unconditional, conditional = output.chunk(2)
            x = scheduler.step(unconditional + 4.0 * (conditional - unconditional), t, x).prev_sample
        return x

    return loop


def ours(model: Model, prompts: list[str], steps: int, prior: str = "auto") -> Callable[[], torch.Tensor]:
    """Joint sampling with everything of LayerFusion switched on."""
    k, size = len(prompts) - 2, model.native_size
    boxes = default_boxes(prompts[:k], size, 0, {})
    scene = Scene(
        foregrounds=prompts[:k],
        background=prompts[k],
        blended=prompts[k + 1],
        negative="",
        rectangles=[frame_rectangle(boxes[i], size) for i in range(k)],
        guides={},
        size=size,
        frame=size,
    )
    sampling = Sampling(seed=0, steps=steps, guidance=4.0)
    rules = Options(prior=prior).rules(model)  # type: ignore[arg-type]
    return lambda: sample_frames(model, scene, sampling, rules).foregrounds


def main() -> None:
    """Time both loops in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foregrounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prior", default="auto", help="what the masks are made of: auto, both, alpha…")
    parser.add_argument("--model", type=Path, default=None, help="a folder; random weights by default")
    chosen = parser.parse_args()
    model = random_model() if chosen.model is None else load_model(str(chosen.model))
    prompts = [*(NAMES * 9)[: chosen.foregrounds], "a beach", "things on a beach"]
    kinds: list[Kind] = [*["foreground"] * chosen.foregrounds, "background", "global"]  # type: ignore[list-item]
    loops = {
        "diffusers": theirs(model, prompts, kinds, chosen.steps),
        "layercli": ours(model, prompts, chosen.steps, chosen.prior),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for round_ in range(chosen.rounds + 1):
        for name, loop in loops.items():
            began = time.perf_counter()
            loop()
            if round_:  # the first round warms up
                seconds[name].append((time.perf_counter() - began) / chosen.steps)
    frames = len(prompts)
    print(
        f"{frames} frames, {chosen.steps} steps, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name, values in seconds.items():
        print(f"{name:10s} {min(values) * 1e3:7.1f} ms a step (median {statistics.median(values) * 1e3:.1f})")
    fastest = min(seconds["layercli"]) / min(seconds["diffusers"])
    median = statistics.median(seconds["layercli"]) / statistics.median(seconds["diffusers"])
    print(f"joint sampling / diffusers' loop: {fastest:.3f} (medians {median:.3f}); aim 1.15 or less")


if __name__ == "__main__":
    main()
