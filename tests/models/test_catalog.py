"""Opening models by name and by folder, and what is said when that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from layercli.core.errors import LayercliError
from layercli.diffusion.sample import frame_noise
from layercli.models.catalog import MODELS, folder_of, load_model
from tests import tiny


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(request.param, tmp_path_factory.mktemp("saved") / request.param)


def copy_of(folder: Path, to: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


def test_a_folder_opens_as_the_model_that_was_saved(folder: Path) -> None:
    model = load_model(str(folder), device="cpu")
    twin = tiny.model(folder.name, folder / "words")
    x = frame_noise(0, [0], model.latent_shape(model.native_size))
    with torch.no_grad():
        ours, again, theirs = (
            m.denoiser(m.encode_text(["a cat"], ["global"], m.native_size))(x, torch.tensor([77]))
            for m in (model, load_model(str(folder), device="cpu"), twin)
        )
    assert torch.equal(ours, again)
    for one, other in zip(model.unet.parameters(), twin.unet.parameters(), strict=True):
        assert torch.equal(one, other)
    # Weights in a mapped file begin at other addresses, and some processors' products then round otherwise.
    assert torch.allclose(ours, theirs, atol=1e-5)
    hashes = model.weight_hashes()
    assert len(hashes) >= 3 and all(len(digest) == 64 for digest in hashes.values())


def test_a_truncated_weight_file_is_named(folder: Path, tmp_path: Path) -> None:
    broken = copy_of(folder, tmp_path / "broken")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(LayercliError, match=r"unet.*(was cut off: it has \d+ bytes|damaged)") as caught:
        load_model(str(broken), device="cpu")
    assert caught.value.hint


def test_a_missing_weight_file_is_named(folder: Path, tmp_path: Path) -> None:
    broken = copy_of(folder, tmp_path / "broken")
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(LayercliError, match=r"diffusion_pytorch_model|no weights in .*unet"):
        load_model(str(broken), device="cpu")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    broken = tiny.save("embedded", tmp_path / "embedded")
    config = broken / "unet" / "config.json"
    settings = json.loads(config.read_text()) | {"block_out_channels": [16, 32, 48]}
    config.write_text(json.dumps(settings))
    with pytest.raises(LayercliError, match="do not fit"):
        load_model(str(broken), device="cpu")


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_weights_that_leave_a_part_empty_are_refused(tmp_path: Path, part: str) -> None:
    folder = tiny.save("sd15", tmp_path / "sd15")
    file = folder / f"{part}.safetensors"
    tensors = load_file(file)
    lost = sorted(name for name in tensors if "norm" in name)[0]
    del tensors[lost]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(LayercliError, match=lost.rpartition(".")[2]):
        load_model(str(folder), device="cpu")


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_model_without_its_words_is_refused(tmp_path: Path, family: str) -> None:
    """transformers makes an empty tokenizer of an empty folder, and every prompt would be the same."""
    folder = tiny.save(family, tmp_path / family)
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(LayercliError, match=r"words are missing: there is no vocab\.json") as caught:
        load_model(str(folder), device="cpu")
    assert caught.value.hint


@pytest.mark.parametrize(("said", "really"), [("sd15", "sdxl"), ("sd15", "embedded"), ("sdxl", "sd15")])
def test_a_network_of_another_family_is_refused(tmp_path: Path, said: str, really: str) -> None:
    folder = tiny.save(said, tmp_path / said)
    tiny.UNETS[really]().save_pretrained(folder / "unet")
    with pytest.raises(LayercliError, match="of another family"):
        load_model(str(folder), device="cpu")


def test_parts_of_several_models_are_refused(tmp_path: Path) -> None:
    folder = tiny.save("sd15", tmp_path / "sd15")
    config = {name: value for name, value in tiny.sd15_unet().config.items() if not name.startswith("_")}
    UNet2DConditionModel(**{**config, "in_channels": 9}).save_pretrained(folder / "unet")
    with pytest.raises(LayercliError, match="the UNet reads 9 channels, and gets 4"):
        load_model(str(folder), device="cpu")


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    broken = tiny.save("embedded", tmp_path / "embedded")
    (broken / "autoencoder" / "config.json").write_text("{")
    with pytest.raises(LayercliError, match=r"autoencoder/config\.json"):
        load_model(str(broken), device="cpu")


def test_sharded_weights_are_read_and_a_lost_shard_is_named(tmp_path: Path) -> None:
    folder = tiny.save("embedded", tmp_path / "embedded")
    whole = load_model(str(folder), device="cpu")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    tiny.embedded_unet().save_pretrained(folder / "unet", max_shard_size="500KB")
    sharded = load_model(str(folder), device="cpu")
    assert len(sharded.weight_files) > len(whole.weight_files)
    states = [model.unet.state_dict() for model in (whole, sharded)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    lost = sorted((folder / "unet").glob("*-of-*.safetensors"))[0]
    lost.unlink()
    with pytest.raises(LayercliError, match=lost.name):
        load_model(str(folder), device="cpu")


def test_half_precision_weights_compute_in_float32_on_a_cpu(tmp_path: Path) -> None:
    folder = tiny.save("embedded", tmp_path / "embedded")
    tiny.embedded_unet().half().save_pretrained(folder / "unet")
    assert {p.dtype for p in load_model(str(folder), device="cpu").unet.parameters()} == {torch.float32}


def test_an_unknown_name_lists_the_models() -> None:
    with pytest.raises(LayercliError, match="embeded") as caught:
        load_model("embeded")
    assert 'Did you mean "embedded"?' in caught.value.hint
    assert all(name in caught.value.hint for name in MODELS)


def test_a_folder_that_is_not_there_or_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayercliError, match="nowhere"):
        load_model(str(tmp_path / "nowhere"))
    with pytest.raises(LayercliError, match=r"model_index\.json"):
        load_model(str(tmp_path))
    for kind in ('"FluxPipeline"', '["StableDiffusionPipeline"]'):
        (tmp_path / "model_index.json").write_text(f'{{"_class_name": {kind}}}')
        with pytest.raises(LayercliError, match="which is not known"):
            load_model(str(tmp_path))


def test_a_hub_model_that_is_not_here_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert folder_of("sd15") is None
    with pytest.raises(LayercliError, match="OpenRAIL") as caught:
        load_model("sd15")
    assert "layercli models pull sd15" in caught.value.hint


def test_a_hub_model_in_the_cache_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--stable-diffusion-v1-5--stable-diffusion-v1-5"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc123")
    snapshot = tiny.save("sd15", repository / "snapshots" / "abc123")
    assert folder_of("sd15") == snapshot
    assert load_model("sd15", device="cpu").name == "sd15"


def test_listing_the_models_imports_no_torch() -> None:
    code = "import sys, layercli.models.catalog as c; c.folder_of('sdxl'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
