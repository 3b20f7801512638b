"""Reading networks from folders: safetensors only, complete or refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.models.integrity import read_header

WEIGHTS = "diffusion_pytorch_model"
REINSTALL = "Reinstall layercli: pip install --force-reinstall layercli"


def read_config(path: Path, hint: str) -> dict[str, Any]:
    """A JSON object from a file; raises LayercliError that names it."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LayercliError(f"The model's file {path} is missing.", hint) from None
    except (OSError, ValueError) as error:
        raise LayercliError(f"The model's file {path} is damaged: {error}.", hint) from error
    if not isinstance(config, dict):
        raise LayercliError(f"The model's file {path} is damaged: it holds no settings.", hint)
    return config


def weight_files(folder: Path, hint: str, stem: str = WEIGHTS) -> tuple[Path, ...]:
    """The safetensors file of a folder, or the shards its index names; raises LayercliError."""
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = read_config(index, hint).get("weight_map", {})
        files = tuple(folder / name for name in sorted(set(shards.values())))
    else:
        files = (folder / f"{stem}.safetensors",)
    for file in files:
        if not file.is_file():
            raise LayercliError(f"The model's file {file} is missing.", hint)
    return files


def load_network(cls: Any, folder: Path, hint: str) -> tuple[Any, tuple[Path, ...]]:
    """Build a diffusers network from config.json and fill it from safetensors, every tensor of it.

    -> (network in float32, its weight files). Reads the folder without initialising weights first.
    Raises LayercliError for a file that is missing, truncated, or does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_config(folder / "config.json", hint)
    files = weight_files(folder, hint)
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors.update(load_file(file))
        except (SafetensorError, OSError, ValueError) as error:
            raise LayercliError(f"The model's file {file} is damaged: {error}.", hint) from error
    try:
        with torch.device("meta"):
            network: nn.Module = cls.from_config(config)
        network.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayercliError(f"The weights in {folder} do not fit its config.json: {reason}.", hint) from error
    return network, files


def pretrained(cls: Any, folder: Path, hint: str, **settings: Any) -> Any:
    """A diffusers or transformers network of a folder in their format, from safetensors on this machine.

    Raises LayercliError for files that are missing or damaged, or that leave a part of the network empty.
    """
    read_config(folder / "config.json", hint)
    whole = sorted(folder.glob("*.safetensors"))
    if not whole:
        raise LayercliError(f"There are no weights in {folder}: no safetensors file.", hint)
    for file in whole:
        read_header(file)
    if all(".fp16" in path.name for path in whole):
        settings["variant"] = "fp16"
    with reading(folder, hint), quiet():
        network, report = cls.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **settings
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise LayercliError(f"The weights in {folder} have no {missing[0]} ({len(missing)} missing).", hint)
    return network


def words_of(cls: Any, folder: Path, hint: str) -> Any:
    """A tokenizer of transformers from a folder; raises LayercliError where its words are not in there."""
    check_words(folder, hint)
    with reading(folder, hint):
        return cls.from_pretrained(folder, local_files_only=True)


def check_words(folder: Path, hint: str) -> None:
    """Raise LayercliError for a tokenizer's folder without words: transformers makes an empty one of it."""
    files = ("vocab.json", "merges.txt")
    if not (folder / "tokenizer.json").is_file():
        for name in files:
            if not (folder / name).is_file():
                raise LayercliError(f"The model's words are missing: there is no {name} in {folder}.", hint)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no notes of transformers and diffusers; errors reach the caller anyway."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    levels = of_diffusers.get_verbosity(), of_transformers.get_verbosity()
    drawn = [of for of in (of_diffusers, of_transformers) if of.is_progress_bar_enabled()]
    of_diffusers.set_verbosity_error()
    of_transformers.set_verbosity_error()
    for of in drawn:
        of.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        of_diffusers.set_verbosity(levels[0])
        of_transformers.set_verbosity(levels[1])
        for of in drawn:
            of.enable_progress_bar()


@contextmanager
def reading(folder: Path, hint: str) -> Iterator[None]:
    """Turn what diffusers and transformers raise for a bad folder into a LayercliError that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayercliError(f"The model in {folder} cannot be read: {reason}.", hint) from error
