"""The embedded model's UNet: its shape, and how its folder is read and written."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

SHARD = "15MB"  # files stay under 16 MiB, so that any repository takes them
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def embedded_unet(latent_channels: int, channels: tuple[int, ...]) -> UNet2DConditionModel:
    """Three levels; ResNet blocks alone at 16x16 (attention over 256 tokens is what costs on a CPU).

    Text enters by cross-attention at 8x8 and 4x4 and, pooled, with the time; the frame's kind (foreground,
    background, global) is a class embedding. No text is a zero vector; padding rows are zero and not masked.
    """
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=tuple(width // 32 for width in channels),  # diffusers: numbers of heads
        cross_attention_dim=256,
        num_class_embeds=3,
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )


def load_unet(folder: Path) -> UNet2DConditionModel:
    """The network in float32, for training on."""
    return UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32)


def save_unet(unet: UNet2DConditionModel, folder: Path, dtype: torch.dtype) -> None:
    """Write `folder/unet` (safetensors shards under 16 MiB) and `folder/scheduler`; `unet` stays float32."""
    for old in (folder / "unet").glob("*.safetensors*"):
        old.unlink()
    unet.to(dtype).save_pretrained(folder / "unet", max_shard_size=SHARD)
    unet.float()
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(SCHEDULER, indent=2), encoding="utf-8"
    )
