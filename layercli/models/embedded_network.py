"""The embedded model's UNet: its shape, and how its folder is read and written."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from layercli.core.errors import LayercliError
from layercli.models.small_unet import PLACED, SmallUNet

SHARD = "15MB"  # files stay under 16 MiB, so that any repository takes them
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def embedded_unet(latent_channels: int, channels: tuple[int, ...]) -> SmallUNet:
    """Three levels; ResNet blocks alone at 16x16 (attention over 256 tokens is what costs on a CPU).

    Text enters by cross-attention at 8x8 and 4x4 and, pooled, with the time; the frame's kind (foreground,
    background, global; `with_placed` adds one) is a class embedding. No text is a zero vector; padding rows
    are zero and not masked.
    """
    return SmallUNet(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=channels,
        attention_head_dim=[width // 32 for width in channels],
        cross_attention_dim=256,
        num_class_embeds=3,
    )


def load_unet(folder: Path) -> SmallUNet:
    """The network in float32, for training on."""
    return SmallUNet.from_folder(folder).train()


def with_placed(unet: SmallUNet) -> SmallUNet:
    """The network with a class for foregrounds in their places, which begins as that of foregrounds."""
    classes = unet.class_embedding
    if classes.num_embeddings <= PLACED:
        known = classes.weight.detach()
        unet.class_embedding = torch.nn.Embedding.from_pretrained(torch.cat([known, known[:1]]), freeze=False)
        unet.config["num_class_embeds"] = PLACED + 1
    return unet


def blended(unet: SmallUNet, other: SmallUNet, share: float) -> SmallUNet:
    """The network with its weights taken for `share`, and those of another of its making for the rest.

    Between a network and what it was trained on to lies, at no cost when it draws, one that keeps more of
    both: WiSE-FT, arXiv 2109.01903. Raises LayercliError where the two are not of one shape.
    """
    if unet.config["num_class_embeds"] > PLACED:
        other = with_placed(other)
    ours, theirs = unet.state_dict(), other.state_dict()
    shapes = [{name: value.shape for name, value in weights.items()} for weights in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise LayercliError(
            "The two networks to blend are not of one shape.",
            "Blend a network with the one it was trained on from: -O blend=DIR",
        )
    unet.load_state_dict({name: theirs[name].lerp(value, share) for name, value in ours.items()})
    return unet


def save_unet(unet: SmallUNet, folder: Path, dtype: torch.dtype) -> None:
    """Write `folder/unet` (safetensors shards under 16 MiB) and `folder/scheduler`; `unet` stays float32."""
    unet.to(dtype).save_pretrained(folder / "unet", max_shard_size=SHARD)
    unet.float()
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(SCHEDULER, indent=2), encoding="utf-8"
    )
