"""Keys and values of texts, computed in the first step of a run and kept for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Made = TypeVar("Made")

_TEXTS = 4
"""Texts that a maker remembers: what one step asks for at most."""


class Memory:
    """What was made of texts, by who made it and the identity of the text.

    The text is held with it, so that no other one takes its place in memory.
    """

    def __init__(self) -> None:
        self._made: dict[Any, dict[int, tuple[Tensor, Any]]] = {}

    def of(self, maker: Any, text: Tensor, make: Callable[[], Made]) -> Made:
        """What this maker made of the text before, or makes now; always anew where gradients flow."""
        if torch.is_grad_enabled():
            return make()
        known = self._made.setdefault(maker, {})
        if id(text) not in known:
            if len(known) == _TEXTS:
                known.pop(next(iter(known)))
            known[id(text)] = (text, make())
        answer: Made = known[id(text)][1]
        return answer


class TextMemory(Memory):
    """The same for a network, whose own projections remember too."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self._readers = _readers(unet)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While the body runs, a projection that is given the very same text again answers what it answered.

        Bit for bit what it would compute. The network is itself again afterwards.
        """
        readers = [] if torch.is_grad_enabled() else self._readers
        before = [vars(reader).get("forward") for reader in readers]
        try:
            for reader in readers:
                vars(reader)["forward"] = self._remembering(reader)
            yield
        finally:
            for reader, own in zip(readers, before, strict=True):
                if own is None:
                    vars(reader).pop("forward", None)
                else:
                    vars(reader)["forward"] = own

    def _remembering(self, reader: nn.Module) -> Callable[[Tensor], Tensor]:
        inner = reader.forward  # another tool's own, where it moves weights between devices
        return lambda text: self.of(reader, text, lambda: inner(text))


def _readers(unet: nn.Module) -> list[nn.Module]:
    """The projections of a network that read texts."""
    layers = [module for module in unet.modules() if getattr(module, "is_cross_attention", False)]
    return [getattr(layer, name) for layer in layers for name in ("to_k", "to_v")]
