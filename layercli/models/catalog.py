"""The table of models, and how to open one by name or by folder; listing it imports no torch."""

from __future__ import annotations

import difflib
import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layercli.core.errors import LayercliError

if TYPE_CHECKING:
    from layercli.models.family import Model

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the table.

    family: the module and class that read it; hub: "owner/name" of a hub repository, or "" for weights that
    are part of layercli; gigabytes: what a download takes; alpha: makes transparency itself.
    """

    family: str
    help: str
    licence: str
    native: int
    hub: str = ""
    gigabytes: float = 0.0
    alpha: bool = False

    @property
    def fetch(self) -> str:
        """The command that puts the model into the local cache; "" for weights that are always there."""
        if not self.hub:
            return ""
        kept = '"*.json" "*.txt" "*.safetensors"'
        return f"hf download {self.hub} --include {kept}"


MODELS: Mapping[str, Entry] = {
    "embedded": Entry(
        family="embedded:EmbeddedModel",
        help="Part of layercli: small objects and scenes with native alpha, at once, on any machine.",
        licence="Apache-2.0; training pictures: see NOTICE",
        native=256,
        alpha=True,
    ),
    "sd15": Entry(
        family="sd15:SD15Model",
        help="Stable Diffusion 1.5; alpha is found from attention.",
        licence="CreativeML OpenRAIL-M",
        native=512,
        hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
        gigabytes=4.3,
    ),
    "sdxl": Entry(
        family="sdxl:SDXLModel",
        help="Stable Diffusion XL 1.0; alpha is found from attention.",
        licence="CreativeML OpenRAIL++-M",
        native=1024,
        hub="stabilityai/stable-diffusion-xl-base-1.0",
        gigabytes=14.0,
    ),
    "realvisxl": Entry(
        family="sdxl:SDXLModel",
        help="RealVisXL 4.0, a photographic SDXL: the base model of the LayerFusion paper.",
        licence="CreativeML OpenRAIL++-M",
        native=1024,
        hub="SG161222/RealVisXL_V4.0",
        gigabytes=14.0,
    ),
}

_PIPELINES = {
    "StableDiffusionPipeline": "sd15:SD15Model",
    "StableDiffusionXLPipeline": "sdxl:SDXLModel",
}


def folder_of(name: str) -> Path | None:
    """Where a model of the table lies on this machine, or None; nothing is fetched."""
    entry = MODELS[name]
    if not entry.hub:
        folder = WEIGHTS / name
        return folder if (folder / "unet" / "config.json").is_file() else None
    return _cached(entry.hub)


def load_model(name: str, device: str = "auto", dtype: str = "auto") -> Model:
    """Open a model of the table, or a local folder in diffusers' format.

    device: auto, cuda, mps or cpu; dtype: auto, float32, float16 or bfloat16. Never downloads.
    Raises LayercliError for an unknown name (listing the known ones), a model that is not on this machine
    (saying how to fetch it), and files that are missing or damaged.
    """
    if name in MODELS:
        family, folder = MODELS[name].family, _there(name)
    else:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise _unknown(name)
        family = _family_of(folder)
    from layercli.models.family import resolve_device, resolve_dtype

    module, _, cls = family.partition(":")
    where = resolve_device(device)
    number_type = resolve_dtype(dtype, where)
    model: Model = getattr(importlib.import_module(f"layercli.models.{module}"), cls).load(
        folder, name=name, device=where, dtype=number_type
    )
    return model


def _there(name: str) -> Path:
    folder = folder_of(name)
    if folder is not None:
        return folder
    entry = MODELS[name]
    if not entry.hub:
        raise LayercliError(
            f'The weights of the model "{name}" are missing from {WEIGHTS / name}.',
            "Reinstall layercli: pip install --force-reinstall layercli",
        )
    raise LayercliError(
        f'The model "{name}" is not on this machine ({entry.gigabytes:g} GB, licence {entry.licence}).',
        f"To fetch it, type: {entry.fetch}",
    )


def _unknown(name: str) -> LayercliError:
    listed = ", ".join(MODELS)
    if os.sep in name:
        return LayercliError(f'There is no folder "{name}" to read a model from.', f"Models: {listed}.")
    near = difflib.get_close_matches(name, MODELS, 1)
    asked = f'Did you mean "{near[0]}"? ' if near else ""
    return LayercliError(f'There is no model "{name}".', f"{asked}Models: {listed}, or a folder.")


def _family_of(folder: Path) -> str:
    """What kind of model a folder holds, by its model_index.json or its parts."""
    if all((folder / part).is_dir() for part in ("unet", "autoencoder", "text")):
        return "embedded:EmbeddedModel"
    try:
        kind = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LayercliError(
            f"The folder {folder} holds no model: it has no readable model_index.json.",
            "Give a folder in diffusers' format.",
        ) from None
    if kind not in _PIPELINES:
        known = ", ".join(_PIPELINES)
        raise LayercliError(f"The folder {folder} holds a {kind}, which is not known.", f"Known: {known}.")
    return _PIPELINES[kind]


def _cached(hub: str) -> Path | None:
    """The newest snapshot of a hub repository in the local cache, or None; the network is not asked."""
    home = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME") or os.path.join(Path.home(), ".cache", "huggingface"), "hub"
    )
    repository = Path(home) / f"models--{hub.replace('/', '--')}"
    try:
        snapshot = repository / "snapshots" / (repository / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return snapshot if (snapshot / "model_index.json").is_file() else None
