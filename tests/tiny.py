"""Tiny models of every family: real diffusers and transformers classes with random weights from a seed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.generate._joint import Scene
from layercli.models.embedded import EmbeddedModel
from layercli.models.family import Model
from layercli.models.rgba_autoencoder import RGBAAutoencoder
from layercli.models.sd15 import SD15Model
from layercli.models.sdxl import SDXLModel
from layercli.models.small_unet import SmallUNet
from layercli.models.text_static import StaticTextEncoder

FAMILIES = ("embedded", "sd15", "sdxl")
SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}


def embedded_unet(latents: int = 16) -> SmallUNet:
    """The embedded model's shape: ResNets alone at the top, attention below, class labels, pooled text."""
    torch.manual_seed(0)
    unet = SmallUNet(
        sample_size=latents,
        in_channels=12,
        out_channels=12,
        block_out_channels=(16, 32, 32),
        attention_head_dim=(2, 4, 4),
        norm_num_groups=8,
        cross_attention_dim=256,
        num_class_embeds=3,
    )
    torch.nn.init.normal_(unet.class_embedding.weight)
    return unet.eval()


def sd15_unet() -> UNet2DConditionModel:
    """SD1.5's shape: cross-attention at every level but the lowest."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        norm_num_groups=8,
        cross_attention_dim=16,
    ).eval()


def sdxl_unet() -> UNet2DConditionModel:
    """SDXL's shape: attention below the top, several blocks a layer, linear projections, sizes as input."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        norm_num_groups=8,
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * 6 + 16,
    ).eval()


UNETS = {"embedded": embedded_unet, "sd15": sd15_unet, "sdxl": sdxl_unet}


def autoencoder() -> RGBAAutoencoder:
    """The embedded autoencoder, thin."""
    torch.manual_seed(0)
    return RGBAAutoencoder(latent_channels=12, channels=(8, 8, 16), encoder_blocks=1, decoder_blocks=1).eval()


def vae() -> AutoencoderKL:
    """An RGB autoencoder with one halving."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    ).eval()


def embedded(latents: int = 16, **settings: Any) -> EmbeddedModel:
    """The embedded family: 16 px a latent position, 12 channels, the real word vectors."""
    schedule = Schedule.cosine(prediction="v_prediction", spacing="trailing")
    return EmbeddedModel(embedded_unet(latents), autoencoder(), words(), schedule, **settings)


@cache
def words() -> StaticTextEncoder:
    """The word vectors that ship with layercli."""
    return StaticTextEncoder.load()


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that knows letters and nothing else."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz,."
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16, unk_token="<|endoftext|>"
    )


def clip_text(vocabulary: int, *, projected: bool = False) -> Any:
    """A CLIP text encoder of two thin layers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def clip(folder: Path) -> Path:
    """A CLIP model of two thin layers a tower, 32 px, with its tokenizer, in a folder."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    words = tokenizer(folder)
    text = clip_text(len(words)).config.to_dict()
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=CLIPTextConfig(**text).to_dict(),
        vision_config=CLIPVisionConfig(**vision).to_dict(),
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def sd15(folder: Path, **settings: Any) -> SD15Model:
    """The SD1.5 family: 32 px, latents 4 x 16 x 16. folder: for the tokenizer's files."""
    words = tokenizer(folder)
    return SD15Model(
        sd15_unet(), vae(), clip_text(len(words)), words, Schedule.from_config(SCHEDULE), **settings
    )


def sdxl(folder: Path, **settings: Any) -> SDXLModel:
    """The SDXL family: 32 px, latents 4 x 16 x 16. folder: for the tokenizers' files."""
    words = tokenizer(folder)
    texts = (clip_text(len(words)), clip_text(len(words), projected=True))
    return SDXLModel(sdxl_unet(), vae(), texts, (words, words), Schedule.from_config(SCHEDULE), **settings)


def model(family: str, folder: Path, **settings: Any) -> Model:
    """A tiny model of a family by name."""
    if family == "embedded":
        return embedded(**settings)
    return {"sd15": sd15, "sdxl": sdxl}[family](folder, **settings)


