"""Which frames a batch holds when the layers of a picture are denoised together by a trained adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layercli.models.family import Kind


@dataclass(frozen=True, kw_only=True)
class LayerPrompts:
    """The texts of one picture: foregrounds back to front, what lies behind them, and the whole.

    style: follows every text when it is encoded, but is no layer's own word.
    """

    background: str
    foregrounds: tuple[str, ...]
    whole: str
    style: str = ""

    @classmethod
    def empty(cls, foregrounds: int, text: str = "") -> LayerPrompts:
        """One text for every frame: the negative half of guidance, or a dropped caption."""
        return cls(background=text, foregrounds=(text,) * foregrounds, whole=text)


@dataclass(frozen=True, kw_only=True)
class Frames:
    """A batch of P pictures, picture by picture: background, k foregrounds back to front, the whole picture.

    background, whole: whether these frames are there at all.
    """

    pictures: int
    foregrounds: int
    background: bool = True
    whole: bool = True

    @property
    def each(self) -> int:
        """Frames of a picture."""
        return self.background + self.foregrounds + self.whole

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of all frames of the batch."""
        one: list[Kind] = ["background"] * self.background
        one += ["foreground"] * self.foregrounds
        one += ["global"] * self.whole
        return tuple(one) * self.pictures

    @property
    def front(self) -> slice:
        """Where a picture's foregrounds are among its frames."""
        return slice(int(self.background), int(self.background) + self.foregrounds)

    def apart(self, batch: Tensor) -> Tensor:
        """(P·F, …) -> (P, F, …)."""
        return batch.unflatten(0, (self.pictures, self.each))

    def foreground_rows(self, device: torch.device) -> Tensor:
        """Which rows of the batch are foregrounds: (P·k,) long."""
        return torch.tensor(
            [row for row, kind in enumerate(self.kinds) if kind == "foreground"], device=device
        )

    def texts(self, prompts: Sequence[LayerPrompts], *, styled: bool = True) -> list[str]:
        """One text a frame, in the order of the batch."""
        listed: list[str] = []
        for one in prompts:
            texts = [one.background] * self.background
            texts += one.foregrounds[: self.foregrounds]
            texts += [one.whole] * self.whole
            listed += [f"{text}, {one.style}" if one.style and styled else text for text in texts]
        return listed


class InHand:
    """The frames of the network's coming call, as an injection's `begin` is told them."""

    _frames: Frames | None = None

    def frames(self) -> Frames:
        """The frames of the call in hand; raises RuntimeError before the first `begin`."""
        if self._frames is None:
            raise RuntimeError("begin() must be called before the network")
        return self._frames
