"""Latent transparency: alpha out of, and into, the latents of an autoencoder that knows only colours.

LayerDiffuse (Zhang and Agrawala 2024, arXiv 2402.17113), section 3.1: a decoder reads alpha and true colours
from the decoded picture and its latents; an encoder hides them as a small offset of the latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.diffusion.scaling import averaged
from layercli.models.codecs import RGBCodec, finite
from layercli.models.transparent_networks import TransparencyDecoder, TransparencyEncoder

VIEWS = tuple((mirrored, quarters) for mirrored in (False, True) for quarters in range(4))
"""Mirrored or not, then turned by quarters."""


class TransparentCodec:
    """An RGB codec whose foregrounds have alpha.

    encoder: None to encode transparent pictures flattened on gray alone; strength: what its offset is
    multiplied by, in standard deviations of the posterior.
    """

    alpha = True

    def __init__(
        self,
        codec: RGBCodec,
        decoder: TransparencyDecoder,
        encoder: TransparencyEncoder | None = None,
        strength: float = 1.0,
    ) -> None:
        self.codec, self.decoder, self.encoder, self.strength = codec, decoder, encoder, strength
        self.channels, self.downscale = codec.channels, codec.downscale

    @torch.no_grad()
    def encode(self, rgba: Tensor) -> Tensor:
        """Pictures -> latents, float32; those without a transparent pixel as the plain codec has them."""
        clear = (rgba[:, 3:] < 1).flatten(1).any(dim=1)
        if self.encoder is None or not bool(clear.any()):
            return self.codec.encode(rgba)
        seen = torch.cat([rgba[:, 3:], padded_colour(rgba)], dim=1)
        offset: Tensor = self.encoder(seen.to(_number_type(self.encoder))).float() * self.strength
        return self.codec.encode(rgba, offset * clear[:, None, None, None])

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pictures with straight alpha (B, 4, H, W) in [0, 1]."""
        pictures = self.codec.decode(latents)[:, :3]
        seen = [
            estimated(self.decoder, picture[None], unscaled[None])
            for picture, unscaled in zip(pictures, self.codec.unscaled(latents), strict=True)
        ]
        return finite(torch.cat(seen))


@torch.no_grad()
def estimated(decoder: TransparencyDecoder, rgb: Tensor, latents: Tensor) -> Tensor:
    """The median of eight estimates, of a picture turned and mirrored: (B, 4, H, W) straight alpha in [0, 1].

    rgb: (B, 3, H, W) in [0, 1]; latents: (B, 4, h, w), not scaled. Sides are padded to what the network
    halves evenly, edges repeated, and cut back.
    """
    height, width = rgb.shape[2:]
    whole, cells = decoder.shape.multiple, 2**decoder.shape.latent
    down, right = -height % whole, -width % whole
    rgb = F.pad(rgb, (0, right, 0, down), mode="replicate")
    latents = F.pad(latents, (0, right // cells, 0, down // cells), mode="replicate")
    dtype = _number_type(decoder)
    views = []
    for view in VIEWS:
        seen = decoder(_turned(rgb, *view).to(dtype), _turned(latents, *view).to(dtype))
        views.append(_turned_back(seen.float().clamp(0, 1), *view))
    # of eight, the lower of the two in the middle: so it is in the published code
    middle = torch.stack(views).median(dim=0).values[..., :height, :width]
    return torch.cat([middle[:, 1:], middle[:, :1]], dim=1)


def _turned(x: Tensor, mirrored: bool, quarters: int) -> Tensor:
    return torch.rot90(x.flip(3) if mirrored else x, quarters, (2, 3))


def _turned_back(x: Tensor, mirrored: bool, quarters: int) -> Tensor:
    turned = torch.rot90(x, -quarters, (2, 3))
    return turned.flip(3) if mirrored else turned


def padded_colour(rgba: Tensor, step: float = 1.2) -> Tensor:
    """Straight-alpha (B, 4, H, W) -> (B, 3, H, W) whose colours go on where alpha is 0.

    From a pyramid of premultiplied colours, each level `step` times smaller: what is clear at a level takes
    what the level below has there.
    """
    premultiplied = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    levels = [premultiplied]
    while min(levels[-1].shape[2:]) > 1:
        height, width = (max(1, int(side / step)) for side in levels[-1].shape[2:])
        levels.append(averaged(levels[-1], (height, width)))
    sums = levels[-1].sum(dim=(2, 3), keepdim=True)
    colour = sums[:, :3] / sums[:, 3:].clamp_min(1e-8)
    for level in reversed(levels):
        colour = F.interpolate(colour, size=level.shape[2:], mode="bilinear", align_corners=False)
        colour = level[:, :3] + colour * (1 - level[:, 3:])
    return colour.clamp(0, 1)


def _number_type(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
