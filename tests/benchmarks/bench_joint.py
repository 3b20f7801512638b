"""What joint sampling of k frames costs beside diffusers' own loop on the same UNet: aim 1.10 or less.

Run it: python tests/benchmarks/bench_joint.py [--foregrounds 1] [--steps 6] [--rounds 5] [--fast 1,2,3]
[--shape embedded | sd15-small | sd15] [--model FOLDER]
Both loops denoise the same k frames (foregrounds, background, blended) with guidance, that is 2k rows a
step; ours also makes the masks and blends attention. The loops take turns, so that a busy machine slows
both; the ratio of the fastest rounds is printed with that of the medians. On a CPU, processor time is told.
With -O fast=N deep features are kept between every N-th step: its time is told beside the picture's PSNR
against the one without, which means something for trained weights alone (--model embedded).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.generate._joint import Sampled, Sampling, Scene, sample_frames
from layercli.generate._placement import default_boxes, frame_rectangle
from layercli.generate.layerfusion import Options
from layercli.models.catalog import load_model
from layercli.models.embedded import EmbeddedModel
from layercli.models.family import Conditioning, Kind, Model
from layercli.models.reuse import deep_features_reused
from layercli.models.rgba_autoencoder import RGBAAutoencoder
from layercli.models.sd15 import SD15Model
from layercli.models.text_static import StaticTextEncoder

NAMES = ["a cat", "a dog", "a ball", "a bottle", "a chair", "a bird"]


LENGTH = 77


class RandomText(SD15Model):
    """An SD1.5 whose text features are random numbers: what they cost is the same."""

    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        seeds = [int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4]) for prompt in prompts]
        width = int(self.unet.config.cross_attention_dim)  # type: ignore[union-attr, arg-type]
        tokens = [torch.randn(LENGTH, width, generator=torch.Generator().manual_seed(s)) for s in seeds]
        summary = torch.zeros(len(prompts), LENGTH, device=self.device)
        summary[:, 4] = 1
        features = torch.stack(tokens).to(self.device, self.dtype)
        return Conditioning(tokens=features, summary=summary, kinds=tuple(kinds))


def random_sd15(*, real: bool) -> Model:
    """SD1.5's shape with random weights: the real one on a GPU, or a quarter of its widths and sides."""
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    share = 1 if real else 4
    unet = UNet2DConditionModel(
        sample_size=64 if real else 16,
        block_out_channels=tuple(width // share for width in (320, 640, 1280, 1280)),
        attention_head_dim=8,
        norm_num_groups=32 if real else 16,
        cross_attention_dim=768 // share,
    )
    vae = AutoencoderKL(block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4)  # fmt: skip
    schedule = Schedule.scaled_linear(steps_offset=1)
    dtype = torch.float16 if on_gpu else torch.float32
    return RandomText(unet, vae, torch.nn.Identity(), None, schedule, device=device, dtype=dtype)


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
    betas = "squaredcos_cap_v2" if model.alpha else "scaled_linear"
    scheduler = DDIMScheduler(
        beta_schedule=betas,
        prediction_type=model.prediction,
        timestep_spacing=model.schedule.spacing,
        clip_sample=False,
    )
    empty = model.encode_text([""] * len(prompts), kinds, model.native_size)
    text = empty.cat(model.encode_text(prompts, kinds, model.native_size))
    start = torch.randn(len(prompts), *model.latent_shape(model.native_size)).to(model.device)

    @torch.no_grad()
    def loop() -> torch.Tensor:
        scheduler.set_timesteps(steps)
        x = start
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([x, x]), t).to(model.dtype)
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


def ours(
    model: Model, prompts: list[str], steps: int, prior: str = "auto", fast: int = 1
) -> Callable[[], Sampled]:
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

    def loop() -> Sampled:
        with deep_features_reused(model.unets, fast):
            return sample_frames(model, scene, sampling, rules)

    return loop


@torch.no_grad()
def psnr(model: Model, one: Sampled, other: Sampled) -> float:
    """Of all layers' pictures on mid-gray, in dB."""
    errors = []
    for latents in ((one.foregrounds, other.foregrounds), (one.background, other.background)):
        flat = []
        for x in latents:
            rgba = model.decode(x, ["foreground"] * len(x))
            flat.append(rgba[:, :3] * rgba[:, 3:] + 0.5 * (1 - rgba[:, 3:]))
        errors.append((flat[0] - flat[1]).square().flatten(1).mean(dim=1))
    return -10 * math.log10(max(float(torch.cat(errors).mean()), 1e-12))


def clock(model: Model) -> float:
    """Seconds: of the processor where that computes, else by the wall after the device has finished."""
    if model.device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Time all loops in turn and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--foregrounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prior", default="auto", help="what the masks are made of: auto, both, alpha…")
    parser.add_argument("--fast", default="1,2", help="values of -O fast; 1 is without")
    parser.add_argument("--shape", default="embedded", choices=("embedded", "sd15-small", "sd15"))
    parser.add_argument("--model", default="", help="a name or a folder; random weights by default")
    chosen = parser.parse_args()
    if chosen.model:
        model = load_model(chosen.model)
    else:
        model = random_model() if chosen.shape == "embedded" else random_sd15(real=chosen.shape == "sd15")
    prompts = [*(NAMES * 9)[: chosen.foregrounds], "a beach", "things on a beach"]
    kinds: list[Kind] = [*["foreground"] * chosen.foregrounds, "background", "global"]  # type: ignore[list-item]
    loops: dict[str, Callable[[], object]] = {"diffusers": theirs(model, prompts, kinds, chosen.steps)}
    for fast in map(int, chosen.fast.split(",")):
        name = "layercli" if fast == 1 else f"layercli, fast={fast}"
        loops[name] = ours(model, prompts, chosen.steps, chosen.prior, fast)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    drawn: dict[str, object] = {}
    for round_ in range(chosen.rounds + 1):
        for name, loop in loops.items():
            began = clock(model)
            drawn[name] = loop()
            if round_:  # the first round warms up
                seconds[name].append((clock(model) - began) / chosen.steps)
    print(
        f"{len(prompts)} frames, {chosen.steps} steps, {model.device.type}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    base = seconds["diffusers"]
    for name, values in seconds.items():
        told = f"{name:18s} {min(values) * 1e3:7.1f} ms a step (median {statistics.median(values) * 1e3:.1f})"
        if name != "diffusers":
            ratio = min(values) / min(base), statistics.median(values) / statistics.median(base)
            told += f"; {ratio[0]:.3f} of diffusers' (medians {ratio[1]:.3f})"
        plain, quick = drawn.get("layercli"), drawn[name]
        if isinstance(plain, Sampled) and isinstance(quick, Sampled) and quick is not plain:
            told += f"; {psnr(model, plain, quick):.1f} dB"
        print(told)
    if "layercli" in seconds:
        ratio_of = min(seconds["layercli"]) / min(base)
        print(f"joint sampling / diffusers' loop: {ratio_of:.3f}; aim 1.10 or less")


if __name__ == "__main__":
    main()
