"""Adapters: small trained modules on a frozen network, as folders of safetensors and settings."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.models.catalog import WEIGHTS
from layercli.models.hooks import attention_layers

FILE = "adapter.safetensors"
LIMIT = 16 * 2**20
"""Bytes that a repository takes of one file."""


class LowRank(nn.Module):
    """A linear map of low rank, up·down, added to a frozen one; zero until it is trained."""

    def __init__(self, source: int, out: int, rank: int) -> None:
        super().__init__()
        rank = min(rank, source, out)
        self.down = nn.Linear(source, rank, bias=False)
        self.up = nn.Linear(rank, out, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.up(self.down(x))
        return result


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with weights and bias 0: the last one of a residual branch that shall begin as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def layer_sizes(unet: Any) -> list[tuple[str, int, int, int]]:
    """Of every attention layer: its name, the width of what asks, of what is read, and inside."""
    sizes = []
    for layer in attention_layers(unet):
        attention: Any = unet.get_submodule(layer.name)
        sizes.append(
            (
                layer.name,
                int(attention.to_q.in_features),
                int(attention.to_k.in_features),
                int(attention.to_k.out_features),
            )
        )
    return sizes


class Adapter(nn.Module):
    """The trained parts of a method for one UNet; subclasses name their kind and the class of their settings.

    settings: a frozen dataclass of plain values; network: the base's attention layers, by which a folder is
    told to fit.
    """

    kind: ClassVar[str]
    settings_type: ClassVar[type[Any]]

    def __init__(self, unet: Any, settings: Any) -> None:
        super().__init__()
        self.settings = settings
        self.network = layer_sizes(unet)

    @classmethod
    def load(cls, folder: Path, unet: Any) -> Self:
        """Read an adapter folder.

        Raises LayercliError when it is missing or damaged, of another kind, or made for another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        adapter = cls(unet, cls.settings_type(**_read_settings(folder, cls.kind, layer_sizes(unet))))
        try:
            tensors = {name: value.float() for name, value in load_file(folder / FILE).items()}
            adapter.load_state_dict(tensors)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise LayercliError(
                f"The adapter {folder / FILE} cannot be read: {reason}.", "Train or copy it again."
            ) from error
        return adapter

    def save(self, folder: Path) -> Path:
        """Write `adapter.safetensors` (float16) and `config.json` whole, and return the folder.

        Raises LayercliError if the file would be larger than a repository takes.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: value.detach().half().cpu().contiguous() for name, value in self.state_dict().items()
        }
        size = sum(value.numel() * 2 for value in tensors.values())
        if size >= LIMIT:
            raise LayercliError(
                f"The adapter has {size / 2**20:.1f} MiB; {LIMIT // 2**20} is the most.", "Try: -O rank=8"
            )
        part = folder / f".{FILE}"
        save_file(tensors, part)
        part.chmod(0o644)  # safetensors writes for the owner alone
        part.replace(folder / FILE)
        config = {
            "kind": self.kind,
            "settings": dataclasses.asdict(self.settings),
            "network": self.network,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        return folder

    def made_ready(self, device: torch.device, dtype: torch.dtype) -> Self:
        """For sampling: on a device, in the network's number type, frozen."""
        return self.to(device=device, dtype=dtype).eval().requires_grad_(False)


def _read_settings(folder: Path, kind: str, network: Sequence[Any]) -> Mapping[str, Any]:
    hint = how_to_train(kind)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found, settings, made_for = config["kind"], config["settings"], config["network"]
    except FileNotFoundError:
        raise LayercliError(f"There is no {kind} adapter in {folder}.", hint) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LayercliError(f"The adapter's settings in {folder} are damaged: {error}.", hint) from error
    if found != kind:
        raise LayercliError(f"The adapter in {folder} is of the kind {found}, not {kind}.", hint)
    if made_for != json.loads(json.dumps(list(network))):
        raise LayercliError(f"The adapter in {folder} was trained on another network.", hint)
    if not isinstance(settings, dict):
        raise LayercliError(f"The adapter's settings in {folder} are damaged.", hint)
    return settings


def how_to_train(kind: str, model: str = "embedded") -> str:
    """What to type where an adapter for a model is missing."""
    base = "" if model == "embedded" else f" --base {model}"
    return f"Train one: layercli train {kind}{base} --out runs/{kind}, then -O adapter=runs/{kind}/adapter"


def adapter_folder(asked: str, model: str, kind: str) -> Path:
    """The folder a person named, or the one that ships with a model.

    Raises LayercliError that says how to train one where there is none.
    """
    folder = Path(asked).expanduser() if asked else WEIGHTS / model / kind
    if (folder / FILE).is_file():
        return folder
    missing = f"There is no {kind} adapter in {folder}." if asked else ""
    raise LayercliError(
        missing or f'No {kind} adapter comes with the model "{model}".', how_to_train(kind, model)
    )


def adapter_hashes(folder: Path, kind: str) -> dict[str, str]:
    """SHA-256 of an adapter's file, for the receipt."""
    with (folder / FILE).open("rb") as file:
        return {f"{kind}/{FILE}": hashlib.file_digest(file, "sha256").hexdigest()}


def chosen(rules: type[Any], options: Any) -> Any:
    """The rules among a plug-in's options, which have the same names."""
    return rules(**{field.name: getattr(options, field.name) for field in dataclasses.fields(rules)})
