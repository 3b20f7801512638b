"""CLIP models in open_clip's files, read into transformers' CLIPModel, which computes the same.

LAION's and others' folders hold open_clip_config.json beside open_clip_model.safetensors. The towers that are
read are the vision transformers with learned positions, the residual networks (RN50), and the causal text
transformer; all else (SigLIP, CoCa, ConvNeXt, text towers of other families) is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.vision._residual_tower import SHRINKS, ResidualClip, ResidualTower

CONFIG = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_INSTEAD = "Use a model in transformers' format, or RN50 or a plain ViT of open_clip: ViT-B-32, ViT-L-14, …"
_READ = {
    "model": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale"},
    "image tower": {
        "image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size", "act_kwargs", "norm_kwargs",
        "patch_dropout",
    },
    "text tower": {
        "context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "act_kwargs", "norm_kwargs",
    },
}  # fmt: skip
_USUAL = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",), "proj_type": ("linear",)}
"""Values that say what is done here anyway; any other key that is set is refused."""

_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
_SINGLE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # transformers spells it so
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


def is_open_clip(folder: Path) -> bool:
    """Whether a folder's CLIP is in open_clip's files, and not in transformers' as well."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        other = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    # timm's folders hold a config.json and a model.safetensors of the image tower alone.
    theirs = isinstance(other, dict) and other.get("model_type") == "clip"
    return not theirs or not (folder / "model.safetensors").is_file()


def weights_of(folder: Path) -> Path:
    """The file with the weights; raises LayercliError where there is none that is safe to read."""
    named = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
    found = named or sorted(folder.glob("*.safetensors"))
    if found:
        return found[0]
    raise LayercliError(
        f"The open_clip model in {folder} has no .safetensors file.",
        "Fetch open_clip_model.safetensors; files of Python objects (.bin, .pt) are not opened.",
    )


def read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of both towers for transformers' CLIPConfig, and those of the preprocessing.

    Raises LayercliError for a model whose computation is another one, naming the setting.
    """
    found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{CONFIG} is no JSON object")
    model = found["model_cfg"]
    vision, text = dict(model["vision_cfg"]), dict(model["text_cfg"])
    for where, values in (("model", model), ("image tower", vision), ("text tower", text)):
        for key, value in values.items():
            if key in _READ[where] or value in (None, False) or value in _USUAL.get(key, ()):
                continue
            told = key if isinstance(value, dict | list) else f"{key}={value}"
            raise LayercliError(f"The {where} of {folder} has {told}, which is not read.", _INSTEAD)
    side, width = _side(vision.get("image_size", 224), folder), int(vision.get("width", 768))
    heads = int(vision.get("head_width", 64))
    if isinstance(blocks := vision.get("layers"), list):
        tower = {"blocks": blocks, "width": width, "heads": width * SHRINKS // heads, "side": side}
    else:
        tower = {
            **_tower(vision, model, width=768, layers=12), "num_attention_heads": width // heads,
            "image_size": side, "patch_size": int(vision.get("patch_size", 16)),
        }  # fmt: skip
    return {
        "projection_dim": int(model["embed_dim"]),
        "vision_config": tower,
        "text_config": {
            **_tower(text, model, width=512, layers=12),
            "num_attention_heads": int(text.get("heads", 8)),
            "vocab_size": int(text.get("vocab_size", 49408)),
            "max_position_embeddings": int(text.get("context_length", 77)),
        },
    }, dict(found.get("preprocess_cfg") or {})


def _tower(values: Mapping[str, Any], model: Mapping[str, Any], *, width: int, layers: int) -> dict[str, Any]:
    """Sizes, activation and normalisation of one tower; the GELU is exact unless another is told."""
    across = int(values.get("width", width))
    tanh = (values.get("act_kwargs") or {}).get("approximate") == "tanh"
    plain = "gelu_pytorch_tanh" if tanh else "gelu"
    return {
        "hidden_size": across,
        "intermediate_size": int(across * values.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(values.get("layers", layers)),
        "hidden_act": "quick_gelu" if model.get("quick_gelu") else plain,
        "layer_norm_eps": float((values.get("norm_kwargs") or {}).get("eps", 1e-5)),
    }


def _side(size: Any, folder: Path) -> int:
    sides = size if isinstance(size, list) else [size, size]
    if sides[0] != sides[1]:
        raise LayercliError(f"The image tower of {folder} reads {sides[1]}x{sides[0]}, no square.", _INSTEAD)
    return int(sides[0])


def built(settings: Mapping[str, Any], found: Mapping[str, Tensor]) -> Any:
    """The model of these settings and tensors, which offers what CLIPModel does.

    Raises RuntimeError and KeyError where they do not belong together.
    """
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection

    vision, out = settings["vision_config"], settings["projection_dim"]
    if "blocks" not in vision:
        model = CLIPModel(CLIPConfig(**settings))
        model.load_state_dict(renamed(found))
        return model
    tower = ResidualTower(**vision, out=out)
    start = "visual."
    tower.load_state_dict({name.removeprefix(start): found[name] for name in found if name.startswith(start)})
    text = CLIPTextModelWithProjection(CLIPTextConfig(**settings["text_config"], projection_dim=out))
    left = {name: found[name] for name in found if not name.startswith(start) and name != "logit_scale"}
    text.load_state_dict(renamed(left))
    return ResidualClip(tower, text, vision["side"], out)


def renamed(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's tensors under transformers' names; raises KeyError for one that has no place there.

    Attention's stacked query, key and value are cut apart; projections stand the other way round.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        if name in _SINGLE:
            tensors[_SINGLE[name]] = value
        elif name in _TRANSPOSED:
            tensors[_TRANSPOSED[name]] = value.T.contiguous()
        else:
            tensors |= _of_block(name, value)
    if "logit_scale" in tensors:
        tensors["logit_scale"] = tensors["logit_scale"].reshape(())
    return tensors


def _of_block(name: str, value: Tensor) -> dict[str, Tensor]:
    cut = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", name)
    if cut is None:
        raise KeyError(f"no place for {name}")
    visual, number, part, kind = cut.groups()
    start = f"{'vision' if visual else 'text'}_model.encoder.layers.{number}"
    if part == "attn.in_proj":
        return {
            f"{start}.self_attn.{letter}_proj.{kind}": third.contiguous()
            for letter, third in zip("qkv", value.chunk(3), strict=True)
        }
    if part not in _BLOCK:
        raise KeyError(f"no place for {name}")
    return {f"{start}.{_BLOCK[part]}.{kind}": value}
