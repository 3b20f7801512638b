"""Light tuning of a frozen UNet outside its attention: what else an adapter may change, at low rank.

Not in the papers, which train whole networks. A small base that has drawn single things alone has to learn
that a layer is a thing in its place on the canvas. Attention cannot tell its convolutions; a shift of the
time embedding, by the kind of frame, and parts of low rank beside the convolutions can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from layercli.models.family import KINDS
from layercli.models.frames import Frames


class LowRankConvolution(nn.Module):
    """A convolution of low rank, added to a frozen one; zero until it is trained."""

    def __init__(self, frozen: nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(
            frozen.in_channels,
            rank,
            frozen.kernel_size,  # type: ignore[arg-type]
            stride=frozen.stride,  # type: ignore[arg-type]
            padding=frozen.padding,  # type: ignore[arg-type]
            bias=False,
        )
        self.up = nn.Conv2d(rank, frozen.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.up(self.down(x))
        return result


class Tuning(nn.Module):
    """A shift of the time embedding for each kind of frame, and low-rank parts of all residual blocks.

    rank: of these parts, 1 or more.
    """

    def __init__(self, unet: Any, rank: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(len(KINDS), int(unet.time_embedding.linear_2.out_features)))
        self.places = [
            name
            for name, module in unet.named_modules()
            if ".resnets." in name and isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        ]
        self.parts = nn.ModuleList(LowRankConvolution(unet.get_submodule(name), rank) for name in self.places)

    @contextmanager
    def injected(self, unet: Any, frames: Callable[[], Frames]) -> Iterator[None]:
        """Put it into the network while the body runs; frames: what the call in hand holds."""

        def shifted(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            numbers = torch.tensor([KINDS.index(kind) for kind in frames().kinds], device=output.device)
            return output + self.shift[numbers].to(output.dtype)

        with ExitStack() as stack:
            stack.callback(unet.time_embedding.register_forward_hook(shifted).remove)
            for name, part in zip(self.places, self.parts, strict=True):
                stack.callback(unet.get_submodule(name).register_forward_hook(_beside(part)).remove)
            yield


def _beside(part: nn.Module) -> Any:
    def hook(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        added: Tensor = part(given[0])
        return output + added

    return hook
