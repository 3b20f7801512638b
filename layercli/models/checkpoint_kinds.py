"""What kind of thing a safetensors file is, by the names of its tensors; what is no model is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layercli.core.errors import LayercliError
from layercli.models.integrity import read_header

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, CLIP_XL, OPEN_CLIP = (
    "cond_stage_model.transformer.",
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.1.model.",
)
PARTS = {
    "sd15": {"UNet": UNET, "autoencoder": VAE, "text encoder": CLIP},
    "sdxl": {"UNet": UNET, "autoencoder": VAE, "text encoder": CLIP_XL, "second text encoder": OPEN_CLIP},
}
"""The networks of a checkpoint, and how the names of their tensors begin."""

_PICKLED = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
_KNOWN = "Known: SD 1.5 and SDXL."
_WHOLE = "Give a whole checkpoint."
_FOLDER = "Give a folder in diffusers' format, or a whole checkpoint."
_OTHERS: tuple[tuple[str, str, str], ...] = (
    ("::(lora|diff)::|^hookers", "LayerDiffuse's weights, and no model by itself", "Give the base model."),
    (r"^lora_|\.lora", "a LoRA: changes to a model, and no model", "Merge it into a checkpoint first."),
    ("^(emb_params|string_to_param|clip_[gl])$", "an embedding: a few words, and no model", _WHOLE),
    ("^(control_model|controlnet_)", "a ControlNet, and no model", _WHOLE),
    (r"double_blocks\.", "a model of the Flux family, which is not known", _KNOWN),
    (r"joint_blocks\.", "a model of the SD 3 family, which is not known", _KNOWN),
    (r"^cond_stage_model\.model\.", "a model of the SD 2 family, which is not known", _KNOWN),
    (
        r"^conditioner\.embedders\.0\.model\.",
        "the refiner of SDXL, which is not known",
        "Give the base model.",
    ),
    (r"^down_blocks\.", "one network with diffusers' names", _FOLDER),
    (r"^text_model\.", "a text encoder alone", _FOLDER),
    (r"^(encoder|first_stage_model)\.", "an autoencoder alone", _FOLDER),
)
"""What is in the names of a file, what the file then is, and what to do."""


def kind_of(path: Path) -> str:
    """ "sd15" or "sdxl", for a whole checkpoint with the original names.

    Raises LayercliError for a file that is missing, pickled, cut off, or something else, and says what it is.
    """
    if path.suffix.lower() in _PICKLED:
        raise LayercliError(
            f"{path} is a pickled file, which can run code when it is read, so it is not opened.",
            "Give the .safetensors file that most makers offer beside it.",
        )
    if path.suffix.lower() != ".safetensors":
        raise LayercliError(f"{path} is no model.", "Give a .safetensors file, or a folder.")
    header = read_header(path)
    family = "sdxl" if _has(header, "conditioner.") else "sd15"
    missing = [part for part, prefix in PARTS[family].items() if not _has(header, prefix)]
    if missing:
        raise _refusal(path, header, missing)
    channels = _channels_in(header)
    if channels not in (None, 4):
        raise LayercliError(
            f"{path} is an inpainting model: its UNet reads {channels} channels, not 4.",
            "Give the model that it was made from.",
        )
    return family


def _refusal(path: Path, header: Mapping[str, Any], missing: list[str]) -> LayercliError:
    for sign, what, hint in _OTHERS:
        if any(re.search(sign, name) for name in header):
            return LayercliError(f"{path} is {what}.", hint)
    if _has(header, UNET):
        lacks = " and no ".join(missing)
        return LayercliError(f"{path} is no whole checkpoint: it has no {lacks}.", _FOLDER)
    if len(header) <= 2:
        return LayercliError(f"{path} is an embedding or a single tensor, and no model.", _WHOLE)
    return LayercliError(f"{path} is no model of a family that is known.", _KNOWN)


def _has(header: Mapping[str, Any], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in header)


def _channels_in(header: Mapping[str, Any]) -> int | None:
    shape = header.get(f"{UNET}input_blocks.0.0.weight", {}).get("shape", ())
    return int(shape[1]) if len(shape) == 4 else None
