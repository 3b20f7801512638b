"""Deep features of a UNet carried on from step to step (DeepCache, Ma et al. 2024, arXiv 2312.00858).

What lies deep in the network changes slowly and evenly once a picture's layout stands. In a step that reuses
it, only the layers next to the input and the output are computed; the rest gives its last answer, moved on
as the two last ones differ (first order of TaylorSeer, Liu et al. 2025, arXiv 2503.06923): less time, another
picture by a little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError

FRESH = 2
"""Layers of the last up block that every step computes, with what they need of the first down block."""

SETTLED = 650
"""The time, of 1000, from which on a step may reuse: before it layouts are made, and nothing is even.

On the embedded model, in 20 steps, one reusing step at 899 leaves 37 dB, at 799 48, at 649 64, at 499 72 and
after that about 80.
"""

REACH = 100
"""Over how many times, of 1000, features are carried by fast=2; by fast=3 over twice as many, and so on."""

TREND = 0.7
"""How much of the last change is carried on: 4 dB nearer than all of it, 5 dB than a curve through three."""


class _Kept:
    """What the deep parts of a network gave, by the number of the call within a step."""

    def __init__(self, reach: float) -> None:
        self.reach = reach
        self._call, self._time = 0, float("inf")
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._times: dict[int, list[float]] = {}
        self._given: dict[tuple[int, nn.Module], list[Any]] = {}
        self._reusing = False

    def announce(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The network's hook before a call: find out which call of a step comes, and whether it reuses.

        A time above the last one begins another walk, which reuses nothing of the one before.
        """
        x = args[0] if args else kwargs["sample"]
        timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        time = float(timestep.flatten()[0]) if hasattr(timestep, "flatten") else float(timestep)
        if time > self._time:
            for known in (self._shapes, self._times, self._given):
                known.clear()
        self._call = self._call + 1 if time == self._time and self._shapes else 0
        self._time = time
        shape, call = tuple(x.shape), self._call
        if self._shapes.get(call) != shape:
            self._shapes[call], self._times[call] = shape, []
        times = self._times[call]
        self._reusing = len(times) == 2 and time < SETTLED and times[1] - time <= self.reach
        if not self._reusing:
            self._times[call] = [*times[-1:], time]

    def wrap(self, module: nn.Module) -> Any:
        """The forward of a deep part: its own, or its last answer moved on."""
        inner = module.forward  # another tool's own, where it moves weights between devices

        def forward(*args: Any, **kwargs: Any) -> Any:
            given = self._given.setdefault((self._call, module), [])
            if not self._reusing:
                answer = inner(*args, **kwargs)
                given[:] = [*given[-1:], answer]
                return answer
            before, last = self._times[self._call]
            return _continued(given[0], given[1], 1 + TREND * (self._time - last) / (last - before))

        return forward


def _continued(before: Any, last: Any, share: float) -> Any:
    """Two answers of a part, tensors or tuples of them, on a line: the first at 0, the second at 1."""
    if isinstance(last, Tensor):
        return torch.lerp(before, last, share)
    if isinstance(last, tuple | list):
        return type(last)(_continued(*pair, share) for pair in zip(before, last, strict=True))
    return last


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
def deep_features_reused(unets: list[Any], fast: int) -> Iterator[None]:
    """While the body runs, compute all of these networks in the first steps, and in few after.

    fast: 1 leaves the networks as they are; above, deep features are carried over (fast - 1) REACH times.
    First steps are those before SETTLED, and two at least. A step is told by its time; calls within a step
    (two parts of a picture, two kinds of guidance) are kept apart. The networks are themselves again
    afterwards.
    """
    if fast < 1:
        raise LayercliError(f"fast={fast} is not 1 or more.", "Try: -O fast=2")
    hooks: list[Any] = []
    wrapped: list[tuple[nn.Module, Any]] = []
    try:
        for unet in unets if fast > 1 else []:
            kept = _Kept((fast - 1) * REACH)
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
