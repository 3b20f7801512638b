"""Architectures have as many parameters as were published, counted without any weights."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from layercli.core.errors import LayercliError
from layercli.models import embedded_shapes
from layercli.models.catalog import WEIGHTS
from layercli.models.structures import STRUCTURES, chosen, count


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_architecture_has_the_published_number_of_parameters(name: str) -> None:
    assert count(name).counted == STRUCTURES[name].parameters


@pytest.mark.parametrize("part", ["unet", "autoencoder", "text"])
def test_what_ships_holds_tensors_of_the_names_and_shapes_that_are_counted(part: str) -> None:
    with torch.device("meta"):
        built = getattr(embedded_shapes, part)()
    tensors = built if isinstance(built, dict) else built.state_dict()
    held = {}
    for path in (WEIGHTS / "embedded" / part).glob("*.safetensors"):
        with safe_open(path, "np") as file:
            held |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert held == {key: tuple(getattr(value, "shape", value)) for key, value in tensors.items()}


def test_a_model_means_all_its_parts_and_nothing_means_everything() -> None:
    assert chosen(["sd15"]) == ("sd15.unet", "sd15.vae", "sd15.text_encoder")
    assert chosen(["sdxl.unet", "sdxl"])[0] == "sdxl.unet"
    assert len(chosen(["sdxl.unet", "sdxl"])) == len(chosen(["sdxl"]))
    assert chosen([]) == tuple(STRUCTURES)


def test_an_unknown_name_has_a_near_one() -> None:
    with pytest.raises(LayercliError, match="sdxxl") as caught:
        chosen(["sdxxl"])
    assert "sdxl" in caught.value.hint


def test_the_table_imports_no_torch() -> None:
    code = "import sys, layercli.models.structures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
