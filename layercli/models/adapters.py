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
from layercli.models.catalog import MODELS, folder_of
from layercli.models.hooks import attention_layers
from layercli.models.integrity import read_header

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

    def added_to(self, weight: Tensor) -> Tensor:
        """The frozen map's weight with this one multiplied out, W + up·down, in float32."""
        mine = self.up.weight.float() @ self.down.weight.float()
        return weight.to(mine.device).float() + mine


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
        read_header(folder / FILE)  # says so where the file was cut off
        _check_digest(folder)
        try:
            tensors = {name: value.float() for name, value in load_file(folder / FILE).items()}
            adapter.load_state_dict(tensors)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise LayercliError(
                f"The adapter {folder / FILE} cannot be read: {reason}.", "Train or copy it again."
            ) from error
        return adapter

    def save(self, folder: Path, base: Mapping[str, str] | None = None) -> Path:
        """Write `adapter.safetensors` (float16) and `config.json` whole, and return the folder.

        base: the hashes of the weights it was trained on, as `Model.weight_hashes` gives them. Raises
        LayercliError if the file would be larger than a repository takes.
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
            "base": dict(base or {}),
            "sha256": _digest(folder),
        }
        write_config(folder, config)
        return folder

    def made_ready(self, device: torch.device, dtype: torch.dtype) -> Self:
        """For sampling: on a device, in the network's number type, frozen."""
        return self.to(device=device, dtype=dtype).eval().requires_grad_(False)


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """What an adapter's config.json says; raises LayercliError where it is missing, damaged or of another
    kind.
    """
    hint = how_to_train(kind)
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = config["kind"]
        for key in ("settings", "network"):
            config[key]
    except FileNotFoundError:
        raise LayercliError(f"There is no {kind} adapter in {folder}.", hint) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LayercliError(f"The adapter's settings in {folder} are damaged: {error}.", hint) from error
    if found != kind:
        raise LayercliError(f"The adapter in {folder} is of the kind {found}, not {kind}.", hint)
    return config


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write an adapter's config.json."""
    (folder / "config.json").write_text(json.dumps(dict(config), indent=1) + "\n", encoding="utf-8")


def _read_settings(folder: Path, kind: str, network: Sequence[Any]) -> Mapping[str, Any]:
    hint, config = how_to_train(kind), read_config(folder, kind)
    settings, made_for = config["settings"], config["network"]
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
    ships = folder_of(model) if model in MODELS else Path(model).expanduser()
    folder = Path(asked).expanduser() if asked or ships is None else ships / kind
    if (folder / FILE).is_file():
        return folder
    missing = f"There is no {kind} adapter in {folder}." if asked else ""
    raise LayercliError(
        missing or f'No {kind} adapter comes with the model "{model}".', how_to_train(kind, model)
    )


def adapter_hashes(folder: Path, kind: str) -> dict[str, str]:
    """SHA-256 of an adapter's file, for the receipt."""
    return {f"{kind}/{FILE}": _digest(folder)}


def other_base(folder: Path, kind: str, weights: Mapping[str, str]) -> str:
    """The first file of a model that is not the one an adapter was trained on; "" where all are.

    weights: the model's hashes. Files that only one side knows of say nothing: float16 and float32 files of
    one model have different names.
    """
    base = read_config(folder, kind).get("base", {})
    return next((name for name in base if name in weights and weights[name] != base[name]), "")


def _digest(folder: Path) -> str:
    with (folder / FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_digest(folder: Path) -> None:
    """Raise LayercliError where the weights are not those that config.json was written with."""
    wanted = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("sha256", "")
    if wanted and wanted != _digest(folder):
        raise LayercliError(
            f"{folder / FILE} is not the file that the config.json beside it belongs to.",
            "Copy the whole folder again, or train the adapter again.",
        )


def chosen(rules: type[Any], options: Any) -> Any:
    """The rules among a plug-in's options, by their names; one that these leave out is as usual."""
    names = [field.name for field in dataclasses.fields(rules) if hasattr(options, field.name)]
    return rules(**{name: getattr(options, name) for name in names})