def layerdiffuse(folder: Path, family: str) -> Path:
    """LayerDiffuse's files under their published names and keys, for the tiny model of a family."""
    from safetensors.torch import save_file

    from layercli.models.attention_sharing import AttentionSharing, Settings
    from layercli.models.layerdiffuse_shapes import low_rank_offsets, whole_offsets
    from layercli.models.transparent_networks import Shape, TransparencyDecoder, TransparencyEncoder

    def write(name: str, tensors: dict[str, torch.Tensor]) -> None:
        halved = {key: value.detach().half().contiguous() for key, value in tensors.items()}
        save_file(halved, folder / f"{name}.safetensors")

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    decoder = TransparencyDecoder(Shape(widths=(8, 8, 16), attentive=2, latent=1))
    encoder = TransparencyEncoder((4, 8))
    with torch.no_grad():
        decoder.latent_conv_in.weight.normal_(std=0.5)
        decoder.conv_out.bias.copy_(torch.tensor([0.6, 0.5, 0.5, 0.5]))
        encoder.blocks[-1].weight.normal_(std=0.1)
    prefix = "layer_sd15_" if family == "sd15" else ""
    write(f"{prefix}vae_transparent_decoder", decoder.state_dict())
    write(f"{prefix}vae_transparent_encoder", encoder.state_dict())
    if family == "sdxl":
        files = {
            "transparent_attn": low_rank_offsets(sdxl_unet(), rank=3),
            "bg2ble": whole_offsets(sdxl_unet(), "convolutions", given=1),
            "fg2ble": whole_offsets(sdxl_unet(), "convolutions", given=1),
            "bgble2fg": whole_offsets(sdxl_unet(), "all", given=2),
            "fgble2bg": whole_offsets(sdxl_unet(), "convolutions", given=2),
        }
        for name, shapes in files.items():
            write(f"layer_xl_{name}", {key: 0.1 * torch.randn(shape) for key, shape in shapes.items()})
        return folder
    given = Settings(frames=2, rank=4, control=(4, 8))
    for name, settings in (
        ("joint", Settings(frames=3, rank=4)),
        ("transparent_attn", Settings(rank=4)),
        ("fg2bg", given),
        ("bg2fg", given),
    ):
        sharing = AttentionSharing(sd15_unet(), settings)
        write(f"layer_sd15_{name}", {n: 0.3 * torch.randn_like(v) for n, v in sharing.state_dict().items()})
    return folder


def save(family: str, folder: Path) -> Path:
    """Write a tiny model as a folder that layercli.models.catalog.load_model opens."""
    built: Any = model(family, folder / "words")
    built.unet.save_pretrained(folder / "unet")
    if family == "embedded":
        built.codec.autoencoder.save_pretrained(folder / "autoencoder")
        (folder / "text").mkdir()
        from layercli.models.text_static import EMBEDDED_FOLDER

        for file in EMBEDDED_FOLDER.iterdir():
            (folder / "text" / file.name).write_bytes(file.read_bytes())
        return folder
    built.codec.vae.save_pretrained(folder / "vae")
    built.text.save_pretrained(folder / "text_encoder")
    built.tokenizer.save_pretrained(folder / "tokenizer")
    if family == "sdxl":
        built.second_text.save_pretrained(folder / "text_encoder_2")
        built.second_tokenizer.save_pretrained(folder / "tokenizer_2")
    DDIMScheduler.from_config(SCHEDULE).save_pretrained(folder / "scheduler")
    name = {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}[family]
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return folder


def adapter(model: Path, folder: Path, kind: str, seed: int, *, base: bool = True) -> Path:
    """An adapter for a model's folder with weights by chance, as a training run leaves it."""
    from layercli.models import dreamlayer, layerdiff
    from layercli.models.catalog import load_model

    loaded = load_model(str(model), "cpu")
    made: dreamlayer.DreamLayer | layerdiff.LayerDiff = (
        dreamlayer.DreamLayer(loaded.unet, dreamlayer.Settings(rank=2, width=8, heads=2, refiners=1))
        if kind == "dreamlayer"
        else layerdiff.LayerDiff(loaded.unet, layerdiff.Settings(masks=False, rank=2, width=8))
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made.save(folder, loaded.weight_hashes() if base else None)


def qwen(folder: Path) -> Path:
    """Qwen-Image-Layered's shape, saved: 16 px a latent position, so that its 640 px are few tokens."""
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_layered import QwenImageLayeredPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2Tokenizer,
        Qwen2VLImageProcessor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
    letters = sorted(ByteLevel.alphabet())
    folder.mkdir(parents=True)
    vocabulary = {token: number for number, token in enumerate([*letters, *special])}
    words = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    words.add_special_tokens({"additional_special_tokens": special[1:]})
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        in_channels=32, out_channels=8, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4), use_additional_t_cond=True, use_layer3d_rope=True,
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=4, z_dim=8, dim_mult=[1, 2, 2, 2, 2], num_res_blocks=1, input_channels=4,
        temperal_downsample=[False, True, True, True], latents_mean=[0.0] * 8, latents_std=[1.0] * 8,
    )  # fmt: skip
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default"}
    eyes = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": len(words), "rope_scaling": rope,
            "bos_token_id": None, "eos_token_id": None,
        },
        vision_config=eyes,
        **{f"{name}_token_id": vocabulary[f"<|{name}|>"] for name in ("vision_start", "vision_end")},
        **{f"{name}_token_id": vocabulary[f"<|{name}_pad|>"] for name in ("image", "video")},
    )  # fmt: skip
    reader = Qwen2_5_VLForConditionalGeneration(config)
    reader.generation_config.eos_token_id = list(range(len(words)))  # one token is caption enough
    QwenImageLayeredPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=reader,
        tokenizer=words,
        processor=Qwen2VLImageProcessor(max_pixels=64 * 64),
        transformer=transformer,
    ).save_pretrained(folder)
    return folder


def scene(size: Size, rectangle: tuple[float, float, float, float]) -> Scene:
    """A cat on a sofa, within a rectangle of the canvas, in shares of its sides."""
    return Scene(
        foregrounds=["a cat"],
        background="a sofa",
        blended="a cat, a sofa",
        negative="",
        rectangles=[rectangle],
        guides={},
        size=size,
        frame=size,
    )
