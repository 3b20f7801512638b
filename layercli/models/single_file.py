"""Checkpoints in one safetensors file with the original names, read without a hub.

diffusers' own conversion renames the tensors. A file holds no settings and no words: settings are those of a
folder beside it, or of the same family on this machine, or else as published; words come from such a folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.diffusion.schedule import Schedule
from layercli.models import published
from layercli.models._loading import quiet, read_config, reading, words_of
from layercli.models.catalog import WORDS, fetch_command, folder_of
from layercli.models.checkpoint_kinds import CLIP, CLIP_XL, OPEN_CLIP, UNET, VAE
from layercli.models.family import Model

_HINT = "Copy the file again, or put a folder of its name beside it, with its settings."


def load_single_file(path: Path, kind: str, *, name: str, device: torch.device, dtype: torch.dtype) -> Model:
    """Open a checkpoint of a family ("sd15", "sdxl"); weights keep their number type until they are in place.

    Raises LayercliError where words are missing, or where a tensor is, or has another shape than it should.
    """
    from layercli.models.sd15 import SD15Model
    from layercli.models.sdxl import SDXLModel

    beside = sources(path, kind)
    tokenizers = tuple(_tokenizer(path, kind, beside, part) for part in _TOKENIZERS[kind])
    more: dict[str, Any] = {"name": name, "device": device, "dtype": dtype, "weight_files": (path,)}
    schedule = Schedule.from_config(_settings(beside, "scheduler", published.SCHEDULE))
    if kind == "sd15":
        unet = _unet(path, _settings(beside, "unet", published.SD15_UNET))
        vae = _vae(path, _settings(beside, "vae", published.SD15_VAE))
        text = _clip(path, _settings(beside, "text_encoder", published.CLIP_L), CLIP)
        return SD15Model(unet, vae, text, tokenizers[0], schedule, **more)
    unet = _unet(path, _settings(beside, "unet", published.SDXL_UNET))
    vae = _vae(path, _settings(beside, "vae", published.SDXL_VAE))
    texts = (
        _clip(path, _settings(beside, "text_encoder", published.CLIP_L), CLIP_XL),
        _open_clip(path, _settings(beside, "text_encoder_2", published.CLIP_BIGG)),
    )
    return SDXLModel(unet, vae, texts, (tokenizers[0], tokenizers[1]), schedule, **more)


_TOKENIZERS = {"sd15": ("tokenizer",), "sdxl": ("tokenizer", "tokenizer_2")}


def sources(path: Path, kind: str) -> tuple[Path, ...]:
    """Folders with what a file lacks: one of its own name beside it, then its family's in the cache."""
    own = path.with_suffix("")
    cached = [folder for name in WORDS[kind] if (folder := folder_of(name)) is not None]
    return (*([own] if own.is_dir() else []), *cached)


def _settings(folders: Sequence[Path], part: str, otherwise: Mapping[str, Any]) -> dict[str, Any]:
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    file = next((folder / part / name for folder in folders if (folder / part / name).is_file()), None)
    return dict(otherwise) if file is None else read_config(file, _HINT)


def _tokenizer(path: Path, kind: str, folders: Sequence[Path], part: str) -> Any:
    from transformers import CLIPTokenizer

    words = next((folder / part for folder in folders if (folder / part).is_dir()), None)
    if words is None:
        raise LayercliError(
            f"{path} holds no words: a checkpoint in one file has no {part}.",
            f"To fetch one (2 MB), type: {fetch_command(WORDS[kind][0])}",
        )
    return words_of(CLIPTokenizer, words, _HINT)


def _tensors(path: Path, *prefixes: str) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefixes)}  # noqa: SIM118


def _unet(path: Path, settings: Mapping[str, Any]) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with init_empty_weights():
        network = UNet2DConditionModel.from_config(dict(settings))
    with reading(path, _HINT), quiet():
        tensors = convert_ldm_unet_checkpoint(_tensors(path, UNET), network.config)
    return _filled(network, tensors, path, "UNet")


def _vae(path: Path, settings: Mapping[str, Any]) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with init_empty_weights():
        network = AutoencoderKL.from_config(dict(settings))
    with reading(path, _HINT), quiet():
        tensors = convert_ldm_vae_checkpoint(_tensors(path, VAE), network.config)
    return _filled(network, tensors, path, "autoencoder")


def _clip(path: Path, settings: Mapping[str, Any], prefix: str) -> Any:
    """The names of this encoder are those of transformers after the prefix."""
    with init_empty_weights():
        network = published.clip_text(settings)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in _tensors(path, prefix).items()}
    return _filled(network, _as_named(network, tensors), path, "text encoder")


def _open_clip(path: Path, settings: Mapping[str, Any]) -> Any:
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    with init_empty_weights():
        network = published.clip_text(settings, projected=True)
    with reading(path, _HINT), quiet():
        tensors = convert_open_clip_checkpoint(network, _tensors(path, OPEN_CLIP), prefix=OPEN_CLIP)
    return _filled(network, _as_named(network, tensors), path, "second text encoder")


def _as_named(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the level "text_model" where the installed transformers has none; without tables of places."""
    wrapped = hasattr(network, "text_model")
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    return kept if wrapped else {name.removeprefix("text_model."): tensor for name, tensor in kept.items()}


def _filled(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> nn.Module:
    """Put tensors in their places, every place filled and with its shape, or raise LayercliError by name."""
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise LayercliError(f"The {what} in {path} has no {missing[0]} ({len(missing)} missing).", _HINT)
    for name, place in wanted.items():
        if tensors[name].shape != place.shape:
            raise LayercliError(
                f"The {what} in {path} is of another shape: {name} is {_sides(tensors[name])}, "
                f"not {_sides(place)}.",
                _HINT,
            )
    network.load_state_dict({name: tensors[name] for name in wanted}, assign=True)
    return network


def _sides(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
