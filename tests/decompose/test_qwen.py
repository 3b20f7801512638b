"""A real Qwen-Image-Layered pipeline, tiny and with random weights, takes photos apart, by command too."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from layercli.cli import fitting
from layercli.cli.app import app
from layercli.cli.files import read_stack
from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.pixels import dequantize, quantize
from layercli.decompose import qwen
from layercli.models import catalog
from layercli.models.qwen import (
    Asked,
    QwenLayered,
    check_convolutions,
    check_quantized,
    drawn_size,
    load_qwen,
)
from tests import tiny
from tests.decompose.made import ball, over, wall

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ASKED = Asked(layers=2, steps=2, seed=3, prompt="a ball")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.qwen(tmp_path_factory.mktemp("qwen") / "model")


@pytest.fixture(scope="module")
def model(folder: Path) -> QwenLayered:
    return load_qwen(str(folder), "cpu", "float32")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return dequantize(quantize(over(wall(), ball(), (0.8, 0.15, 0.1))))


@pytest.fixture(scope="module")
def drawn(model: QwenLayered, photo: np.ndarray) -> np.ndarray:
    return model.layers_of(photo, ASKED)


def test_what_is_drawn_is_what_the_pipeline_draws(
    model: QwenLayered, photo: np.ndarray, drawn: np.ndarray
) -> None:
    """The frame of the whole is dropped by the pipeline, and guidance is real: it has a negative prompt."""
    theirs = model.pipe(
        Image.fromarray(quantize(photo)).convert("RGBA"),
        "a ball",
        negative_prompt=" ",
        layers=2,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(3),
        cfg_normalize=True,
        output_type="np",
    ).images[0]
    assert drawn.shape == (2, 544, 736, 4) and drawn_size(Size(96, 72), 640) == Size(736, 544)
    np.testing.assert_allclose(drawn, theirs, atol=1e-5)
    assert drawn.std() > 0.01 and np.abs(drawn[0] - drawn[1]).max() > 0.01


def test_time_is_measured_once_for_a_size(model: QwenLayered, photo: np.ndarray, monkeypatch) -> None:
    calls: list[int] = []
    inner = model.pipe.transformer.forward
    monkeypatch.setattr(
        model.pipe.transformer, "forward", lambda *args, **kwargs: calls.append(1) or inner(*args, **kwargs)
    )
    few = Asked(layers=1, steps=30, guidance=1.0)
    first = model.seconds(photo, few)
    assert 0 < first < 3600 and len(calls) == 2
    assert model.seconds(photo * 0.5, few) == first  # another photo of its size
    assert model.seconds(photo, Asked(layers=1, steps=60, guidance=1.0)) == 2 * first and len(calls) == 2
    model.seconds(photo[:, :60], few)
    assert len(calls) == 4


def test_without_a_caption_the_model_writes_one_and_the_global_generator_stays(
    model: QwenLayered, photo: np.ndarray, drawn: np.ndarray
) -> None:
    steps: list[tuple[int, int]] = []
    torch.manual_seed(5)
    told = model.layers_of(
        photo, Asked(layers=2, steps=2, seed=3), lambda done, total: steps.append((done, total))
    )
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert steps == [(1, 2), (2, 2)]
    assert np.abs(told - drawn).max() > 1e-6


def test_offloading_draws_the_same(folder: Path, photo: np.ndarray, drawn: np.ndarray) -> None:
    moved = load_qwen(str(folder), "cpu", "float32", "model").layers_of(photo, ASKED)
    np.testing.assert_allclose(moved, drawn, atol=1e-5)


@pytest.mark.parametrize("size", [(300, 200), (31, 400)])
def test_layers_are_brought_to_the_photo_and_solved_to_be_it(size: tuple[int, int]) -> None:
    """A small guess of a disc comes out with the photo's own sharp edge, and all layers give the photo."""
    small_photo, alpha = over(wall(), ball(), (0.8, 0.15, 0.1)), ball()
    width, height = size
    photo = dequantize(
        np.asarray(Image.fromarray(quantize(small_photo)).resize(size, Image.Resampling.BICUBIC))
    )
    guess = np.concatenate([np.full((72, 96, 3), (0.7, 0.2, 0.1), np.float32), alpha[..., None]], axis=-1)
    behind = np.concatenate([wall(), np.zeros((72, 96, 1), np.float32)], axis=-1)  # its alpha does not count
    small = np.asarray(Image.fromarray(quantize(photo)).resize((96, 72)), np.float32) / 255
    layers = [qwen.brought_to(photo, small, rgba, 0.02) for rgba in (behind, guess)]
    assert all(layer.shape == (height, width, 4) for layer in layers)
    assert layers[1][..., 3].min() >= 0 and layers[1][..., 3].max() == 1
    stack = qwen.solved_from(photo, ["layer 1"], layers)
    assert stack is not None and stack.names == ("background", "layer 1")
    np.testing.assert_array_equal(stack.flatten_quantized()[..., :3], quantize(photo))
    assert (stack.layers[0].rgba[..., 3] == 1).all()


