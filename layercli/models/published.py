"""The shapes of the public models: settings of their networks as their makers published them, and builders.

Source: the config.json files of stable-diffusion-v1-5, stable-diffusion-xl-base-1.0, Qwen-Image-Layered and
Qwen2.5-VL-7B-Instruct; what they share with the defaults of diffusers and transformers is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Settings = Mapping[str, Any]

_CROSS_DOWN, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

SD15_UNET: Settings = MappingProxyType(
    {
        "sample_size": 64,
        "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": [_CROSS_DOWN, _CROSS_DOWN, _CROSS_DOWN, "DownBlock2D"],
        "up_block_types": ["UpBlock2D", _CROSS_UP, _CROSS_UP, _CROSS_UP],
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
    }
)
SDXL_UNET: Settings = MappingProxyType(
    {
        "sample_size": 128,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", _CROSS_DOWN, _CROSS_DOWN],
        "up_block_types": [_CROSS_UP, _CROSS_UP, "UpBlock2D"],
        "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
)
SD15_VAE: Settings = MappingProxyType(
    {
        "sample_size": 512,
        "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    }
)
SDXL_VAE: Settings = MappingProxyType({**SD15_VAE, "sample_size": 1024, "scaling_factor": 0.13025})
CLIP_L: Settings = MappingProxyType(
    {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
)
"""OpenAI's CLIP ViT-L/14. The ids are as published: end-of-text 2 means "at the highest id of a row"."""
CLIP_BIGG: Settings = MappingProxyType(
    {
        **CLIP_L,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
        "hidden_act": "gelu",
    }
)
"""OpenCLIP's ViT-bigG/14, which SDXL reads beside the other."""
SCHEDULE: Settings = MappingProxyType(
    {
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "steps_offset": 1,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
    }
)
"""The noise schedule of both families."""

QWEN_TRANSFORMER: Settings = MappingProxyType({"use_additional_t_cond": True, "use_layer3d_rope": True})
QWEN_VAE: Settings = MappingProxyType({"input_channels": 4})
QWEN_WORDS: Settings = MappingProxyType(
    {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    }
)
QWEN_EYES: Settings = MappingProxyType({"hidden_size": 1280, "out_hidden_size": 3584})


def sd15_unet() -> Any:
    """The UNet of Stable Diffusion 1.5."""
    return unet(SD15_UNET)


def sdxl_unet() -> Any:
    """The UNet of Stable Diffusion XL 1.0."""
    return unet(SDXL_UNET)


def sd15_vae() -> Any:
    """The autoencoder of Stable Diffusion 1.5."""
    return vae(SD15_VAE)


def sdxl_vae() -> Any:
    """The autoencoder of Stable Diffusion XL 1.0."""
    return vae(SDXL_VAE)


def clip_l() -> Any:
    """The text encoder of 1.5, and the first one of XL."""
    return clip_text(CLIP_L)


def clip_bigg() -> Any:
    """The second text encoder of XL, with its projection."""
    return clip_text(CLIP_BIGG, projected=True)


def unet(settings: Settings) -> Any:
    """A diffusers UNet2DConditionModel with random weights, or none on torch's meta device."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return UNet2DConditionModel(**settings)


def vae(settings: Settings) -> Any:
    """A diffusers AutoencoderKL."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(**settings)


def clip_text(settings: Settings, *, projected: bool = False) -> Any:
    """A transformers CLIP text encoder, with or without its projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(CLIPTextConfig(**settings))


def qwen_transformer() -> Any:
    """The diffusion transformer of Qwen-Image-Layered."""
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

    return QwenImageTransformer2DModel(**QWEN_TRANSFORMER)


def qwen_vae() -> Any:
    """The autoencoder of Qwen-Image-Layered, of pictures with alpha."""
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(**QWEN_VAE)


def qwen_text() -> Any:
    """Qwen2.5-VL-7B, which reads prompts for Qwen-Image-Layered, and writes them for photos."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(text_config=dict(QWEN_WORDS), vision_config=dict(QWEN_EYES))
    return Qwen2_5_VLForConditionalGeneration(config)
