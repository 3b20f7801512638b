"""The embedded RGBA autoencoder: 256 px pictures with alpha to 16x16 latents and back, convolutions only."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.models.folder_network import FolderNetwork

GRAY = 0.5


def flatten_on_gray(rgba_01: Tensor) -> Tensor:
    """Straight-alpha (B, 4, H, W) in [0, 1] -> [colour over mid-gray, alpha] (B, 4, H, W) in [-1, 1].

    DreamLayer and LayerDiffuse give colour to the network this way: what lies under alpha 0 is always gray.
    """
    colour, alpha = rgba_01[:, :3], rgba_01[:, 3:]
    return torch.cat([colour * alpha + GRAY * (1 - alpha), alpha], dim=1) * 2 - 1


def unflatten_from_gray(flat_pm1: Tensor) -> Tensor:
    """Invert `flatten_on_gray`: (B, 4, H, W) in [-1, 1] -> straight alpha (B, 4, H, W) in [0, 1].

    Where alpha < 1/255 colour is unobservable and the flattened colour is kept.
    """
    colour, alpha = (flat_pm1 * 0.5 + 0.5).clamp(0, 1).split([3, 1], dim=1)
    straight = (colour - GRAY * (1 - alpha)) / alpha.clamp_min(1 / 255)
    return torch.cat([torch.where(alpha < 1 / 255, colour, straight).clamp(0, 1), alpha], dim=1)


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, plus the input; the last convolution starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class RGBAAutoencoder(FolderNetwork):
    """Straight-alpha RGBA (B, 4, H, W) in [0, 1] <-> latents (B, C, H/16, W/16) of about unit variance.

    `channels` run from the finest grid (1/4 of the side, reached by pixel unshuffling) to the latent grid;
    one halving between two entries. `scale` and `shift` (per latent channel) are measured after training.
    """

    def __init__(
        self,
        latent_channels: int = 12,
        channels: tuple[int, ...] = (64, 96, 160),
        encoder_blocks: int = 1,
        decoder_blocks: int = 2,
        patch: int = 4,
    ) -> None:
        super().__init__(
            latent_channels=latent_channels,
            channels=list(channels),
            encoder_blocks=encoder_blocks,
            decoder_blocks=decoder_blocks,
            patch=patch,
        )
        widths = list(channels)
        self.shift: Tensor
        self.scale: Tensor
        encoder: list[nn.Module] = [
            nn.PixelUnshuffle(patch),
            nn.Conv2d(4 * patch * patch, widths[0], 3, padding=1),
        ]
        for here, below in pairwise(widths):
            encoder += [ResidualBlock(here) for _ in range(encoder_blocks)]
            encoder.append(nn.Conv2d(here, below, 3, stride=2, padding=1))
        encoder += [ResidualBlock(widths[-1]), nn.GroupNorm(8, widths[-1]), nn.SiLU()]
        encoder.append(nn.Conv2d(widths[-1], latent_channels, 3, padding=1))
        decoder: list[nn.Module] = [nn.Conv2d(latent_channels, widths[-1], 3, padding=1)]
        for here, above in zip(widths[::-1], widths[-2::-1], strict=False):
            decoder += [ResidualBlock(here) for _ in range(decoder_blocks)]
            decoder += [nn.Conv2d(here, above * 4, 1), nn.PixelShuffle(2)]
        decoder += [ResidualBlock(widths[0]) for _ in range(decoder_blocks)]
        decoder += [nn.GroupNorm(8, widths[0]), nn.SiLU()]
        decoder += [nn.Conv2d(widths[0], 4 * patch * patch, 3, padding=1), nn.PixelShuffle(patch)]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)
        self.register_buffer("shift", torch.zeros(1, latent_channels, 1, 1))
        self.register_buffer("scale", torch.ones(1, latent_channels, 1, 1))

    @property
    def downscale(self) -> int:
        """Pixels along a side that share one latent position."""
        return int(self.config["patch"]) * 2 ** (len(self.config["channels"]) - 1)

    def encode(self, rgba_01: Tensor) -> Tensor:
        """Straight-alpha pictures -> scaled latents."""
        bounded = torch.tanh(self.encoder(flatten_on_gray(rgba_01)))
        return (bounded - self.shift) / self.scale

    def decode_flat(self, latents: Tensor) -> Tensor:
        """Scaled latents -> [colour over mid-gray, alpha] in [-1, 1], not clipped: what the loss compares."""
        return self.decoder(latents * self.scale + self.shift)

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents -> straight-alpha pictures (B, 4, H, W) in [0, 1]."""
        return unflatten_from_gray(self.decode_flat(latents).float())


def load_autoencoder(folder: str | Path) -> RGBAAutoencoder:
    """Read a folder, in float32, ready to encode and decode."""
    return RGBAAutoencoder.from_folder(folder)