def test_memory_is_counted_and_what_fits_is_named() -> None:
    request, options = DecomposeRequest(photo="a.png", method="qwen"), qwen.Options()
    ways = qwen.ways(request, options, Size(1200, 800), GPU)
    none, whole, small, single = (way.bytes for way in ways)
    assert none > whole > small and whole > single
    assert 2 * 28.8e9 < none < 2.2 * 28.8e9
    fit = fitting.Fit(model="qwen", device=GPU, free=20 * 2**30, ways=ways, otherwise="no")
    assert fit.what_fits() == "Try: --offload model -O quantize=nf4"
    assert "20.0 GiB are free on cuda" in fit.doubt()
    wide = qwen.ways(request, qwen.Options(resolution=1024), Size(1200, 800), GPU)
    assert wide[0].bytes > none and wide[1].words == "-O resolution=640" and wide[1].bytes == none
    many = qwen.ways(request.replace(layers=12), options, Size(1200, 800), GPU)
    assert many[0].bytes > none
    assert qwen.ways(request, options, Size(9, 9), CPU)[0].bytes > 1.9 * none


def test_a_folder_and_a_file_are_counted_by_their_own_weights(folder, tmp_path) -> None:
    request, options = DecomposeRequest(photo="a.png", method="qwen"), qwen.Options(model=str(folder))
    own = qwen.ways(request, options, Size(1200, 800), GPU)[0]
    opened = load_qwen(str(folder), "cpu").pipe
    assert (
        0
        < own.weights
        == 2
        * sum(
            weight.numel()
            for network in (opened.transformer, opened.vae, opened.text_encoder)
            for weight in network.parameters()
        )
    )
    whole = qwen.ways(request, qwen.Options(), Size(1200, 800), GPU)[0]
    (tmp_path / "transformer.gguf").write_bytes(bytes(1000))
    fewer = qwen.Options(gguf=str(tmp_path / "transformer.gguf"))
    text = 2 * (8_292_166_656 + 126_897_716)  # only the transformer lies in such a file
    assert qwen.ways(request, fewer, Size(1200, 800), GPU)[0].weights == pytest.approx(text + 1000)
    assert whole.weights == text + 2 * 20_430_407_232


def test_a_mac_is_not_told_to_offload_into_the_same_memory() -> None:
    request, mac = DecomposeRequest(photo="a.png", method="qwen"), torch.device("mps")
    none, offloaded = (
        qwen.ways(request, qwen.Options(offload=how), Size(1200, 800), mac) for how in ("none", "model")
    )
    assert [way.words for way in none] == ["", "-O quantize=torchao"]
    assert none[0].bytes == offloaded[0].bytes > none[1].bytes


def test_a_system_that_convolves_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_convolutions(CPU)
    answers = iter([torch.zeros(1), torch.ones(1)])
    monkeypatch.setattr("torch.nn.functional.conv3d", lambda *_, **__: next(answers))
    with pytest.raises(LayercliError, match=r"convolutions wrongly on cpu.*--device cpu"):
        check_convolutions(CPU)


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for way, package in (("nf4", "bitsandbytes"), ("int8", "bitsandbytes"), ("torchao", "torchao")):
        with pytest.raises(LayercliError, match=package) as caught:
            check_quantized(way, "", "none", GPU)
        assert caught.value.hint == f"Try: pip install {package}"
    with pytest.raises(LayercliError, match="gguf"):
        check_quantized("none", "a.gguf", "none", CPU)
    with pytest.raises(LayercliError, match="NVIDIA"):
        check_quantized("nf4", "", "none", CPU)
    with pytest.raises(LayercliError, match="layer by layer"):
        check_quantized("torchao", "", "sequential", GPU)
    with pytest.raises(LayercliError, match="already"):
        check_quantized("nf4", "a.gguf", "none", GPU)
    check_quantized("none", "", "sequential", CPU)


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["decompose", *words])
    return result.exit_code, result.stdout, result.stderr


