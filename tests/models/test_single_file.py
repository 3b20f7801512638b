"""A checkpoint in one file is the model that its folder is; other files are refused by what they are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from layercli.core.errors import LayercliError
from layercli.diffusion.sample import frame_noise
from layercli.models import published
from layercli.models.catalog import CATALOG, load_model
from layercli.models.checkpoint_kinds import kind_of
from tests import tiny
from tests.models import original_names

FAMILIES = ("sd15", "sdxl")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, and beside it one file with the same weights."""
    place = tmp_path_factory.mktemp(family)
    tiny.save(family, place / "folder")
    original_names.save(original_names.checkpoint(family, place / "words"), place / "mine.safetensors")
    return place


@pytest.fixture
def beside(made: Path, tmp_path: Path) -> Path:
    """The file alone in a place with a folder of its name, which has settings and words and no weights."""
    shutil.copy(made / "mine.safetensors", tmp_path)
    for path in (made / "folder").rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            to = tmp_path / "mine" / path.relative_to(made / "folder")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    return tmp_path / "mine.safetensors"


def test_the_file_is_the_model_of_the_folder(made: Path, beside: Path, family: str) -> None:
    one, other = (load_model(str(path), device="cpu") for path in (beside, made / "folder"))
    assert type(one) is type(other)
    networks = ["unet", "text", *(["second_text"] if family == "sdxl" else [])]
    pairs = [(getattr(one, name), getattr(other, name)) for name in networks] + [
        (one.codec.vae, other.codec.vae)
    ]
    for ours, theirs in pairs:
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor), name
    x = frame_noise(0, [0], one.latent_shape(one.native_size))
    with torch.no_grad():
        ours, theirs = (
            model.denoiser(model.encode_text(["a cat"], ["global"], model.native_size))(x, torch.tensor([77]))
            for model in (one, other)
        )
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert list(one.weight_hashes()) == [f"{beside.parent.name}/mine.safetensors"]


def test_half_weights_compute_in_float32_on_a_cpu(beside: Path) -> None:
    from safetensors.torch import load_file

    save_file({name: tensor.half() for name, tensor in load_file(beside).items()}, beside)
    model = load_model(str(beside), device="cpu")
    assert {parameter.dtype for parameter in model.unet.parameters()} == {torch.float32}


