"""What bench_joint.py sets side by side: networks with random weights, diffusers' loop, and each method's."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.diffusion.schedule import Schedule
from layercli.generate import dreamlayer, layerdiff, layerdiffuse
from layercli.generate._joint import Sampled, Sampling, Scene, sample_frames
from layercli.generate._layers import canvas_plan
from layercli.generate._placement import default_boxes, frame_rectangle
from layercli.generate.layerfusion import Options
from layercli.models.adapters import Adapter, adapter_folder
from layercli.models.attention_sharing import AttentionSharing, Settings
from layercli.models.dreamlayer import DreamLayer
from layercli.models.dreamlayer import Settings as DreamSettings
from layercli.models.embedded import EmbeddedModel
from layercli.models.family import Conditioning, Kind, Model
from layercli.models.layerdiff import LayerDiff
from layercli.models.layerdiff import Settings as DiffSettings
from layercli.models.reuse import deep_features_reused
from layercli.models.rgba_autoencoder import RGBAAutoencoder
from layercli.models.sd15 import SD15Model
from layercli.models.text_static import StaticTextEncoder

NAMES = ["a cat", "a dog", "a ball", "a bottle", "a chair", "a bird"]
BACKGROUND = "a beach"

OnStep = Callable[[int], None]
Loop = Callable[[OnStep], Any]
"""A whole run, which tells after each step how many are done."""


class RandomText(SD15Model):
    """An SD1.5 whose text features are random numbers: what reading them costs is the same."""

    length = 77

    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        seeds = [int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4]) for prompt in prompts]
        width = int(self.unet.config.cross_attention_dim)  # type: ignore[union-attr, arg-type]
        tokens = [torch.randn(self.length, width, generator=torch.Generator().manual_seed(s)) for s in seeds]
        summary = torch.zeros(len(prompts), self.length, device=self.device)
        summary[:, 4] = 1
        features = torch.stack(tokens).to(self.device, self.dtype)
        return Conditioning(tokens=features, summary=summary, kinds=tuple(kinds))

    def words(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        ids = torch.zeros(len(prompts), self.length, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            said = prompt.replace(",", "").split()[: self.length - 2]
            ids[row, 1 : 1 + len(said)] = torch.tensor([1 + sum(word.encode()) for word in said])
        return ids.to(self.device), (ids > 0).to(self.device)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """SD1.5 with widths divided by `share`; side: of its latents; tokens: of a text; groups: of its norms.

    Attention heads become fewer, of as many channels as SD1.5's; positions and tokens are scaled so that what
    attention costs beside the rest stays about the same.
    """

    share: int
    side: int
    tokens: int
    groups: int = 32


SHAPES = {
    "sd15": Shape(share=1, side=64, tokens=77),
    "sd15-half": Shape(share=2, side=48, tokens=39),
    "sd15-quarter": Shape(share=4, side=32, tokens=20, groups=16),
    "sd15-small": Shape(share=8, side=24, tokens=11, groups=8),
}


def random_sd15(shape: Shape) -> Model:
    """SD1.5's blocks with random weights, at its real shape or scaled down."""
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    unet = UNet2DConditionModel(
        sample_size=shape.side,
        block_out_channels=tuple(width // shape.share for width in (320, 640, 1280, 1280)),
        attention_head_dim=8 // shape.share,  # which diffusers takes for the number of heads
        norm_num_groups=shape.groups,
        cross_attention_dim=768 // shape.share,
    )
    vae = AutoencoderKL(block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4)  # fmt: skip
    schedule = Schedule.scaled_linear(steps_offset=1)
    dtype = torch.float16 if on_gpu else torch.float32
    model = RandomText(unet, vae, torch.nn.Identity(), None, schedule, device=device, dtype=dtype)
    model.length = shape.tokens
    return model


def random_embedded() -> Model:
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


def diffusers_loop(model: Model, frames: int, steps: int) -> Loop:
    """diffusers' loop as its pipelines write it: one batch of [unconditional, conditional], DDIM."""
    prompts = [*(NAMES * 9)[: frames - 2], BACKGROUND, "things on a beach"]
    kinds: list[Kind] = [*["foreground"] * (frames - 2), "background", "global"]  # type: ignore[list-item]
    betas = "squaredcos_cap_v2" if model.alpha else "scaled_linear"
    scheduler = DDIMScheduler(
        beta_schedule=betas,
        prediction_type=model.prediction,
        timestep_spacing=model.schedule.spacing,
        clip_sample=False,
    )
    empty = model.encode_text([""] * frames, kinds, model.native_size)
    text = empty.cat(model.encode_text(prompts, kinds, model.native_size))
    more = {"added_cond_kwargs": dict(text.added)} if text.added else {}
    start = torch.randn(frames, *model.latent_shape(model.native_size)).to(model.device)

    @torch.no_grad()
    def loop(on_step: OnStep) -> Tensor:
        scheduler.set_timesteps(steps)
        x = start
        for done, t in enumerate(scheduler.timesteps, 1):
            both = scheduler.scale_model_input(torch.cat([x, x]), t).to(model.dtype)
            output = model.unet(
                both,
                t.expand(len(both)),
                encoder_hidden_states=text.tokens,
                class_labels=text.class_labels,
                return_dict=False,
                **more,
            )[0]
            unconditional, conditional = output.chunk(2)
            x = scheduler.step(unconditional + 4.0 * (conditional - unconditional), t, x).prev_sample
            on_step(done)
        return x

    return loop


def layerfusion_loop(model: Model, frames: int, steps: int, *, prior: str = "auto", fast: int = 1) -> Loop:
    """LayerFusion with everything switched on: foregrounds in their boxes, background, blended frame."""
    k, size = frames - 2, model.native_size
    names = (NAMES * 9)[:k]
    boxes = default_boxes(names, size, 0, {})
    scene = Scene(
        foregrounds=names,
        background=BACKGROUND,
        blended="things on a beach",
        negative="",
        rectangles=[frame_rectangle(boxes[i], size) for i in range(k)],
        guides={},
        size=size,
        frame=size,
    )
    sampling = Sampling(seed=0, steps=steps, guidance=4.0)
    rules = Options(prior=prior).rules(model)  # type: ignore[arg-type]

    def loop(on_step: OnStep) -> Sampled:
        with deep_features_reused(model.unets, fast):
            return sample_frames(model, scene, sampling, rules, on_step)

    return loop


def layerdiffuse_loop(model: Model, frames: int, steps: int, *, fast: int = 1) -> Loop:
    """LayerDiffuse's joint weights, of random numbers: trios of foreground, background and whole picture."""
    request = _request(model, frames // 3, steps)
    sharing = _random_sharing(model)
    plan = canvas_plan(request, model)

    @torch.no_grad()
    def loop(on_step: OnStep) -> Sampled:
        options = layerdiffuse.Options()
        seen: Any = model  # alpha, which this adds to a model, is read after the last step
        with deep_features_reused(model.unets, fast):
            return layerdiffuse._sampled(request, seen, options, plan, sharing, None, on_step)

    return loop


def dreamlayer_loop(model: Model, frames: int, steps: int, *, trained: bool, fast: int = 1) -> Loop:
    """DreamLayer with the model's adapter, or a fresh one that heeds the whole picture as much as itself."""
    adapter = _adapter(model, DreamLayer, DreamSettings(gate=0.5), trained)
    options = dreamlayer.Options(adapter=adapter, fast=fast)
    request = _request(model, frames - 2, steps)
    return lambda on_step: dreamlayer.generate(request, model, options, lambda done, _: on_step(done))


def layerdiff_loop(model: Model, frames: int, steps: int, *, trained: bool, fast: int = 1) -> Loop:
    """LayerDiff with the model's adapter or a fresh one, without a whole picture and self-mask guidance."""
    adapter = _adapter(model, LayerDiff, DiffSettings(masks=not model.alpha), trained)
    options = layerdiff.Options(adapter=adapter, smg=0.0, fast=fast)
    request = _request(model, frames - 1, steps)
    return lambda on_step: layerdiff.generate(request, model, options, lambda done, _: on_step(done))


def loops_of(model: Model, methods: Sequence[str], fast: Sequence[int], frames: int, steps: int,
             prior: str, *, trained: bool) -> dict[str, Loop]:  # fmt: skip
    """By name: diffusers' loop first, then each method that can draw so many frames, then faster ones.

    trained: the model is no random one; the adapters that ship with it, if any, draw instead of fresh ones.
    """
    made: dict[str, Callable[[int], Loop]] = {
        "layerfusion": lambda fast: layerfusion_loop(model, frames, steps, prior=prior, fast=fast),
        "dreamlayer": lambda fast: dreamlayer_loop(model, frames, steps, trained=trained, fast=fast),
        "layerdiff": lambda fast: layerdiff_loop(model, frames, steps, trained=trained, fast=fast),
    }
    if frames % 3 == 0 and isinstance(model, SD15Model):
        made["layerdiffuse"] = lambda fast: layerdiffuse_loop(model, frames, steps, fast=fast)
    loops = {"diffusers, plain batch": diffusers_loop(model, frames, steps)}
    for method in methods:
        if method in made:
            loops[method] = made[method](1)
            loops.update({fast_name(method, every): made[method](every) for every in fast})
    return loops


def fast_name(method: str, fast: int) -> str:
    """What a loop that carries deep features is called in the table."""
    return f"{method}, fast={fast}"


@cache
def _adapter(model: Model, kind: type[Adapter], settings: Any, trained: bool) -> str:
    """The folder of the adapter that ships with a model, or of a fresh one as much narrower as the model is.

    One for all loops, which are compared; settings: of the fresh one, at SD1.5's widths.
    """
    if trained:
        with suppress(LayercliError):
            return str(adapter_folder("", model.name, kind.kind))
    widths = {name: _scaled(model, getattr(settings, name)) for name in ("rank", "width", "heads")}
    fresh = kind(model.unet, dataclasses.replace(settings, **widths))
    return str(fresh.save(Path(tempfile.mkdtemp(prefix="adapter"))))


@cache
def _random_sharing(model: Model) -> AttentionSharing:
    """LayerDiffuse's joint weights, of random numbers, one for all loops."""
    sharing = AttentionSharing(model.unet, Settings(frames=3, rank=_scaled(model, 256)))
    with torch.no_grad():
        for parameter in sharing.parameters():
            parameter.normal_(std=0.02)
    return sharing.to(device=model.device, dtype=model.dtype).eval().requires_grad_(False)


def _scaled(model: Model, width: int) -> int:
    """A width of what is put to SD1.5, as much narrower as the model is; other families are at their own."""
    if not isinstance(model, SD15Model):
        return width
    return max(1, width * int(model.unet.config.block_out_channels[0]) // 320)  # type: ignore[union-attr, index]


def _request(model: Model, foregrounds: int, steps: int) -> GenerateRequest:
    return GenerateRequest(
        foregrounds=tuple((NAMES * 9)[:foregrounds]),
        background=BACKGROUND,
        size=model.native_size,
        steps=steps,
        model=model.name,
        harmonize="over",
    )


def psnr(model: Model, one: object, other: object) -> float:
    """Of all layers' pictures on mid-gray, in dB; one, other: what two loops of a method returned."""
    errors = [
        float((mine - theirs).square().mean())
        for mine, theirs in zip(_pictures(model, one), _pictures(model, other), strict=True)
    ]
    return -10 * math.log10(max(sum(errors) / len(errors), 1e-12))


@torch.no_grad()
def _pictures(model: Model, drawn: object) -> list[Tensor]:
    """Every layer on mid-gray, colours first."""
    if isinstance(drawn, Sampled):
        decoded = [model.decode(x, ["foreground"] * len(x)) for x in (drawn.foregrounds, drawn.background)]
        layers = [rgba for several in decoded for rgba in several]
    elif isinstance(drawn, LayerStack):
        layers = [torch.from_numpy(drawn.placed(layer.name)).permute(2, 0, 1) for layer in drawn.layers]
    else:
        raise TypeError(f"{type(drawn).__name__} holds no layers.")
    return [rgba[:3] * rgba[3:] + 0.5 * (1 - rgba[3:]) for rgba in layers]
