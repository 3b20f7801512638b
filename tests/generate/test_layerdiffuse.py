"""LayerDiffuse end to end on tiny models and tiny files under the published names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.pixels import quantize
from layercli.core.requests import GenerateRequest
from layercli.generate import layerfusion
from layercli.generate._given import given_picture
from layercli.generate.layerdiffuse import Options, generate, weight_files
from layercli.models.catalog import load_model
from layercli.models.layerdiffuse import FOLDER, LayerDiffuseXL, TransparentSD15
from layercli.models.sd15 import SD15Model
from tests import tiny
from tests.generate.asking import asked, same


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SD15Model:
    return tiny.sd15(tmp_path_factory.mktemp("sd15"))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    return Options(weights=str(tiny.layerdiffuse(tmp_path_factory.mktemp("weights"), "sd15")))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Opaque, wider than the canvas."""
    path = tmp_path_factory.mktemp("given") / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def cutout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy half-transparent square on transparency, of the canvas' size."""
    path = tmp_path_factory.mktemp("given") / "cutout.png"
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[8:30, 6:20] = np.random.default_rng(1).integers(100, 255, (22, 14, 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").save(path)
    return path


def test_foregrounds_share_the_first_ones_background(model: SD15Model, options: Options) -> None:
    two = generate(asked(model, harmonize="over"), model, options)
    one = generate(asked(model, harmonize="over", foregrounds=("a dog",)), model, options)
    assert two.names == ("background", "a dog", "a ball")
    np.testing.assert_allclose(two.layers[0].rgba, one.layers[0].rgba, atol=1e-4)
    np.testing.assert_allclose(two.placed("a dog"), one.placed("a dog"), atol=1e-3)


def test_alpha_is_the_decoders(model: SD15Model, options: Options) -> None:
    stack = generate(asked(model, harmonize="over"), model, options)
    alpha = stack.placed("a dog")[..., 3]
    assert 0 < alpha.mean() < 1 and len(np.unique(alpha)) > 50
    assert not model.alpha and "transparent" not in vars(model)


def test_drawn_alone_frames_do_not_meet(model: SD15Model, options: Options) -> None:
    apart = generate(asked(model, harmonize="none"), model, options)
    other = generate(asked(model, harmonize="none", background="a mountain"), model, options)
    np.testing.assert_allclose(apart.placed("a dog"), other.placed("a dog"), atol=1e-4)
    joint = generate(asked(model, harmonize="over"), model, options)
    elsewhere = generate(asked(model, harmonize="over", background="a mountain"), model, options)
    assert np.abs(joint.placed("a dog") - elsewhere.placed("a dog")).max() > 1e-3


@pytest.mark.parametrize("harmonize", ["over", "irh"])
def test_a_given_background_stays_and_changes_the_foregrounds(
    model: SD15Model, options: Options, photo: Path, harmonize: str
) -> None:
    request = asked(model, harmonize=harmonize, given=str(photo))
    stack = generate(request, model, options)
    assert stack.names[:3] == ("background", "a dog", "a ball")
    inner = np.asarray(Image.open(photo).resize((64, 32), Image.Resampling.BICUBIC))[:, 16:48]
    assert np.abs(quantize(stack.layers[0].rgba)[..., :3].astype(int) - inner.astype(int)).mean() < 2
    again = generate(request, model, options)
    assert same(stack, again)
    plain = generate(asked(model, harmonize=harmonize), model, options)
    assert np.abs(stack.placed("a dog") - plain.placed("a dog")).max() > 1e-3


@pytest.mark.parametrize("harmonize", ["over", "irh"])
def test_a_given_foreground_stays_and_changes_the_background(
    model: SD15Model, options: Options, cutout: Path, harmonize: str
) -> None:
    request = asked(model, harmonize=harmonize, given=str(cutout), foregrounds=("a dog",))
    stack = generate(request, model, options)
    assert (quantize(stack.placed("a dog")) == np.asarray(Image.open(cutout))).all()
    assert (stack.layers[0].rgba[..., 3] == 1).all()
    plain = generate(asked(model, harmonize=harmonize, foregrounds=("a dog",)), model, options)
    assert np.abs(stack.layers[0].rgba - plain.layers[0].rgba).max() > 1e-3


def test_a_given_picture_fits_the_canvas(tmp_path: Path) -> None:
    wide = np.zeros((10, 40, 4), np.uint8)
    wide[:, 10:30] = (0, 0, 255, 255)
    Image.fromarray(wide, "RGBA").save(tmp_path / "thing.png")
    Image.fromarray(wide[..., :3]).save(tmp_path / "ground.png")
    request = GenerateRequest(foregrounds=("a bar",), background="a wall", size=Size(40, 80))
    thing = given_picture(request.replace(given=str(tmp_path / "thing.png")))
    assert thing is not None and thing.kind == "foreground" and thing.rgba.shape == (4, 80, 40)
    assert (thing.rgba[3, 70:, 10:30] == 1).all() and thing.rgba[3].sum() == 200  # at the bottom, not larger
    ground = given_picture(request.replace(given=str(tmp_path / "ground.png")))
    assert ground is not None and ground.kind == "background" and (ground.rgba[3] == 1).all()
    assert (ground.rgba[2] > 0.99).all()  # eight times as large, its middle
    assert given_picture(request) is None


def test_bad_requests_are_refused(model: SD15Model, options: Options, cutout: Path, tmp_path: Path) -> None:
    with pytest.raises(LayercliError, match="is a foreground, but 2 are asked for"):
        generate(asked(model, given=str(cutout)), model, options)
    Image.new("RGBA", (8, 8)).save(tmp_path / "empty.png")
    with pytest.raises(LayercliError, match="transparent all over"):
        generate(asked(model, given=str(tmp_path / "empty.png")), model, options)
    with pytest.raises(LayercliError, match='not on "embedded"') as caught:
        generate(asked(model), tiny.embedded(latents=8), options)
    assert "--method layerfusion" in caught.value.hint
    with pytest.raises(LayercliError, match=r"no layer_sd15_joint\.safetensors") as caught:
        generate(asked(model), model, Options(weights=str(tmp_path)))
    assert "layercli models pull layerdiffuse-sd15-joint" in caught.value.hint
    wrong = dataclasses.replace(options, attention=f"{options.weights}/layer_sd15_fg2bg.safetensors")
    with pytest.raises(LayercliError, match="2 frames and a given picture; this needs 3 frames without"):
        generate(asked(model), model, wrong)


def test_files_that_are_not_here_have_the_command_that_fetches_them(
    model: SD15Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(LayercliError, match="is not on this machine") as caught:
        generate(asked(model), model, Options())
    assert caught.value.hint == "To fetch it, type: layercli models pull layerdiffuse-sd15-joint"
    folder = tiny.save("sdxl", tmp_path / "sdxl")
    with pytest.raises(LayercliError, match="is not on this machine") as caught:
        LayerDiffuseXL.load(folder, name="xl", device=torch.device("cpu"), dtype=torch.float32)
    assert caught.value.hint == "To fetch it, type: layercli models pull layerdiffuse-xl"


def test_the_receipt_knows_the_files(model: SD15Model, options: Options, photo: Path) -> None:
    names = [path.name for path in weight_files(options, asked(model, given=str(photo)), model)]
    assert names == [
        "layer_sd15_bg2fg.safetensors",
        "layer_sd15_vae_transparent_decoder.safetensors",
        "layer_sd15_vae_transparent_encoder.safetensors",
    ]


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> LayerDiffuseXL:
    folder = tiny.save("sdxl", tmp_path_factory.mktemp("xl"))
    tiny.layerdiffuse(folder / FOLDER, "sdxl")
    model = load_model(str(folder), device="cpu")
    assert isinstance(model, LayerDiffuseXL)
    return model


def test_foregrounds_of_sdxl_have_a_network_and_alpha_of_their_own(xl: LayerDiffuseXL) -> None:
    assert xl.alpha and not xl.early_alpha
    assert xl.unet_for("foreground") is not xl.unet and xl.unet_for("background") is xl.unet
    shape = xl.latent_shape(xl.native_size)
    rgba = xl.decode(torch.randn(3, *shape), ["foreground", "background", "global"])
    assert (rgba[1:, 3] == 1).all() and bool((rgba[0, 3] < 1).any())
    assert any(path.name == "layer_xl_transparent_attn.safetensors" for path in xl.weight_files)
    plain = xl.codec.decode(torch.ones(1, *shape))
    assert torch.equal(xl.decode(torch.ones(1, *shape), ["background"]), plain)


@pytest.mark.parametrize("harmonize", ["irh", "none"])
def test_layerfusion_runs_on_it_as_in_the_paper(xl: LayerDiffuseXL, harmonize: str) -> None:
    request = asked(xl, harmonize=harmonize, steps=4, size=Size(40, 33))
    stack = layerfusion.generate(request, xl, layerfusion.Options())
    assert stack.names[:3] == ("background", "a dog", "a ball")
    assert stack.canvas == request.size and (stack.flatten()[..., 3] == 1).all()
    assert same(stack, layerfusion.generate(request, xl, layerfusion.Options()))
    assert layerfusion.Options().rules(xl).prior == "both"
    with pytest.raises(LayercliError, match="show no alpha"):
        layerfusion.Options(prior="alpha").rules(xl)


def test_frames_of_the_two_networks_meet(xl: LayerDiffuseXL) -> None:
    request = asked(xl, harmonize="over", steps=4)
    met = layerfusion.generate(request, xl, layerfusion.Options())
    apart = layerfusion.generate(request.replace(harmonize="none"), xl, layerfusion.Options())
    assert np.abs(met.layers[0].rgba - apart.layers[0].rgba).max() > 1e-3


@pytest.mark.parametrize("harmonize", ["over", "irh"])
def test_sdxl_draws_to_a_given_background(xl: LayerDiffuseXL, photo: Path, harmonize: str) -> None:
    request = asked(xl, given=str(photo), harmonize=harmonize, steps=2)
    told: list[tuple[int, int]] = []
    stack = generate(request, xl, Options(), lambda done, total: told.append((done, total)))
    assert stack.names[:3] == ("background", "a dog", "a ball")
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1)) and len({t for _, t in told}) == 1
    inner = np.asarray(Image.open(photo).resize((64, 32), Image.Resampling.BICUBIC))[:, 16:48]
    assert np.abs(quantize(stack.layers[0].rgba)[..., :3].astype(int) - inner.astype(int)).mean() < 2
    alpha = stack.placed("a dog")[..., 3]
    assert 0 < alpha.mean() < 1
    Image.fromarray(255 - np.asarray(Image.open(photo))).save(photo.with_name("other.png"))
    other = generate(request.replace(given=str(photo.with_name("other.png"))), xl, Options())
    assert not np.array_equal(stack.placed("a dog"), other.placed("a dog"))


def test_sdxl_draws_behind_a_given_foreground(xl: LayerDiffuseXL, cutout: Path) -> None:
    request = asked(xl, given=str(cutout), foregrounds=("a dog",), steps=4)
    stack = generate(request, xl, Options())
    assert (quantize(stack.placed("a dog")) == np.asarray(Image.open(cutout))).all()
    assert (stack.layers[0].rgba[..., 3] == 1).all() and same(stack, generate(request, xl, Options()))
    names = [path.name for path in weight_files(Options(), request, xl)]
    assert names == ["layer_xl_fg2ble.safetensors", "layer_xl_fgble2bg.safetensors"]
    with pytest.raises(LayercliError, match="draw all layers of SDXL together") as caught:
        generate(request.replace(given=""), xl, Options())
    assert "--method layerfusion" in caught.value.hint


def test_a_file_for_another_number_of_pictures_is_refused(
    xl: LayerDiffuseXL, cutout: Path, tmp_path: Path
) -> None:
    for name in ("fg2ble", "fgble2bg"):
        target = tmp_path / f"layer_xl_{name}.safetensors"
        target.write_bytes((xl.files / "layer_xl_fg2ble.safetensors").read_bytes())
    request = asked(xl, given=str(cutout), foregrounds=("a dog",), steps=1)
    with pytest.raises(LayercliError, match="reads 1 pictures beside the noise; this needs 2"):
        generate(request, xl, Options(weights=str(tmp_path)))


def test_an_sd15_with_alpha_is_a_view_of_the_model(model: SD15Model, options: Options) -> None:
    decoder = Path(options.weights) / "layer_sd15_vae_transparent_decoder.safetensors"
    seen = TransparentSD15.of(model, decoder, None)
    assert seen.unet is model.unet and seen.alpha and not model.alpha
    assert type(model) is SD15Model
