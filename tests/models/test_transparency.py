"""Latent transparency: the networks are the published ones, the estimate is a median, files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from safetensors.torch import save_file

from layercli.core.errors import LayercliError
from layercli.models.codecs import RGBCodec
from layercli.models.transparency import TransparentCodec, estimated, padded_colour
from layercli.models.transparent_networks import (
    Shape,
    TransparencyDecoder,
    TransparencyEncoder,
    load_decoder,
    load_encoder,
)
from tests import tiny

SHAPE = Shape(widths=(8, 8, 16, 16), attentive=2, latent=1)


def random_decoder(shape: Shape = SHAPE) -> TransparencyDecoder:
    torch.manual_seed(3)
    decoder = TransparencyDecoder(shape)
    torch.nn.init.normal_(decoder.latent_conv_in.weight, std=0.3)
    return decoder.eval().requires_grad_(False)


def random_encoder() -> TransparencyEncoder:
    torch.manual_seed(4)
    encoder = TransparencyEncoder((8, 16))
    torch.nn.init.normal_(encoder.blocks[-1].weight, std=0.3)  # type: ignore[arg-type]
    return encoder.eval().requires_grad_(False)


@torch.no_grad()
def test_the_decoder_is_diffusers_unet_without_a_time_and_with_latents() -> None:
    decoder = random_decoder()
    theirs = UNet2DModel(
        in_channels=3, out_channels=4, block_out_channels=SHAPE.widths, norm_num_groups=4,
        attention_head_dim=8,
        down_block_types=("DownBlock2D",) * 2 + ("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
    ).eval()  # fmt: skip
    state = decoder.state_dict()
    timed = {name for name in theirs.state_dict() if "time_" in name}
    assert set(theirs.state_dict()) - timed == {n for n in state if not n.startswith("latent_conv_in")}
    # The names of the blocks' parts are theirs; what is told of the time is made nothing.
    theirs.load_state_dict(
        {name: state.get(name, torch.zeros_like(value)) for name, value in theirs.state_dict().items()}
    )
    rgb, latents = torch.rand(2, 3, 32, 48), torch.randn(2, 4, 16, 24)
    entered = decoder.latent_conv_in(latents)
    theirs.down_blocks[1].register_forward_pre_hook(
        lambda block, args, given: (args, given | {"hidden_states": given["hidden_states"] + entered}),
        with_kwargs=True,
    )
    torch.testing.assert_close(decoder(rgb, latents), theirs(rgb, 5).sample, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_estimate_is_the_median_of_all_views_and_turns_with_the_picture() -> None:
    decoder = random_decoder()
    rgb, latents = torch.rand(1, 3, 32, 32), torch.randn(1, 4, 16, 16)
    found = estimated(decoder, rgb, latents)
    assert found.shape == (1, 4, 32, 32) and found.min() >= 0 and found.max() <= 1
    for turned in (lambda x: x.flip(3), lambda x: x.flip(2), lambda x: torch.rot90(x, 1, (2, 3))):
        torch.testing.assert_close(estimated(decoder, turned(rgb), turned(latents)), turned(found))
    once = decoder(rgb, latents).clamp(0, 1)
    assert not torch.allclose(found, torch.cat([once[:, 1:], once[:, :1]], dim=1), atol=1e-3)


@torch.no_grad()
def test_alpha_comes_first_out_of_the_network_and_last_out_of_the_estimate() -> None:
    decoder = random_decoder()
    torch.nn.init.zeros_(decoder.conv_out.weight)
    decoder.conv_out.bias.copy_(torch.tensor([0.9, 0.1, 0.2, 0.3]))  # type: ignore[union-attr]
    found = estimated(decoder, torch.rand(1, 3, 16, 16), torch.randn(1, 4, 8, 8))
    torch.testing.assert_close(found[0, :, 3, 3], torch.tensor([0.1, 0.2, 0.3, 0.9]))


@torch.no_grad()
def test_sides_are_padded_inside_and_cut_back() -> None:
    decoder = random_decoder()
    rgb, latents = torch.rand(1, 3, 34, 20), torch.randn(1, 4, 17, 10)
    found = estimated(decoder, rgb, latents)
    assert found.shape == (1, 4, 34, 20)
    pad = torch.nn.functional.pad
    wide = estimated(
        decoder, pad(rgb, (0, 4, 0, 6), mode="replicate"), pad(latents, (0, 2, 0, 3), mode="replicate")
    )
    assert torch.equal(found, wide[..., :34, :20])


@torch.no_grad()
def test_a_transparent_codec_is_the_plain_one_but_for_alpha() -> None:
    plain = RGBCodec(tiny.vae())
    opaque = torch.cat([torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)], dim=1)
    clear = opaque.clone()
    clear[:, 3:, :, 16:] = 0
    codec = TransparentCodec(plain, random_decoder(), random_encoder())
    assert torch.equal(codec.encode(opaque), plain.encode(opaque))
    both = codec.encode(torch.cat([opaque, clear]))
    torch.testing.assert_close(both[:1], plain.encode(opaque))
    assert not torch.allclose(both[1:], plain.encode(clear), atol=1e-4)
    fresh = TransparentCodec(plain, random_decoder(), TransparencyEncoder((8, 16)))  # its last layer is zero
    assert torch.equal(fresh.encode(clear), plain.encode(clear))
    posterior = plain.vae.encode((clear[:, :3] * clear[:, 3:] + 0.5 * (1 - clear[:, 3:])) * 2 - 1).latent_dist
    offset = random_encoder()(torch.cat([clear[:, 3:], padded_colour(clear)], dim=1))
    wanted = (posterior.mean + 300 * posterior.std * offset) * plain.vae.config.scaling_factor
    strong = TransparentCodec(plain, random_decoder(), random_encoder(), strength=300.0)
    torch.testing.assert_close(strong.encode(clear), wanted)
    assert codec.decode(both).shape == (2, 4, 32, 32)


def test_colours_go_on_under_what_is_clear() -> None:
    rgba = torch.zeros(1, 4, 40, 40)
    rgba[:, :, 10:20, 10:20] = torch.tensor([0.8, 0.4, 0.2, 1.0])[:, None, None]
    padded = padded_colour(rgba)
    torch.testing.assert_close(padded, torch.tensor([0.8, 0.4, 0.2])[None, :, None, None].expand_as(padded))
    opaque = torch.cat([torch.rand(1, 3, 9, 13), torch.ones(1, 1, 9, 13)], dim=1)
    assert torch.equal(padded_colour(opaque), opaque[:, :3])
    assert (padded_colour(torch.zeros(1, 4, 5, 5)) == 0).all()


def saved(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, path)
    return path


def test_files_are_read_as_they_are_published(tmp_path: Path) -> None:
    decoder, encoder = random_decoder(), random_encoder()
    read = load_decoder(saved(decoder.state_dict(), tmp_path / "d.safetensors"), latent=1)
    assert read.shape == SHAPE
    for name, value in read.state_dict().items():
        torch.testing.assert_close(value, decoder.state_dict()[name].half().float())
    again = load_encoder(saved(encoder.state_dict(), tmp_path / "e.safetensors"))
    assert all(torch.equal(v, encoder.state_dict()[n].half().float()) for n, v in again.state_dict().items())


@pytest.mark.parametrize("load", [load_decoder, load_encoder])
def test_other_files_are_refused_by_name(load: object, tmp_path: Path) -> None:
    tensors = (random_decoder() if load is load_decoder else random_encoder()).state_dict()
    last = list(tensors)[-1]
    without = {name: value for name, value in tensors.items() if name != last}
    with pytest.raises(LayercliError, match=f"has no {last}"):
        load(saved(without, tmp_path / "a.safetensors"))  # type: ignore[operator]
    with pytest.raises(LayercliError, match=r"nothing in it is called mid\.more and 1 more"):
        load(saved(tensors | {"mid.more": torch.ones(1), "z": torch.ones(1)}, tmp_path / "b.safetensors"))  # type: ignore[operator]
    with pytest.raises(LayercliError, match=f"{last} is 3x3"):
        load(saved(tensors | {last: torch.ones(3, 3)}, tmp_path / "c.safetensors"))  # type: ignore[operator]
    (tmp_path / "d.ckpt").write_bytes(b"x")
    with pytest.raises(LayercliError, match="no safetensors file"):
        load(tmp_path / "d.ckpt")  # type: ignore[operator]
    (tmp_path / "e.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(LayercliError, match="is damaged"):
        load(tmp_path / "e.safetensors")  # type: ignore[operator]
    with pytest.raises(LayercliError, match="There is no file"):
        load(tmp_path / "f.safetensors")  # type: ignore[operator]
