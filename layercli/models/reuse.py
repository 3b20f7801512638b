"""Deep features of a UNet kept from one step to the next (DeepCache, Ma et al. 2024, arXiv 2312.00858).

What lies deep in the network changes slowly from step to step. In a step that reuses it, only the layers
next to the input and the output are computed, and the rest gives what it gave last: less time, another
picture by a little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from layercli.core.errors import LayercliError

FRESH = 2
"""Layers of the last up block that every step computes, with what they need of the first down block."""


class _Kept:
    """What the deep parts of a network gave, by the number of the call within a step."""

    def __init__(self, every: int) -> None:
        self.every = every
        self._step, self._call, self._time = -1, 0, float("inf")
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._given: dict[tuple[int, nn.Module], Any] = {}
        self._reusing = False

    def announce(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The network's hook before a call: find out which step and which call of it comes.

        A time above the last one begins another walk, which reuses nothing of the one before.
        """
        x = args[0] if args else kwargs["sample"]
        timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        time = float(timestep.flatten()[0]) if hasattr(timestep, "flatten") else float(timestep)
        if time > self._time:
            self._step = -1
            self._shapes.clear()
            self._given.clear()
        if time != self._time or self._step < 0:
            self._step, self._call = self._step + 1, 0
        else:
            self._call += 1
        self._time = time
        shape = tuple(x.shape)
        self._reusing = (
            self._step > 0 and (self._step - 1) % self.every != 0 and self._shapes.get(self._call) == shape
        )
        self._shapes[self._call] = shape

    def wrap(self, module: nn.Module) -> Any:
        """The forward of a deep part: its own, or what it gave last."""
        inner = module.forward  # another tool's own, where it moves weights between devices

        def forward(*args: Any, **kwargs: Any) -> Any:
            key = (self._call, module)
            if not self._reusing:
                self._given[key] = inner(*args, **kwargs)
            return self._given[key]

        return forward


def deep_parts(unet: Any, fresh: int = FRESH) -> list[nn.Module]:
    """The modules of a UNet2DConditionModel that a reusing step leaves out.

    fresh: layers of the last up block that are computed all the same. The n-th last of them reads what the
    n-th layer of the network gave: the input convolution, then the layers of the first down block.
    """
    first, last = unet.down_blocks[0], unet.up_blocks[-1]
    parts: list[nn.Module] = [*unet.down_blocks[1:], *unet.up_blocks[:-1]]
    if unet.mid_block is not None:
        parts.append(unet.mid_block)
    parts += list(first.downsamplers or [])
    for layers in ("resnets", "attentions"):
        parts += list(getattr(first, layers, []))[fresh - 1 :]
        parts += list(getattr(last, layers, []))[:-fresh]
    return parts


@contextmanager
def deep_features_reused(unets: list[Any], every: int) -> Iterator[None]:
    """While the body runs, compute all of these networks in the first step and every n-th after it alone.

    every: 1 leaves the networks as they are. A step is told by its time; calls within a step (two parts of a
    picture, two kinds of guidance) are kept apart. The networks are themselves again afterwards.
    """
    if every < 1:
        raise LayercliError(f"fast={every} is not 1 or more.", "Try: -O fast=2")
    hooks: list[Any] = []
    wrapped: list[tuple[nn.Module, Any]] = []
    try:
        for unet in unets if every > 1 else []:
            kept = _Kept(every)
            hooks.append(unet.register_forward_pre_hook(kept.announce, with_kwargs=True))
            for part in deep_parts(unet):
                wrapped.append((part, vars(part).get("forward")))
                part.forward = kept.wrap(part)
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for part, before in wrapped:
            if before is None:
                del part.forward
            else:
                part.forward = before
