"""Adapters: small trained modules on a frozen network, as folders of safetensors and settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def save_adapter(adapter: nn.Module, folder: Path, kind: str, settings: Any, network: Sequence[Any]) -> Path:
    """Write `adapter.safetensors` (float16) and `config.json` whole, or raise LayercliError if too large.

    network: what tells that an adapter fits a network, JSON-able.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().half().cpu().contiguous() for name, value in adapter.state_dict().items()}
    size = sum(value.numel() * 2 for value in tensors.values())
    if size >= LIMIT:
        raise LayercliError(
            f"The adapter has {size / 2**20:.1f} MiB; {LIMIT // 2**20} is the most.", "Try: -O rank=8"
        )
    save_file(tensors, folder / f".{FILE}")
    (folder / f".{FILE}").chmod(0o644)  # safetensors writes for the owner alone
    (folder / f".{FILE}").replace(folder / FILE)
    config = {"kind": kind, "settings": dataclasses.asdict(settings), "network": network}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return folder


def read_settings(folder: Path, kind: str, network: Sequence[Any]) -> Mapping[str, Any]:
    """The settings of an adapter folder.

    Raises LayercliError when it is missing or damaged, of another kind, or made for another network.
    """
    hint = f"Train one: layercli train {kind} --out runs/{kind}, then -O adapter=runs/{kind}/adapter"
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


def fill(adapter: nn.Module, folder: Path) -> None:
    """Load an adapter's tensors, all of them; raises LayercliError for a file that is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = {name: value.float() for name, value in load_file(folder / FILE).items()}
        adapter.load_state_dict(tensors)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayercliError(
            f"The adapter {folder / FILE} cannot be read: {reason}.", "Train or copy it again."
        ) from error


def chosen(rules: type[Any], options: Any) -> Any:
    """The rules among a plug-in's options, which have the same names."""
    return rules(**{field.name: getattr(options, field.name) for field in dataclasses.fields(rules)})


def adapter_folder(asked: str, model: str, kind: str) -> Path:
    """The folder a person named, or the one that ships with a model.

    Raises LayercliError that says how to train one where none ships.
    """
    if asked:
        return Path(asked).expanduser()
    shipped = WEIGHTS / model / kind
    if (shipped / "config.json").is_file():
        return shipped
    raise LayercliError(
        f'No {kind} adapter comes with the model "{model}".',
        f"Train one: layercli train {kind} --out runs/{kind}, then -O adapter=runs/{kind}/adapter",
    )


def made_ready(adapter: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """An adapter for sampling: on its device, in the network's number type, frozen."""
    return adapter.to(device=device, dtype=dtype).eval().requires_grad_(False)