def test_from_photo_to_file_and_again(folder, photo, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fitting, "main_memory", lambda: 1000)
    Image.fromarray(quantize(photo)).save("photo.png")
    qwen.opened.cache_clear()
    words = ("photo.png", "--method", "qwen", "--model", str(folder), "--layers", "3", "--seed", "4")
    more = ("--device", "cpu", "--dtype", "float32", "-O", "steps=1", "-O", "prompt=a ball")
    code, out, talk = run(*words, *more, "-o", "one.psd", "--json")
    assert code == 0 and "needs about" in talk, talk
    [told] = json.loads(out)["pictures"]
    assert told["layers"] == ["background", "layer 1", "layer 2"]
    assert told["recomposition"] == {"most": 0, "psnr": None, "off": 0.0}
    assert set(told["leakage"]) == {"layer 1", "layer 2"}
    one = read_stack(Path("one.psd"))
    np.testing.assert_array_equal(one.flatten_quantized()[..., :3], quantize(photo))
    receipt = one.receipt
    assert receipt is not None and receipt.device == "cpu" and "diffusers" in receipt.versions
    assert {"transformer/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"} <= set(
        receipt.weights
    )
    code, _, talk = run(*shlex.split(receipt.command)[2:], "-o", "two.psd")
    assert code == 0, talk
    assert "3 layers are drawn at 736x544 and brought to 96x72" in talk and "Loading" not in talk
    two = read_stack(Path("two.psd"))
    assert all((a.rgba == b.rgba).all() for a, b in zip(one.layers, two.layers, strict=True))
    code, _, talk = run(*words, *more, "-O", "exact=no", "-o", "own.psd")
    assert code == 0, talk
    assert "kept as they are drawn" in talk
    own = read_stack(Path("own.psd"))
    assert own.names == one.names and (own.flatten_quantized()[..., :3] != quantize(photo)).any()
    qwen.opened.cache_clear()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--box", "a=0,0,1,1"), 'cannot be told of "a"'),
        (("--layers", "21"), "20 layers at most"),
        (("-O", "resolution=800"), 'resolution="800" is not one of 640, 1024'),
        (("-O", "steps=0"), "steps=0 is not from 1"),
        (("-O", "least=0.5"), "least=0.5 is not"),
        ((), "To fetch it, type: layercli models pull qwen-image-layered"),
        (("--model", "sdxl"), '"sdxl" draws pictures and takes none apart.'),
        (("--model", "nowhere"), 'There is no model "nowhere" that takes photos apart.'),
        (("--model", "sd15"), "draws pictures"),
        (("--offload", "some"), 'offload="some" is not one of none, model, sequential'),
        (("--model", ".", "-O", "quantize=nf4", "--device", "cpu"), "needs a GPU of NVIDIA's"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(tmp_path, monkeypatch, photo, words, told) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    Image.fromarray(quantize(photo)).save("photo.png")
    code, out, talk = run("photo.png", "--method", "qwen", *words)
    assert code == 2, talk
    assert out == "" and told in talk and "Traceback" not in talk
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_one_photo_at_a_time_and_no_drawing(tmp_path, monkeypatch, photo, folder) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(quantize(photo)).save(name)
    code, _, talk = run("a.png", "b.png", "--method", "qwen", "--jobs", "2")
    assert code == 2 and "one photo at a time" in talk
    for name in (str(folder), "qwen-image-layered"):
        with pytest.raises(LayercliError, match="takes photos apart") as caught:
            catalog.load_model(name)
        assert "--method qwen" in caught.value.hint


def test_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    for part in folder.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / "vae").unlink()
    (tmp_path / "vae").mkdir()
    with pytest.raises(LayercliError, match="vae"):
        load_qwen(str(tmp_path), "cpu", "float32")
