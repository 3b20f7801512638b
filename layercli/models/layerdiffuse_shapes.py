"""The shapes of LayerDiffuse's public files: networks without weights, and tensors by their published names.

Source: the repositories LayerDiffusion/layerdiffusion-v1 and lllyasviel/LayerDiffuse_Diffusers.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from layercli.models.attention_sharing import ENCODER_WIDTHS, AttentionSharing, Settings
from layercli.models.ldm_names import parameter_names
from layercli.models.offsets import Covers, covered
from layercli.models.published import sd15_unet, sdxl_unet
from layercli.models.transparent_networks import TransparencyDecoder, TransparencyEncoder

Shapes = dict[str, tuple[int, ...]]
RANK = 256


def decoder() -> nn.Module:
    """vae_transparent_decoder, also layer_sd15_vae_transparent_decoder."""
    return TransparencyDecoder()


def encoder() -> nn.Module:
    """vae_transparent_encoder, also layer_sd15_vae_transparent_encoder."""
    return TransparencyEncoder()


def sd15_foreground() -> nn.Module:
    """layer_sd15_transparent_attn."""
    return AttentionSharing(sd15_unet(), Settings(frames=1))


def sd15_joint() -> nn.Module:
    """layer_sd15_joint."""
    return AttentionSharing(sd15_unet(), Settings(frames=3))


def sd15_given() -> nn.Module:
    """layer_sd15_fg2bg, layer_sd15_bg2fg."""
    return AttentionSharing(sd15_unet(), Settings(frames=2, control=ENCODER_WIDTHS))


def sdxl_attention() -> Shapes:
    """layer_xl_transparent_attn."""
    return low_rank_offsets(sdxl_unet())


def sdxl_attention_whole() -> Shapes:
    """ld_diffusers_sdxl_attn, but for the biases of to_out."""
    unet = sdxl_unet()
    state = unet.state_dict()
    return {name: tuple(state[name].shape) for name in covered(unet, "attention")}


def sdxl_conv() -> Shapes:
    """layer_xl_transparent_conv."""
    return whole_offsets(sdxl_unet(), "all")


def sdxl_blended() -> Shapes:
    """layer_xl_fg2ble, layer_xl_bg2ble: a given picture's latents are read beside the noise."""
    return whole_offsets(sdxl_unet(), "convolutions", given=1)


def sdxl_foreground_given() -> Shapes:
    """layer_xl_bgble2fg: the latents of a background and of the whole picture are read beside the noise."""
    return whole_offsets(sdxl_unet(), "all", given=2)


def sdxl_background_given() -> Shapes:
    """layer_xl_fgble2bg: the latents of a foreground and of the whole picture are read beside the noise."""
    return whole_offsets(sdxl_unet(), "convolutions", given=2)


def low_rank_offsets(unet: Any, rank: int = RANK) -> Shapes:
    """Up and down of all projections of all attentions, by their original names."""
    state, names = unet.state_dict(), parameter_names(unet)
    shapes: Shapes = {}
    wanted = set(covered(unet, "attention"))
    for theirs, ours in names.items():
        if ours in wanted:
            out, source = state[ours].shape
            shapes[f"diffusion_model.{theirs}::lora::0"] = (out, rank)
            shapes[f"diffusion_model.{theirs}::lora::1"] = (rank, source)
    return shapes


def whole_offsets(unet: Any, covers: Covers, given: int = 0) -> Shapes:
    """Whole offsets by their original names; given: pictures whose latents are read beside the noise."""
    state, names = unet.state_dict(), parameter_names(unet)
    shapes: Shapes = {}
    wanted = set(covered(unet, covers))
    for theirs, ours in names.items():
        if ours in wanted:
            shape = tuple(state[ours].shape)
            if ours == "conv_in.weight":
                shape = (shape[0], shape[1] * (1 + given), *shape[2:])
            shapes[f"diffusion_model.{theirs}::diff::0"] = shape
    return shapes
