"""Networks of our own that live in folders of diffusers' form, without the seconds that its import costs.

A folder holds `config.json` and `diffusion_pytorch_model.safetensors`, in shards with an index where it is
large. Importing diffusers' own base class brings most of diffusers, transformers and torch's compiler along.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from layercli.models._loading import REINSTALL, WEIGHTS, load_network


class Settings(dict[str, Any]):
    """A network's settings, by key or as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class FolderNetwork(nn.Module):
    """A network that is built from a config.json; subclasses pass what they were asked for to `__init__`.

    told: what the config.json holds beside the settings, for other programs; a folder that says otherwise is
    refused.
    """

    told: ClassVar[dict[str, Any]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = Settings(self.told | settings)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The network of these settings, with weights as they begin; raises ValueError for another kind."""
        for name, value in cls.told.items():
            if name != "_class_name" and config.get(name, value) != value:
                raise ValueError(f"{name} is {config[name]!r}, and must be {value!r}")
        names = inspect.signature(cls.__init__).parameters
        return cls(**{name: value for name, value in config.items() if name in names})

    @classmethod
    def from_folder(cls, folder: str | Path) -> Self:
        """Read a folder, in float32 and in evaluation mode; raises LayercliError that names what is wrong."""
        network: Self = load_network(cls, Path(folder), REINSTALL)[0]
        return network.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the weights."""
        return next(self.parameters()).dtype

    def save_pretrained(self, folder: str | Path, max_shard_size: str = "5GB") -> None:
        """Write the folder; weights of an earlier network in it are removed."""
        from huggingface_hub import save_torch_state_dict

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{WEIGHTS}*.safetensors*"):
            old.unlink()
        config = {"_class_name": type(self).__name__} | self.config
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        pattern = f"{WEIGHTS}{{suffix}}.safetensors"
        save_torch_state_dict(
            self.state_dict(), folder, filename_pattern=pattern, max_shard_size=max_shard_size
        )