def test_without_words_it_says_which_small_fetch_brings_them(
    made: Path, family: str, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(LayercliError, match="holds no words") as caught:
        load_model(str(made / "mine.safetensors"), device="cpu")
    assert f"layercli models pull {family}-words" in caught.value.hint
    assert not CATALOG[f"{family}-words"].restricted


def test_without_a_folder_the_settings_are_the_published_ones(
    made: Path, family: str, monkeypatch, tmp_path
) -> None:
    """The words lie in the cache; the tiny weights then leave most places of the published UNet empty."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / f"models--{CATALOG[family].hub.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    for part in ("tokenizer", "tokenizer_2"):
        to = place / "snapshots" / "abc" / part
        shutil.copytree(made / "words", to)
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            (to / name).write_text("{}")
    with torch.device("meta"):
        full = {"sd15": published.sd15_unet, "sdxl": published.sdxl_unet}[family]()
    with pytest.raises(LayercliError, match=r"The UNet in .* has no down_blocks") as caught:
        load_model(str(made / "mine.safetensors"), device="cpu")
    [missing] = re.findall(r"\((\d+) missing\)", str(caught.value))
    assert len(full.state_dict()) / 2 < int(missing) < len(full.state_dict())


def test_words_of_the_cache_do_where_the_folder_beside_has_none(
    beside: Path, family: str, monkeypatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(beside.parent))
    place = beside.parent / f"models--{CATALOG[family].hub.replace('/', '--')}" / "snapshots" / "main"
    for part in ("tokenizer", "tokenizer_2"):
        for name in CATALOG["sd15-words"].files:
            to = place / part / Path(name).name
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text("{}")
        if (beside.with_suffix("") / part).is_dir():
            shutil.copytree(beside.with_suffix("") / part, place / part, dirs_exist_ok=True)
            shutil.rmtree(beside.with_suffix("") / part)
    assert load_model(str(beside), device="cpu").words(["a cat"])[1].any()


def test_a_tensor_of_another_shape_is_named(beside: Path) -> None:
    from safetensors.torch import load_file

    name = "model.diffusion_model.time_embed.0.weight"
    tensors = load_file(beside)
    save_file(tensors | {name: torch.zeros(64, 17)}, beside)
    with pytest.raises(LayercliError, match=r"time_embedding.linear_1.weight is 64 x 17, not 64 x 16"):
        load_model(str(beside), device="cpu")


@pytest.mark.parametrize(
    "lost", ["attn1.to_k", "first_stage_model.decoder.conv_out", "final_layer_norm.bias"]
)
def test_a_missing_tensor_is_named(beside: Path, lost: str) -> None:
    from safetensors.torch import load_file

    tensors = load_file(beside)
    kept = {name: tensor for name, tensor in tensors.items() if lost not in name}
    assert len(kept) < len(tensors)
    save_file(kept, beside)
    with pytest.raises(LayercliError, match=r"has no .*missing"):
        load_model(str(beside), device="cpu")


def test_a_cut_file_is_named(beside: Path) -> None:
    beside.write_bytes(beside.read_bytes()[:-50])
    with pytest.raises(LayercliError, match="cut off"):
        load_model(str(beside), device="cpu")


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickled_files_are_never_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'echo ran > ran'\ntR.")
    with pytest.raises(LayercliError, match="can run code") as caught:
        load_model(str(path))
    assert ".safetensors" in caught.value.hint


UNET = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["lora_unet_down_blocks_0.lora_up.weight", "lora_te_x.alpha", "lora_te_y.alpha"], "a LoRA"),
        (["unet.down_blocks.0.attn.to_q.lora_A.weight"], "a LoRA"),
        (["diffusion_model.input_blocks.4.1.attn1.to_q.weight::lora::0"], "LayerDiffuse's weights"),
        (["hookers.layers.0.to_q_lora.0.down.weight"], "LayerDiffuse's weights"),
        (["emb_params"], "an embedding"),
        (["clip_g", "clip_l"], "an embedding"),
        (["<my-cat>"], "an embedding or a single tensor"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        (["double_blocks.0.img_attn.qkv.weight"], "the Flux family"),
        (["model.diffusion_model.joint_blocks.0.x"], "the SD 3 family"),
        ([UNET, "first_stage_model.x", "cond_stage_model.model.x"], "the SD 2 family"),
        ([UNET, "first_stage_model.x", "conditioner.embedders.0.model.x"], "the refiner"),
        ([UNET], "no autoencoder and no text encoder"),
        (["down_blocks.0.resnets.0.conv1.weight"], "one network with diffusers' names"),
        (["text_model.encoder.x"], "a text encoder alone"),
        (["encoder.conv_in.weight"], "an autoencoder alone"),
        (["layer.0", "layer.1", "layer.2"], "no model of a family that is known"),
    ],
)
def test_other_files_are_refused_by_what_they_are(tmp_path: Path, names: list[str], sentence: str) -> None:
    path = tmp_path / "file.safetensors"
    save_file({name: torch.zeros(1) for name in names}, path)
    with pytest.raises(LayercliError, match=re.escape(sentence)) as caught:
        load_model(str(path))
    assert caught.value.hint


def test_an_inpainting_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    tensors = {UNET: torch.zeros(4, 9, 3, 3), "first_stage_model.x": torch.zeros(1)}
    save_file(tensors | {"cond_stage_model.transformer.x": torch.zeros(1)}, path)
    with pytest.raises(LayercliError, match="9 channels"):
        kind_of(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"PK\x03\x04" * 20, b"\xff" * 40, (8).to_bytes(8, "little") + b"[1,2,3] "]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(LayercliError, match="no safetensors file"):
        load_model(str(path))


def test_another_suffix_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"")
    with pytest.raises(LayercliError, match="is no model"):
        load_model(str(tmp_path / "model.zip"))
    with pytest.raises(LayercliError, match="no folder or file"):
        load_model("mine.safetensors")
    with pytest.raises(LayercliError, match="part of models"):
        load_model("layerdiffuse-xl")


def test_the_conversion_fills_every_place_of_the_real_architectures() -> None:
    """On the meta device: the networks of SD 1.5 and SDXL under their original names."""
    from diffusers.loaders import single_file_utils as conversion

    with torch.device("meta"):
        unets = ((published.sd15_unet(), 4), (published.sdxl_unet(), 3))
        vae, text = published.sdxl_vae(), published.clip_bigg()
    for unet, levels in unets:
        state = unet.state_dict()
        original = original_names.unet_names(state, levels=levels, layers=2)
        assert shapes(conversion.convert_ldm_unet_checkpoint(original, unet.config)) == shapes(state)
    original = original_names.vae_names(vae.state_dict(), levels=4)
    assert shapes(conversion.convert_ldm_vae_checkpoint(original, vae.config)) == shapes(vae.state_dict())
    original = original_names.open_clip_names(text.state_dict())
    found = conversion.convert_open_clip_checkpoint(text, original, prefix="conditioner.embedders.1.model.")
    assert shapes(found) == shapes(text.state_dict())


def shapes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
