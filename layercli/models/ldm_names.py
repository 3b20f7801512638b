"""The names of latent diffusion's first code for the parts of a UNet, as weight files still use them."""

from __future__ import annotations

from typing import Any

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def block_names(unet: Any) -> dict[str, str]:
    """diffusers' name of every block of a UNet2DConditionModel -> latent diffusion's name for it.

    diffusers counts in each level anew; latent diffusion runs through all levels, and one number stands for a
    ResNet with what follows it.
    """
    names = dict(_ENDS)
    number = 0
    for level, block in enumerate(unet.down_blocks):
        number = _number_level(names, block, f"down_blocks.{level}", "input_blocks", number + 1)
        if block.downsamplers:
            number += 1
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{number}.0.op"
    number = -1
    for level, block in enumerate(unet.up_blocks):
        number = _number_level(names, block, f"up_blocks.{level}", "output_blocks", number + 1)
        if block.upsamplers:
            place = 2 if hasattr(block, "attentions") else 1
            names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{number}.{place}.conv"
    names["mid_block.resnets.0"] = "middle_block.0"
    names["mid_block.attentions.0"] = "middle_block.1"
    names["mid_block.resnets.1"] = "middle_block.2"
    return names


def _number_level(names: dict[str, str], block: Any, ours: str, theirs: str, first: int) -> int:
    """Name a level's ResNets and attentions from a number on, and return the last number."""
    for index in range(len(block.resnets)):
        names[f"{ours}.resnets.{index}"] = f"{theirs}.{first + index}.0"
        if hasattr(block, "attentions"):
            names[f"{ours}.attentions.{index}"] = f"{theirs}.{first + index}.1"
    return first + len(block.resnets) - 1


def parameter_names(unet: Any) -> dict[str, str]:
    """latent diffusion's name of every parameter -> diffusers' name, in the order of `state_dict`.

    Raises ValueError for a parameter that latent diffusion does not have.
    """
    blocks = block_names(unet)
    names: dict[str, str] = {}
    for name in unet.state_dict():
        owner = next((block for block in blocks if name.startswith(f"{block}.")), None)
        if owner is None:
            raise ValueError(f"latent diffusion has no name for {name}")
        rest = name.removeprefix(f"{owner}.")
        if ".resnets." in f".{owner}.":
            part, _, kind = rest.rpartition(".")
            rest = f"{_RESNET[part]}.{kind}"
        names[f"{blocks[owner]}.{rest}"] = name
    return names
