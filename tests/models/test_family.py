"""Every family behind the one interface, at tiny sizes, with real diffusers and transformers classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.diffusion.sample import frame_noise, run, sample
from layercli.models.catalog import load_model
from layercli.models.family import KINDS, Model, resolve_device, resolve_dtype
from tests import tiny

PROMPTS = ["a cat", "a sofa", "a cat, a sofa"]


@pytest.fixture(params=tiny.FAMILIES, scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny.model(request.param, tmp_path_factory.mktemp(request.param))


def noise_for(model: Model, frames: int = 3) -> torch.Tensor:
    return frame_noise(0, range(frames), model.latent_shape(model.native_size))


@torch.no_grad()
def test_a_prediction_has_the_shape_of_the_latents(model: Model) -> None:
    x = noise_for(model)
    prediction = model.denoiser(model.encode_text(PROMPTS, KINDS, model.native_size))(
        x, torch.tensor([9] * 3)
    )
    assert prediction.shape == x.shape and prediction.dtype == torch.float32
    assert prediction.isfinite().all() and prediction.std() > 0.01


@torch.no_grad()
def test_selecting_and_joining_frames_commutes_with_the_network(model: Model) -> None:
    x, t = noise_for(model), torch.tensor([400, 400, 400])
    text = model.encode_text(PROMPTS, KINDS, model.native_size)
    joint = model.denoiser(text)(x, t)
    for index in range(3):
        alone = model.denoiser(text.select([index]))(x[index : index + 1], t[:1])
        torch.testing.assert_close(alone[0], joint[index], atol=1e-5, rtol=1e-4)
    turned = model.denoiser(text.select([2]).cat(text.select([0, 1])))(x[[2, 0, 1]], t)
    torch.testing.assert_close(turned, joint[[2, 0, 1]], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_words_and_time_matter(model: Model) -> None:
    x = noise_for(model, 1)
    cat = model.denoiser(model.encode_text(["a cat"], ["global"], model.native_size))
    dog = model.denoiser(model.encode_text(["a large dog"], ["global"], model.native_size))
    assert not torch.equal(cat(x, torch.tensor([500])), dog(x, torch.tensor([500])))
    assert not torch.equal(cat(x, torch.tensor([500])), cat(x, torch.tensor([100])))


@torch.no_grad()
def test_guidance_of_one_is_the_conditional_bit_for_bit(model: Model) -> None:
    x, t = noise_for(model, 2), torch.tensor([300, 300])
    positive = model.encode_text(["a cat", "a dog"], ["foreground"] * 2, model.native_size)
    negative = model.encode_text(["", ""], ["foreground"] * 2, model.native_size)
    assert torch.equal(model.guided(positive, negative, 1.0)(x, t), model.denoiser(positive)(x, t))
    guided = model.guided(positive, negative, 3.0)(x, t)
    u, c = model.denoiser(negative)(x, t), model.denoiser(positive)(x, t)
    torch.testing.assert_close(guided, u + 3 * (c - u), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_pictures_have_four_channels_and_only_foregrounds_may_be_transparent(model: Model) -> None:
    rgba = model.decode(noise_for(model), KINDS)
    size = model.native_size
    assert rgba.shape == (3, 4, size.height, size.width) and rgba.dtype == torch.float32
    assert rgba.min() >= 0 and rgba.max() <= 1
    assert (rgba[1:, 3] == 1).all()
    assert bool((rgba[0, 3] < 1).any()) == model.alpha
    assert model.encode(rgba).shape == (3, *model.latent_shape(size))


@torch.no_grad()
def test_a_picture_of_another_shape_can_be_sampled(model: Model) -> None:
    size = Size(model.multiple * 3, model.multiple * 5)
    x = frame_noise(0, [0], model.latent_shape(size))
    text = model.encode_text(["a cat"], ["background"], size)
    schedule = model.schedule
    result = run(sample(model.denoiser(text), x, schedule, schedule.path(2)), x)
    assert model.decode(result, ["background"]).shape == (1, 4, size.height, size.width)


def test_a_side_that_is_no_multiple_is_refused_with_the_next_size(model: Model) -> None:
    with pytest.raises(LayercliError, match="multiples of") as caught:
        model.latent_shape(Size(model.multiple * 2 + 1, model.multiple))
    assert f"--size {model.multiple * 3}x{model.multiple}" in caught.value.hint


def test_the_summary_marks_what_stands_for_the_content(model: Model) -> None:
    text = model.encode_text(["cat", ""], ["global"] * 2, model.native_size)
    assert text.summary.shape == text.tokens.shape[:2]
    expected = {"embedded": [0], "sd15": [4], "sdxl": [4]}[model.name]  # letters c a t after the start token
    assert text.summary[0].nonzero().flatten().tolist() == expected


def test_latents_are_scaled_by_the_codec_alone(tmp_path: Path) -> None:
    model = tiny.sd15(tmp_path)
    rgba = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    gray = rgba[:, :3] * rgba[:, 3:] + 0.5 * (1 - rgba[:, 3:])
    with torch.no_grad():
        theirs = model.codec.vae.encode(gray * 2 - 1).latent_dist.mean * model.codec.vae.config.scaling_factor
    torch.testing.assert_close(model.encode(rgba), theirs)


def test_the_autoencoder_of_sdxl_stays_in_float32(tmp_path: Path) -> None:
    model = tiny.sdxl(tmp_path, dtype=torch.bfloat16)
    assert model.codec.vae.dtype == torch.float32 and model.unet.dtype == torch.bfloat16
    x = frame_noise(0, [0], model.latent_shape(model.native_size))
    text = model.encode_text(["a cat"], ["global"], model.native_size)
    with torch.no_grad():
        assert model.denoiser(text)(x, torch.tensor([5])).dtype == torch.float32


def fixed_autoencoder(folder: Path) -> Path:
    """An autoencoder with other weights, as sdxl-vae-fp16-fix is laid out."""
    other = tiny.vae()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    other.save_pretrained(folder)
    return folder


def test_in_float16_sdxl_decodes_by_the_autoencoder_that_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tiny.save("sdxl", tmp_path / "models" / "my-sdxl")

    def opened(dtype: str) -> Any:
        return load_model(str(folder), "cpu", dtype)

    without = opened("float16")
    assert without.codec.vae.dtype == torch.float32 and "vae" in " ".join(without.weight_hashes())
    (note,) = without.notes
    assert "float32" in note and "layercli models pull sdxl-vae-fp16-fix" in note
    beside = fixed_autoencoder(folder.parent / "sdxl-vae-fp16-fix")
    fixed = opened("float16")
    assert fixed.codec.vae.dtype == torch.float16 and fixed.notes_on(["a cat"]) == fixed.notes
    assert "in float16 by madebyollin/sdxl-vae-fp16-fix" in fixed.notes[0]
    assert "sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors" in fixed.weight_hashes()
    assert not torch.equal(
        fixed.codec.vae.decoder.conv_in.bias, without.codec.vae.decoder.conv_in.bias.half()
    )
    plain = opened("float32")
    assert plain.notes == () and "vae/diffusion_pytorch_model.safetensors" in plain.weight_hashes()
    repository = tmp_path / "hub" / "models--madebyollin--sdxl-vae-fp16-fix"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    beside.rename(tmp_path / "aside")
    (repository / "snapshots").mkdir()
    (tmp_path / "aside").rename(repository / "snapshots" / "abc123")
    cached = opened("float16")
    assert cached.codec.vae.dtype == torch.float16 and cached.notes == fixed.notes


def test_networks_of_different_kinds_each_get_their_frames(tmp_path: Path) -> None:
    """A family may denoise foregrounds by a network of their own, as LayerDiffuse does on SDXL."""

    class Two(type(tiny.sd15(tmp_path))):  # type: ignore[misc]
        def unet_for(self, kind: str) -> torch.nn.Module:
            return self.other if kind == "foreground" else self._unet

    model = tiny.sd15(tmp_path)
    model.__class__ = Two
    torch.manual_seed(3)
    model.other = tiny.UNETS["sd15"]()  # type: ignore[attr-defined]
    torch.nn.init.normal_(model.other.conv_out.weight)  # type: ignore[attr-defined]
    x, t = noise_for(model), torch.tensor([100, 100, 100])
    text = model.encode_text(PROMPTS, ["global", "foreground", "global"], model.native_size)
    with torch.no_grad():
        mixed = model.denoiser(text)(x, t)
        apart = [
            model.unet_for(text.kinds[i])(x[i : i + 1], t[:1], text.tokens[i : i + 1]).sample
            for i in range(3)
        ]
    torch.testing.assert_close(mixed, torch.cat(apart), atol=1e-5, rtol=1e-4)


def test_devices_and_number_types_are_checked() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    assert resolve_dtype("auto", torch.device("cpu")) == torch.float32
    assert resolve_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(LayercliError, match="tpu"):
        resolve_device("tpu")
    with pytest.raises(LayercliError, match="int8"):
        resolve_dtype("int8", torch.device("cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(LayercliError, match="cuda"):
            resolve_device("cuda")
