"""The table of models, and how to open one by name or by folder; listing it imports no torch."""

from __future__ import annotations

import difflib
import importlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from layercli.core.errors import LayercliError
from layercli.core.registry import suggest
from layercli.models.checkpoint_kinds import kind_of
from layercli.models.entries import CATALOG, MODELS, PARTS, Entry
from layercli.models.hub_cache import cached, snapshot
from layercli.models.records import read_record

if TYPE_CHECKING:
    from layercli.models.family import Model

__all__ = ["CATALOG", "MODELS", "PARTS", "WEIGHTS", "Entry", "cached", "folder_of", "load_model"]

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"

WORDS = {"sd15": ("sd15-words",), "sdxl": ("sdxl-words", "realvisxl")}
"""The rows of the table that have the words of a family."""

_FAMILIES = {"sd15": "sd15:SD15Model", "sdxl": "sdxl:SDXLModel"}
_PIPELINES = {
    "StableDiffusionPipeline": "sd15:SD15Model",
    "StableDiffusionXLPipeline": "sdxl:SDXLModel",
    "QwenImageLayeredPipeline": "qwen:QwenLayered",
}


def folder_of(name: str) -> Path | None:
    """Where a row of the table lies on this machine, whole, or None; nothing is fetched."""
    entry = CATALOG[name]
    if not entry.hub:
        folder = WEIGHTS / name
        return folder if (folder / "unet" / "config.json").is_file() else None
    record = read_record(name, entry.hub)
    if record is not None and all(
        (snapshot(entry.hub, record.commit) / file).is_file() for file in entry.holds
    ):
        return snapshot(entry.hub, record.commit)
    return cached(entry.hub, entry.holds)


def parts_of(name: str) -> tuple[str, ...]:
    """A row of the table, and what it works with: the first of those rows that is here, or else the first."""
    needs = CATALOG[name].needs
    here = (other for other in needs if folder_of(other) is not None)
    return (name, next(here, needs[0])) if needs else (name,)


def missing_parts(name: str) -> tuple[str, ...]:
    """Those of a row and of what it works with that are not here; none means that it is at hand."""
    return tuple(part for part in parts_of(name) if folder_of(part) is None)


def place_of(name: str) -> Path | None:
    """Where a row of the table lies, whole or in part; None where nothing of it is here."""
    entry = CATALOG[name]
    if not entry.hub:
        return folder_of(name)
    record = read_record(name, entry.hub)
    folders = (snapshot(entry.hub, revision) for revision in (record.commit if record else "main", "main"))
    return next((folder for folder in folders if folder.is_dir()), None)


def row(name: str) -> Entry:
    """The row of this name; raises LayercliError, with a near one, where there is none."""
    if name not in CATALOG:
        raise LayercliError(f'There is no model "{name}".', suggest(name, tuple(CATALOG)))
    return CATALOG[name]


def fetch_command(name: str) -> str:
    """The command that puts a row of the table into the local cache; "" for weights that are always there."""
    return f"layercli models pull {name}" if CATALOG[name].hub else ""


def at_hand(name: str) -> Path:
    """The folder of a row of the table; raises LayercliError, with what to type, where it is not here."""
    folder = folder_of(name)
    if folder is not None:
        return folder
    entry = CATALOG[name]
    if not entry.hub:
        raise LayercliError(
            f'The weights of the model "{name}" are missing from {WEIGHTS / name}.',
            "Reinstall layercli: pip install --force-reinstall layercli",
        )
    raise LayercliError(
        f'"{name}" is not on this machine ({entry.gigabytes:g} GB, licence {entry.licence}).',
        f"To fetch it, type: {fetch_command(name)}",
    )


def load_model(name: str, device: str = "auto", dtype: str = "auto", offload: str = "none") -> Model:
    """Open a model of the table, a folder in diffusers' format, or a checkpoint in one safetensors file.

    device: auto, cuda, mps or cpu; dtype: auto, float32, float16 or bfloat16; offload: none, or "model" or
    "sequential" for networks that come to the device only to work (see models.offload). Never downloads.
    Raises LayercliError for an unknown name (listing the known ones), a model that is not on this machine
    (saying how to fetch it), and files that are missing or damaged.
    """
    if name in MODELS:
        family, folder = MODELS[name].family, at_hand(name)
    else:
        folder = Path(name).expanduser()
        if not folder.exists():
            raise _unknown(name)
        family = family_of(folder)
    if family.startswith("qwen:"):
        raise _takes_apart(name)
    import torch

    from layercli.models.family import resolve_device, resolve_dtype

    module, _, cls = family.partition(":")
    where = resolve_device(device)
    number_type = resolve_dtype(dtype, where)
    settings = {
        "name": name,
        "device": where if offload == "none" else torch.device("cpu"),
        "dtype": number_type,
    }
    model: Model
    if folder.is_file():
        reader = importlib.import_module("layercli.models.single_file")
        model = reader.load_single_file(folder, module, **settings)
    else:
        model = getattr(importlib.import_module(f"layercli.models.{module}"), cls).load(folder, **settings)
    if offload != "none":
        importlib.import_module("layercli.models.offload").offload(model, offload, where)
    return model


def _takes_apart(name: str) -> LayercliError:
    return LayercliError(
        f'"{name}" takes photos apart and draws none.', "Try: layercli decompose photo.jpg --method qwen"
    )


def _unknown(name: str) -> LayercliError:
    listed = ", ".join(MODELS)
    if name in PARTS and PARTS[name].family:
        return _takes_apart(name)
    if os.sep in name or name.endswith(".safetensors"):
        return LayercliError(f'There is no folder or file "{name}" with a model.', f"Models: {listed}.")
    if name in PARTS:
        return LayercliError(f'"{name}" is a part of models, and none itself.', f"Models: {listed}.")
    near = difflib.get_close_matches(name, MODELS, 1)
    asked = f'Did you mean "{near[0]}"? ' if near else ""
    return LayercliError(f'There is no model "{name}".', f"{asked}Models: {listed}, or a folder or file.")


def family_of(folder: Path) -> str:
    """What kind of model a folder holds, by its model_index.json or its parts, or a file, by its tensors."""
    if folder.is_file():
        return _FAMILIES[kind_of(folder)]
    if all((folder / part).is_dir() for part in ("unet", "autoencoder", "text")):
        return "embedded:EmbeddedModel"
    try:
        kind = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LayercliError(
            f"The folder {folder} holds no model: it has no readable model_index.json.",
            "Give a folder in diffusers' format.",
        ) from None
    if not isinstance(kind, str) or kind not in _PIPELINES:
        known = ", ".join(_PIPELINES)
        raise LayercliError(f"The folder {folder} holds a {kind}, which is not known.", f"Known: {known}.")
    if kind == "StableDiffusionXLPipeline" and (folder / "layerdiffuse").is_dir():
        return "layerdiffuse:LayerDiffuseXL"
    return _PIPELINES[kind]
