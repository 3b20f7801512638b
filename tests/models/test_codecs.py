"""Codecs: whose latents are scaled how, and alpha read off without decoding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.models.codecs import RGBACodec, RGBCodec
from tests import tiny


class Averages(nn.Module):
    """An autoencoder whose latents mix averages of premultiplied colour and alpha, linearly."""

    downscale = 8
    dtype = torch.float32

    def __init__(self) -> None:
        super().__init__()
        self.config = {"latent_channels": 4}
        self.mix = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]

    def encode(self, rgba: Tensor) -> Tensor:
        flat = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
        return torch.einsum("bchw,oc->bohw", F.avg_pool2d(flat, 8), self.mix)


def test_alpha_is_read_off_latents_that_hold_it() -> None:
    codec = RGBACodec(Averages())
    rgba = torch.rand(3, 4, 64, 48, generator=torch.Generator().manual_seed(1))
    rgba[:, 3] = (rgba[:, 3] > 0.5).float()
    found = codec.coarse_alpha(codec.encode(rgba))
    torch.testing.assert_close(found, F.avg_pool2d(rgba[:, 3], 8), atol=0.02, rtol=0)


def test_alpha_read_off_is_the_same_every_time_and_in_range() -> None:
    latents = torch.randn(2, 12, 5, 3, generator=torch.Generator().manual_seed(2))
    found = [RGBACodec(tiny.autoencoder()).coarse_alpha(latents) for _ in range(2)]
    assert torch.equal(*found) and found[0].shape == (2, 5, 3)
    assert found[0].min() >= 0 and found[0].max() <= 1


def test_a_codec_without_alpha_flattens_on_gray() -> None:
    codec = RGBCodec(tiny.vae())
    clear = torch.rand(1, 4, 8, 8)
    clear[:, 3] = 0
    gray = torch.full((1, 4, 8, 8), 0.5)
    gray[:, 3] = 1
    assert torch.equal(codec.encode(clear), codec.encode(gray))
    assert (codec.decode(torch.zeros(1, 4, 4, 4))[:, 3] == 1).all()


def test_numbers_that_overflowed_are_no_picture() -> None:
    """As they do in float16, where a picture would come out black, or with holes."""
    latents = torch.full((1, 4, 4, 4), float("nan"))
    for codec in (RGBCodec(tiny.vae()), RGBACodec(tiny.autoencoder())):
        wide = latents[:, :1].expand(1, codec.channels, 4, 4)
        with pytest.raises(LayercliError, match="overflowed") as caught:
            codec.decode(wide)
        assert "--dtype bfloat16" in caught.value.hint
