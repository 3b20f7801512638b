"""LayerDiffuse's transparency decoder and encoder: the networks, named as the published files name them.

Zhang and Agrawala 2024 (arXiv 2402.17113), section 3.1 and appendix B. Blocks are those of diffusers' UNet2D
without a time: ResNets, self-attention below 1/8 of the side, one halving between two levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.models.weight_files import fill, read_tensors

GROUPS = 4
HEAD = 8
LAYERS = 2
"""ResNets of a level on the way down; one more on the way up."""

WIDTHS = (32, 32, 64, 128, 256, 512, 512)
ENCODER_WIDTHS = (32, 64, 128, 256)
DECODER, ENCODER = "transparency decoder", "transparency encoder"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """widths: channels of each level, the finest first; attentive: the first level with self-attention;
    latent: how often a picture's side is halved in the latents, which enter that level's input.
    """

    widths: tuple[int, ...] = WIDTHS
    attentive: int = 4
    latent: int = 3

    @property
    def multiple(self) -> int:
        """What the sides of pictures must be multiples of."""
        return int(2 ** (len(self.widths) - 1))


class ResNet(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, plus the input, projected where widths differ."""

    def __init__(self, source: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, source)
        self.conv1 = nn.Conv2d(source, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(source, width, 1) if source != width else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        result: Tensor = h + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return result


class SelfAttention(nn.Module):
    """Attention of a picture's positions to each other, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        flat = self.group_norm(x).flatten(2).transpose(1, 2)
        query, key, value = (
            layer(flat).unflatten(-1, (-1, HEAD)).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.to_out[0](mixed).transpose(1, 2).unflatten(2, x.shape[2:])


class Resampling(nn.Module):
    """Halve the sides by a strided convolution, or double them by repetition and a convolution."""

    def __init__(self, width: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(width, width, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)
        return result


class Level(nn.Module):
    """The ResNets of a level, each followed by attention where the level has it, and the way on."""

    def __init__(self, sources: Sequence[int], width: int, *, attentive: bool, goes: str) -> None:
        """sources: channels that each ResNet reads; goes: "down", "up" or "" for a level without a way on."""
        super().__init__()
        self.resnets = nn.ModuleList(ResNet(source, width) for source in sources)
        self.attentions = nn.ModuleList(SelfAttention(width) for _ in sources) if attentive else None
        self.downsamplers = nn.ModuleList([Resampling(width, up=False)]) if goes == "down" else None
        self.upsamplers = nn.ModuleList([Resampling(width, up=True)]) if goes == "up" else None

    def step(self, index: int, x: Tensor) -> Tensor:
        """One ResNet and its attention."""
        result: Tensor = self.resnets[index](x)
        return result if self.attentions is None else self.attentions[index](result)


class Middle(nn.Module):
    """ResNet, attention, ResNet at the lowest level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SelfAttention(width)])
        self.resnets = nn.ModuleList([ResNet(width, width), ResNet(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return result


class TransparencyDecoder(nn.Module):
    """(pictures (B, 3, H, W) in [0, 1], unscaled latents (B, 4, h, w)) -> [alpha, R, G, B] (B, 4, H, W)."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape or Shape()
        widths, last = self.shape.widths, len(self.shape.widths) - 1
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.latent_conv_in = nn.Conv2d(4, widths[self.shape.latent - 1], 1)
        for parameter in self.latent_conv_in.parameters():
            nn.init.zeros_(parameter)
        down, up = [], []
        for level, width in enumerate(widths):
            before = widths[max(0, level - 1)]
            sources = [before, *[width] * (LAYERS - 1)]
            attentive = level >= self.shape.attentive
            down.append(Level(sources, width, attentive=attentive, goes="down" if level < last else ""))
            # On the way up every ResNet also reads what the way down left: of its level, and one of before.
            below = widths[min(level + 1, last)]
            kept = [width] * LAYERS + [before]
            sources = [inner + skip for inner, skip in zip([below, *[width] * LAYERS], kept, strict=True)]
            up.append(Level(sources, width, attentive=attentive, goes="up" if level > 0 else ""))
        self.down_blocks = nn.ModuleList(down)
        self.mid_block = Middle(widths[-1])
        self.up_blocks = nn.ModuleList(up[::-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[0])
        self.conv_out = nn.Conv2d(widths[0], 4, 3, padding=1)

    def forward(self, pictures: Tensor, latents: Tensor) -> Tensor:
        x = self.conv_in(pictures)
        kept = [x]
        for number, level in enumerate(self.down_blocks):
            if number == self.shape.latent:
                x = x + self.latent_conv_in(latents)
            for index in range(LAYERS):
                x = level.step(index, x)  # type: ignore[operator]
                kept.append(x)
            for way in level.downsamplers or ():  # type: ignore[union-attr]
                x = way(x)
                kept.append(x)
        x = self.mid_block(x)
        for level in self.up_blocks:
            for index in range(LAYERS + 1):
                x = level.step(index, torch.cat([x, kept.pop()], dim=1))  # type: ignore[operator]
            for way in level.upsamplers or ():  # type: ignore[union-attr]
                x = way(x)
        result: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return result


class TransparencyEncoder(nn.Module):
    """[alpha, padded R, G, B] (B, 4, H, W) in [0, 1] -> an offset of latents (B, 4, h, w); zero at first."""

    def __init__(self, widths: Sequence[int] = ENCODER_WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        source = 4
        for level, width in enumerate(widths):
            layers += [nn.Conv2d(source, width, 3, stride=2 if level else 1, padding=1), nn.SiLU()]
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.SiLU()]
            source = width
        layers.append(nn.Conv2d(source, 4, 3, padding=1))
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)
        self.blocks = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.blocks(x)
        return result


def load_decoder(path: Path, latent: int = 3) -> TransparencyDecoder:
    """Read a file as it is published; the widths are the file's own. latent: see `Shape`.

    Raises LayercliError that names the key which is missing, one too many or of another shape.
    """
    tensors = read_tensors(path)
    widths = _widths(tensors, "down_blocks.{}.resnets.1.conv2.weight") or WIDTHS
    attentive = next(
        (i for i in range(len(widths)) if f"down_blocks.{i}.attentions.0.to_q.weight" in tensors), 4
    )
    with torch.device("meta"):
        decoder = TransparencyDecoder(
            Shape(widths=widths, attentive=attentive, latent=min(latent, len(widths) - 1))
        )
    fill(decoder, tensors, path, DECODER)
    return decoder


def load_encoder(path: Path) -> TransparencyEncoder:
    """Read a file as it is published; raises LayercliError as `load_decoder` does."""
    tensors = read_tensors(path)
    with torch.device("meta"):
        encoder = TransparencyEncoder(_widths(tensors, "blocks.{}.weight", step=4)[:-1] or ENCODER_WIDTHS)
    fill(encoder, tensors, path, ENCODER)
    return encoder


def _widths(tensors: Mapping[str, Tensor], key: str, step: int = 1) -> tuple[int, ...]:
    """How many channels come out of each of a row of layers, as long as there are some."""
    widths: list[int] = []
    while (name := key.format(step * len(widths))) in tensors:
        widths.append(int(tensors[name].shape[0]))
    return tuple(widths)
