"""Models larger than a device's memory: only the network, or the layer, at work lies on the device.

"model" moves whole networks and takes all others off; "sequential" moves every layer for its own work, which
needs least and is slowest. The numbers that are computed are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from accelerate import cpu_offload
from accelerate.hooks import ModelHook, add_hook_to_module
from accelerate.utils import send_to_device
from torch import nn

from layercli.core.errors import LayercliError
from layercli.models.embedded import EmbeddedModel
from layercli.models.family import Model


def offload(model: Model, how: str, device: torch.device) -> Model:
    """Let a model that lies in main memory compute on a device -> the same model.

    Raises LayercliError for the embedded model, which is too small to gain from it.
    """
    if how == "none":
        return model
    networks = list(networks_of(model))
    if isinstance(model, EmbeddedModel):
        raise LayercliError(
            f'"{model.name}" is small: there is nothing to gain from --offload {how}.', "Try: --offload none"
        )
    for network in networks:
        if how == "sequential":
            cpu_offload(network, device, offload_buffers=True)
        else:
            add_hook_to_module(network, _Alone(network, networks, device))
    model.device = device
    return model


def networks_of(thing: Any) -> Iterator[nn.Module]:
    """Every network that a model holds, or its codec, each once."""
    seen: set[int] = set()
    for value in vars(thing).values():
        found = [value] if isinstance(value, nn.Module) else []
        if not found and type(value).__module__.endswith((".codecs", ".transparency")):
            found = list(networks_of(value))
        for network in found:
            if id(network) not in seen:
                seen.add(id(network))
                yield network


class _Alone(ModelHook):
    """Before a network works, it comes to the device and all others of its model leave it."""

    def __init__(self, network: nn.Module, networks: list[nn.Module], device: torch.device) -> None:
        self.network, self.device = network, device
        self.others = [other for other in networks if other is not network]

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Move networks, and what the network is given; accelerate's hook calls it."""
        for other in self.others:
            _move(other, torch.device("cpu"))
        _move(self.network, self.device)
        return send_to_device(args, self.device), send_to_device(kwargs, self.device)


def _move(network: nn.Module, device: torch.device) -> None:
    if next(network.parameters()).device.type != device.type:
        nn.Module.to(network, device=device)
