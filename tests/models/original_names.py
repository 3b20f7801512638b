"""Tiny networks under the names that checkpoints in one file have: the grammar of the original programs.

One ResNet a level, as tests.tiny builds them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests import tiny

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_names(state: dict[str, Tensor], *, levels: int = 2, layers: int = 1) -> dict[str, Tensor]:
    """A diffusers UNet's tensors as input_blocks, middle_block and output_blocks."""
    with_attention = {int(m[1]) for name in state if (m := re.match(r"up_blocks\.(\d+)\.attentions", name))}

    def renamed(name: str) -> str:
        if m := re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name):
            way, level, part, number, rest = m[1], int(m[2]), m[3], int(m[4]), m[5]
            if part == "downsamplers":
                return f"input_blocks.{(level + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
            if part == "upsamplers":
                place = 2 if level in with_attention else 1
                return f"output_blocks.{(level + 1) * (layers + 1) - 1}.{place}.{rest}"
            block = f"input_blocks.{1 + level * (layers + 1) + number}"
            if way == "up":
                block = f"output_blocks.{level * (layers + 1) + number}"
            return f"{block}.{0 if part == 'resnets' else 1}.{_inner(rest) if part == 'resnets' else rest}"
        if m := re.match(r"mid_block\.(\w+)\.(\d+)\.(.*)", name):
            resnet = m[1] == "resnets"
            return f"middle_block.{int(m[2]) * 2 if resnet else 1}.{_inner(m[3]) if resnet else m[3]}"
        head, _, kind = name.rpartition(".")
        return f"{_TOP[head]}.{kind}"

    return {f"model.diffusion_model.{renamed(name)}": tensor for name, tensor in state.items()}


def _inner(rest: str) -> str:
    head, _, kind = rest.rpartition(".")
    return f"{_RESNET[head]}.{kind}"


def vae_names(state: dict[str, Tensor], *, levels: int = 2) -> dict[str, Tensor]:
    """A diffusers autoencoder's tensors; linear layers of its attention become 1 x 1 convolutions."""

    def renamed(name: str) -> str:
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(
            r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name
        )
        name = re.sub(
            r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name
        )
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        for new, old in (
            ("mid_block.attentions.0", "mid.attn_1"),
            ("group_norm", "norm"),
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "proj_out"),
            ("conv_shortcut", "nin_shortcut"),
            ("conv_norm_out", "norm_out"),
        ):
            name = name.replace(new, old)
        return f"first_stage_model.{name}"

    return {
        renamed(name): tensor[:, :, None, None] if "attentions" in name and tensor.ndim == 2 else tensor
        for name, tensor in state.items()
    }


def clip_names(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """transformers' names after a prefix, with the level "text_model" that old versions had."""
    named = {f"{prefix}text_model.{name.removeprefix('text_model.')}": value for name, value in state.items()}
    return named | {f"{prefix}text_model.embeddings.position_ids": torch.arange(16)[None]}


def open_clip_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's names: queries, keys and values in one tensor, the projection turned."""
    prefix = "conditioner.embedders.1.model."
    out = {f"{prefix}logit_scale": torch.tensor(1.0)}
    plain = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    for name, tensor in plain.items():
        if m := re.match(r"encoder\.layers\.(\d+)\.(.*)\.(weight|bias)$", name):
            block, part, kind = f"{prefix}transformer.resblocks.{m[1]}", m[2], m[3]
            if part == "self_attn.q_proj":
                parts = [plain[name.replace("q_proj", f"{which}_proj")] for which in "qkv"]
                out[f"{block}.attn.in_proj_{kind}"] = torch.cat(parts)
            elif part not in ("self_attn.k_proj", "self_attn.v_proj"):
                inner = {
                    "self_attn.out_proj": "attn.out_proj",
                    "mlp.fc1": "mlp.c_fc",
                    "mlp.fc2": "mlp.c_proj",
                    "layer_norm1": "ln_1",
                    "layer_norm2": "ln_2",
                }[part]
                out[f"{block}.{inner}.{kind}"] = tensor
        elif name == "text_projection.weight":
            out[f"{prefix}text_projection"] = tensor.T
        else:
            top = {
                "embeddings.token_embedding.weight": "token_embedding.weight",
                "embeddings.position_embedding.weight": "positional_embedding",
                "final_layer_norm.weight": "ln_final.weight",
                "final_layer_norm.bias": "ln_final.bias",
            }[name]
            out[f"{prefix}{top}"] = tensor
    return out


def checkpoint(family: str, folder: Path) -> dict[str, Tensor]:
    """All tensors of a tiny model of a family, as one file would have them, with some that nobody reads."""
    built: Any = tiny.model(family, folder)
    tensors = unet_names(built.unet.state_dict()) | vae_names(built.codec.vae.state_dict())
    if family == "sd15":
        tensors |= clip_names(built.text.state_dict(), "cond_stage_model.transformer.")
    else:
        tensors |= clip_names(built.text.state_dict(), "conditioner.embedders.0.transformer.")
        tensors |= open_clip_names(built.second_text.state_dict())
    return tensors | {"alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.tensor(0.9999)}


def save(tensors: dict[str, Tensor], path: Path) -> Path:
    """Write tensors to one safetensors file."""
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)
    return path
