"""Both halves of guidance begin alike: what comes before the network first reads a text is computed once.

Classifier-free guidance asks a network about the same latents twice, with another text each time. Where only
texts tell the halves apart, the input convolution, the first ResNet and the first self-attention answer both
halves the same. In SD1.5 these are a twentieth of the network's work, at its finest level.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from layercli.models.hooks import computing_once


@contextmanager
def halves_begin_alike(unet: Any, x: Tensor, t: Tensor, labels: Tensor | None) -> Iterator[None]:
    """While the body runs, a call of the network with x computes once what it would compute twice.

    x: (2B, C, h, w), t: (2B,) and labels: (2B,) or None, as the call gets them; where their halves differ, or
    gradients flow, the network stays as it is. It is itself again afterwards.
    """
    early = [] if torch.is_grad_enabled() else early_parts(unet)
    if early and not all(map(_alike, (x, t, labels))):  # a comparison that on a GPU waits for it
        early = []
    with ExitStack() as stack:
        hooked = bool(early) and bool(early[0]._forward_hooks)  # then halves may differ behind the input
        for part in early:
            edited = None if hooked else computing_once(part)
            stack.enter_context(edited or _replaced(part, functools.partial(_half, sure=not hooked)))
        yield


def early_parts(unet: Any) -> list[Any]:
    """What a UNet2DConditionModel computes before it first reads a text, in the order of work.

    The input convolution, the first ResNet, and the first self-attention where there is one at that level;
    none of them in a network that reads texts, or sizes, beside its time, or that stands in for another.
    """
    config = getattr(unet, "config", None)
    beside = ("addition_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type")
    if config is None or any(getattr(config, name, None) for name in beside):
        return []
    first = unet.down_blocks[0]
    parts = [unet.conv_in, first.resnets[0]]
    transformers = getattr(first, "attentions", None)
    if transformers:
        attention = transformers[0].transformer_blocks[0].attn1
        parts += [] if attention.is_cross_attention else [attention]
    return parts


def _alike(values: Tensor | None) -> bool:
    return values is None or (len(values) % 2 == 0 and torch.equal(*values.chunk(2)))


@contextmanager
def _replaced(module: nn.Module, change: Callable[[Any], Any]) -> Iterator[None]:
    own = vars(module).get("forward")  # another tool's, where it moves weights between devices
    vars(module)["forward"] = change(module.forward)
    try:
        yield
    finally:
        if own is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = own


def _half(forward: Callable[..., Tensor], *, sure: bool) -> Callable[..., Tensor]:
    """A forward that computes the first half of a batch, and answers it twice; if not sure, it looks."""

    def once(x: Tensor, *more: Any, **settings: Any) -> Tensor:
        rows = len(x)
        if not (sure or _alike(x)):
            return forward(x, *more, **settings)

        def first(value: Any) -> Any:
            return value[: rows // 2] if isinstance(value, Tensor) and len(value) == rows else value

        answer = forward(
            first(x), *map(first, more), **{name: first(value) for name, value in settings.items()}
        )
        return torch.cat([answer, answer])

    return once
