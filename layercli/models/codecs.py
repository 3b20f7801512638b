"""Codecs: pictures to scaled latents and back; the only place where latents are scaled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size

GRAY = 0.5
"""What lies under transparency when a codec knows no alpha: mid-gray, as LayerDiffuse has it."""


SLICED = 1_500_000
"""Pixels of all pictures together, from which an RGB autoencoder takes them one by one: the same pixels."""
TILED = 2_000_000
"""Pixels of one picture, from which it is taken in tiles that are blended: nearly the same pixels."""


class Codec(Protocol):
    """Straight-alpha pictures (B, 4, H, W) in [0, 1] to latents (B, C, h, w) of unit variance, and back."""

    alpha: bool
    channels: int
    downscale: int

    def encode(self, rgba: Tensor) -> Tensor:
        """Pictures -> latents, float32."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pictures; alpha is 1 where the codec knows none."""
        ...


class RGBACodec:
    """The embedded autoencoder, which sees alpha and scales its latents by statistics of its own."""

    _probe: Tensor | None = None

    alpha = True

    def __init__(self, autoencoder: Any) -> None:
        self.autoencoder = autoencoder
        self.channels = int(autoencoder.config["latent_channels"])
        self.downscale = int(autoencoder.downscale)

    @torch.no_grad()
    def encode(self, rgba: Tensor) -> Tensor:
        """Pictures -> latents, float32."""
        return self.autoencoder.encode(rgba.to(self.autoencoder.dtype)).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pictures with their own alpha."""
        return finite(self.autoencoder.decode(latents.to(self.autoencoder.dtype)).float())

    @torch.no_grad()
    def coarse_alpha(self, latents: Tensor) -> Tensor:
        """Alpha on the latents' own grid without decoding: (B, C, h, w) -> (B, h, w) in [0, 1].

        Alpha, averaged over a position, is all but linear in the latents (R² .95 on held-out objects), so a
        least-squares fit on random shapes, made once, reads it off.
        """
        if self._probe is None:
            shapes = _random_shapes(8, 16 * self.downscale, latents.device)
            flat = self.encode(shapes).permute(0, 2, 3, 1).flatten(0, 2).cpu().double()
            wanted = F.avg_pool2d(shapes[:, 3:], self.downscale).flatten().cpu().double()
            known = torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)
            gram = known.T @ known + 1e-2 * torch.eye(known.shape[1])
            self._probe = torch.linalg.solve(gram, known.T @ wanted).float().to(latents.device)
        weights, offset = self._probe[:-1], self._probe[-1]
        return (torch.einsum("bchw,c->bhw", latents.float(), weights) + offset).clamp(0, 1)


def _random_shapes(count: int, side: int, device: torch.device) -> Tensor:
    """Blobs in smooth random colours, the same every time: (count, 4, side, side)."""
    generator = torch.Generator().manual_seed(0)
    outline = torch.randn(count, 1, 6, 6, generator=generator)
    colours = torch.rand(count, 3, 4, 4, generator=generator)
    colours[::2] = colours[::2].mean(dim=(2, 3), keepdim=True)  # every other one in one colour
    alpha = (F.interpolate(outline, side, mode="bicubic") > 0).float()
    rgb = F.interpolate(colours, side, mode="bicubic").clamp(0, 1)
    return torch.cat([rgb, alpha], dim=1).to(device)


class RGBCodec:
    """A diffusers AutoencoderKL: opaque pictures; transparency is flattened on mid-gray first."""

    alpha = False

    def __init__(self, vae: Any) -> None:
        self.vae = vae
        config = vae.config
        self.scale = float(config.scaling_factor)
        self.shift = float(getattr(config, "shift_factor", None) or 0.0)
        self.channels = int(config.latent_channels)
        self.downscale = 2 ** (len(config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, rgba: Tensor, offset: Tensor | None = None) -> Tensor:
        """Pictures -> latents: the mean of the posterior, float32.

        offset: (B, C, h, w), by how many standard deviations to leave the mean.
        """
        alpha = rgba[:, 3:]
        rgb_pm1 = (rgba[:, :3] * alpha + GRAY * (1 - alpha)) * 2 - 1
        self._be_frugal(rgb_pm1.shape)
        posterior = self.vae.encode(rgb_pm1.to(self.vae.dtype)).latent_dist
        latents = posterior.mode().float()
        if offset is not None:
            latents = latents + posterior.std.float() * offset.to(latents)
        return (latents - self.shift) * self.scale

    def unscaled(self, latents: Tensor) -> Tensor:
        """Latents as the autoencoder itself has them."""
        return latents / self.scale + self.shift

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> opaque pictures."""
        unscaled = self.unscaled(latents)
        count, _, height, width = latents.shape
        self._be_frugal((count, 3, height * self.downscale, width * self.downscale))
        rgb_pm1 = finite(self.vae.decode(unscaled.to(self.vae.dtype), return_dict=False)[0].float())
        rgb = (rgb_pm1 / 2 + 0.5).clamp(0, 1)
        return torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=1)

    def _be_frugal(self, shape: Sequence[int]) -> None:
        """Take large batches picture by picture, and large pictures in overlapping tiles, to save memory."""
        count, _, height, width = shape
        self.vae.use_slicing = count * height * width > SLICED
        self.vae.use_tiling = height * width > TILED


def finite(pictures: Tensor) -> Tensor:
    """The same pictures; raises LayercliError where numbers overflowed on the way, as float16 does."""
    if not bool(pictures.isfinite().all()):
        raise LayercliError(
            "The model's numbers overflowed, and no picture came of them.",
            "Try: --dtype bfloat16, or float32. If that does not help: layercli models verify --all",
        )
    return pictures


def latent_shape(codec: Codec, size: Size, multiple: int) -> tuple[int, int, int]:
    """(C, h, w) of the latents of a picture; raises LayercliError when a side is no multiple."""
    if size.width % multiple or size.height % multiple:
        raise LayercliError(
            f"The model cannot make {size}: its sides must be multiples of {multiple}.",
            f"Try: --size {_next(size.width, multiple)}x{_next(size.height, multiple)}",
        )
    return codec.channels, size.height // codec.downscale, size.width // codec.downscale


def _next(side: int, multiple: int) -> int:
    return max(multiple, -(-side // multiple) * multiple)
