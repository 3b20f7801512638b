"""What a folder or a file of one's own counts for memory is what lies in it, by its headers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from layercli.models import offload, published
from layercli.models.catalog import load_model
from layercli.models.memory import SHAPES
from layercli.models.own_shape import shape_of, weights_in
from tests import tiny
from tests.models import original_names


def in_networks(folder: Path) -> int:
    """Parameters of an opened model, those that its networks share once."""
    model = load_model(str(folder), "cpu")
    weights = [weight for network in offload.networks_of(model) for weight in network.parameters()]
    return sum({weight.data_ptr(): weight.numel() for weight in weights}.values())


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_folder_counts_what_is_opened(tmp_path: Path, family: str) -> None:
    folder = tiny.save(family, tmp_path / "mine")
    shape, model = shape_of(str(folder)), load_model(str(folder), "cpu")
    assert shape is not None and shape.parameters == in_networks(folder) < SHAPES[family].parameters
    assert shape.native == model.native_size.width
    assert shape.frame < SHAPES[family].frame and shape.layer < SHAPES[family].layer
    half = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(next(iter(weights_in(folder / "unet"))), half)  # of two number types one is read
    assert shape_of(str(folder)) == shape


def test_a_file_counts_as_its_folder(tmp_path: Path) -> None:
    folder = tiny.save("sd15", tmp_path / "folder")
    file = tmp_path / "mine.safetensors"
    original_names.save(original_names.checkpoint("sd15", tmp_path / "words"), file)
    one, other = shape_of(str(file)), shape_of(str(folder))
    assert one is not None and other is not None
    assert dict(one.counts) == dict(other.counts)
    assert (one.frame, one.picture, one.layer) == (other.frame, other.picture, other.layer)
    file.write_bytes(file.read_bytes()[:-1])
    assert shape_of(str(file)) is None  # cut off, as is told when it is opened


def test_foregrounds_of_their_own_count_what_they_do_not_share(tmp_path: Path) -> None:
    folder = tiny.save("sdxl", tmp_path / "mine")
    alone = shape_of(str(folder))
    tiny.layerdiffuse(folder / "layerdiffuse", "sdxl")
    both = shape_of(str(folder))
    assert alone is not None and both is not None
    assert both.parameters == in_networks(folder) > alone.parameters


def hollow(network: Any, file: Path) -> None:
    """A safetensors file with a network's names and shapes in float16, whose numbers take no disk."""
    header, end = {}, 0
    for name, tensor in network.state_dict().items():
        begin, end = end, end + 2 * tensor.numel()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)


def test_a_folder_of_the_published_shape_counts_as_its_row(tmp_path: Path) -> None:
    with torch.device("meta"):
        parts = {
            "unet": published.sd15_unet(),
            "vae": published.sd15_vae(),
            "text_encoder": published.clip_l(),
        }
    for name, network in parts.items():
        stem = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        hollow(network, tmp_path / name / f"{stem}.fp16.safetensors")
        (tmp_path / name / "config.json").write_text(
            json.dumps(dict(network.config.to_dict() if name == "text_encoder" else network.config))
        )
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    own, row = shape_of(str(tmp_path)), shape_of("sd15")
    assert own is not None and row is SHAPES["sd15"]
    assert own.stored(2) == row.stored(2)
    assert (own.native, own.layer, own.frame, own.picture) == (row.native, row.layer, row.frame, row.picture)


def test_what_is_too_small_to_ask_and_what_is_not_there_counts_nothing(tmp_path: Path) -> None:
    assert shape_of("embedded") is None and shape_of(str(tmp_path / "none")) is None
    assert shape_of(str(tmp_path)) is None
    folder = tiny.save("sd15", tmp_path / "mine")
    (folder / "unet" / "config.json").write_text(json.dumps({"sample_size": [16, 16]}))
    assert shape_of(str(folder)) is None
