"""The embedded feature net: names common things on transparency, and gives features without a download."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.core.errors import LayercliError

FOLDER = Path(__file__).resolve().parent.parent / "weights" / "classifier"
SIDE = 64
GRAY = 0.5
_SEEN = 0.05
_MARGIN = 0.08
_REINSTALL = "Reinstall layercli: pip install --force-reinstall layercli"


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class ObjectNet(nn.Module):
    """A small residual network: (B, 4, 64, 64) of `views` -> features (B, D), names and styles.

    nouns, styles: what its two heads tell apart; channels: of its stages, each half as fine.
    """

    def __init__(
        self,
        nouns: Sequence[str],
        styles: Sequence[str],
        channels: Sequence[int] = (24, 48, 96, 120),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.nouns, self.styles = tuple(nouns), tuple(styles)
        self.channels = tuple(channels)
        stages: list[nn.Module] = []
        for here, below in pairwise((4, *channels)):
            stages += [
                nn.Conv2d(here, below, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(below),
                nn.ReLU(),
                _Block(below),
            ]
        self.body = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.noun_head = nn.Linear(channels[-1], len(self.nouns))
        self.style_head = nn.Linear(channels[-1], len(self.styles))

    @property
    def width(self) -> int:
        """The number of features."""
        return self.channels[-1]

    def features(self, views: Tensor) -> Tensor:
        """(B, 4, 64, 64) in [-1, 1] -> (B, D), not negative: the mean of the last stage over the picture."""
        pooled: Tensor = self.body(views).mean(dim=(2, 3))
        return pooled

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4, 64, 64) -> logits of nouns (B, N) and of styles (B, S)."""
        pooled = self.dropout(self.features(views))
        return self.noun_head(pooled), self.style_head(pooled)

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write model.safetensors in float16 and config.json; about: what else the config shall say."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: value.half() if value.is_floating_point() else value
            for name, value in self.state_dict().items()
        }
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")
        (folder / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
        config = {"nouns": self.nouns, "styles": self.styles, "channels": self.channels, **about}
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_object_net(folder: Path = FOLDER) -> tuple[ObjectNet, dict[str, Any]]:
    """The net of a folder, in float32, ready to look, and its config.

    Raises LayercliError for files that are missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        net = ObjectNet(config["nouns"], config["styles"], config["channels"])
        net.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LayercliError(f"The feature net in {folder} cannot be read: {reason}.", _REINSTALL) from error
    return net.float().eval(), config


@cache
def embedded_net() -> ObjectNet:
    """The net that ships with layercli, read once."""
    return load_object_net()[0]


def object_view(rgba: np.ndarray, side: int = SIDE) -> np.ndarray:
    """What is seen of a picture, cut out and centred in a square with a small margin.

    rgba: (H, W, 4) straight alpha in [0, 1] -> (4, side, side) premultiplied; an empty one stays empty.
    """
    rows, columns = np.nonzero(rgba[..., 3] > _SEEN)
    if rows.size == 0:
        return np.zeros((4, side, side), np.float32)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    cut = rgba[top:bottom, left:right]
    longest = max(cut.shape[:2])
    whole = longest + 2 * round(longest * _MARGIN)
    square = np.zeros((whole, whole, 4), np.float32)
    y, x = (whole - cut.shape[0]) // 2, (whole - cut.shape[1]) // 2
    square[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return whole_view(square, side)


def whole_view(rgba: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A whole picture squeezed into a square: (H, W, 4) straight alpha -> (4, side, side) premultiplied."""
    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgba, -1, 0), dtype=np.float32))
    planes = torch.cat([planes[:3] * planes[3:], planes[3:]])[None]
    if planes.shape[2:] != (side, side):
        # Antialiased bilinear: a box of the source under every pixel, never a skipped row.
        planes = F.interpolate(planes, size=(side, side), mode="bilinear", antialias=True)
    return planes[0].clamp(0, 1).numpy()


def on_gray(premultiplied: Tensor) -> Tensor:
    """(B, 4, h, w) premultiplied in [0, 1] -> colour over mid-gray and alpha, in [-1, 1]."""
    alpha = premultiplied[:, 3:]
    return torch.cat([premultiplied[:, :3] + GRAY * (1 - alpha), alpha], dim=1) * 2 - 1


def look(
    net: ObjectNet, pictures: Sequence[np.ndarray], *, whole: bool = False, batch: int = 64
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features (D,) and noun probabilities (N,) of each picture (H, W, 4) in [0, 1], in order.

    whole: look at the whole picture (scenes) and not at what is seen of it (objects).
    """
    view = whole_view if whole else object_view
    for first in range(0, len(pictures), batch):
        views = np.stack([view(picture) for picture in pictures[first : first + batch]])
        with torch.inference_mode():
            features = net.features(on_gray(torch.from_numpy(views)))
            chances = net.noun_head(features).softmax(dim=1)
        yield from zip(features.numpy(), chances.numpy(), strict=True)
