"""Fillers keep what is no hole and make up the rest; LaMa's way through its archive is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layercli.core import registry
from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.recomposition import recomposition
from layercli.decompose.matte import FILLERS, Options, decompose
from layercli.vision.fillers import lama, smooth
from tests.decompose.made import ball, over, wall

RED = (0.8, 0.15, 0.1)


class Fourier(nn.Module):
    """Half of LaMa's block in small: a convolution of the picture beside one of its spectrum (FFC)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, padding=1)
        self.spectral = nn.Conv2d(12, 12, 1)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x = torch.relu(self.first(torch.cat([image * (1 - mask), mask], dim=1)))
        spectrum = torch.fft.rfft2(x, norm="ortho")
        parts = torch.relu(self.spectral(torch.cat([spectrum.real, spectrum.imag], dim=1)))
        real, imag = parts.chunk(2, dim=1)
        x = x + torch.fft.irfft2(torch.complex(real, imag), s=x.shape[-2:], norm="ortho")
        return torch.sigmoid(self.last(x))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A net as LaMa's is published: a TorchScript file, here of random weights; and the net itself."""
    torch.manual_seed(0)
    net = Fourier().eval()
    path = tmp_path_factory.mktemp("lama") / "small.pt"
    torch.jit.script(net).save(str(path))
    return str(path), net


def test_lama_makes_the_hole_and_nothing_else(archive):
    path, net = archive
    rgb, hole = wall(45, 61), ball(45, 61) > 0
    filled = lama.fill(rgb, hole, seed=0, sources=None, how=lama.Options(weights=path))
    np.testing.assert_array_equal(filled[~hole], rgb[~hole])
    padded = np.pad(rgb, ((0, 3), (0, 3), (0, 0)), mode="edge")
    marks = np.pad(hole.astype(np.float32), ((0, 3), (0, 3)), mode="edge")
    with torch.inference_mode():
        direct = net(
            torch.from_numpy(np.moveaxis(padded, -1, 0).copy())[None], torch.from_numpy(marks)[None, None]
        )
    wanted = np.moveaxis(direct[0].numpy(), 0, -1)[:45, :61]
    np.testing.assert_allclose(filled[hole], wanted[hole], atol=1e-5)


def test_what_is_no_source_is_hidden_from_lama(archive):
    path, _ = archive
    rgb, hole = wall(48, 64), ball(48, 64) > 0
    sources = np.ones_like(hole)
    sources[:, :12] = False
    other = rgb.copy()
    other[:, :12] = 0.9
    how = lama.Options(weights=path)
    one, two = (lama.fill(p, hole, seed=0, sources=sources, how=how)[hole] for p in (rgb, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", [*registry.plugins(FILLERS)])
def test_a_photo_comes_apart_with_any_filler(name, archive):
    photo = over(wall(), ball(), RED)
    options = Options(net="classical", fill=name, lama=archive[0])
    stack = decompose(DecomposeRequest(photo="made.png"), photo, options)
    assert recomposition(photo, stack).most == 0


def test_a_smooth_wall_is_completed_smoothly():
    rows, columns = np.mgrid[0:1:40j, 0:1:50j].astype(np.float32)
    rgb = np.stack([rows, columns, 0.5 * rows], axis=-1)
    hole = ball(40, 50) > 0
    damaged = np.where(hole[..., None], np.float32(1), rgb)
    filled = smooth.fill(damaged, hole, seed=0, sources=None, how=smooth.Options())
    assert np.abs(filled - rgb)[hole].max() < 0.02


def test_what_is_no_filler_or_no_net_is_told(tmp_path, monkeypatch):
    with pytest.raises(LayercliError, match='There is no filler "lamb"') as caught:
        Options(fill="lamb")
    assert "Did you mean lama?" in caught.value.hint
    for variable in ("XDG_CACHE_HOME", "U2NET_HOME", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    rgb, hole = wall(), ball() > 0
    with pytest.raises(LayercliError, match=r"big-lama\.pt, are not on this machine") as caught:
        lama.fill(rgb, hole, seed=0, sources=None, how=lama.Options())
    assert "-O lama=FILE" in caught.value.hint
    (tmp_path / "none.pt").write_bytes(b"nothing")
    with pytest.raises(LayercliError, match="cannot be read as a TorchScript net"):
        lama.fill(rgb, hole, seed=0, sources=None, how=lama.Options(weights=str(tmp_path / "none.pt")))
