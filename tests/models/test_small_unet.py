"""The embedded model's own UNet is diffusers' to the last bits, in both directions, without its import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from layercli.core.errors import LayercliError
from layercli.diffusion.schedule import Schedule
from layercli.models.catalog import WEIGHTS
from layercli.models.dreamlayer import DreamLayer
from layercli.models.dreamlayer_text import layered_text
from layercli.models.embedded import EmbeddedModel
from layercli.models.embedded_network import with_placed
from layercli.models.frames import LayerPrompts
from layercli.models.layerdiff import LayerDiff
from layercli.models.layerdiff_text import layer_text
from layercli.models.small_unet import PLACED, SmallUNet
from tests import tiny

SHIPPED = WEIGHTS / "embedded" / "unet"


def _asked(side: tuple[int, int], kinds: int = 3) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    text = torch.randn(4, 16, 256, generator=rng)
    text[0] = 0
    return {
        "sample": torch.randn(4, 12, *side, generator=rng),
        "timestep": torch.tensor([999, 500, 3, 0]),
        "encoder_hidden_states": text,
        "class_labels": torch.arange(4) % kinds,
    }


@pytest.mark.parametrize("side", [(16, 16), (20, 28), (17, 13)])
def test_it_answers_as_diffusers_does_on_the_weights_that_ship(side: tuple[int, int]) -> None:
    """In double precision: in single, what is rounded otherwise grows to some 1e-5 on trained weights."""
    theirs = UNet2DConditionModel.from_pretrained(SHIPPED, torch_dtype=torch.float32).eval().double()
    ours = SmallUNet.from_folder(SHIPPED).double()
    asked = {
        name: value.double() if value.is_floating_point() else value for name, value in _asked(side).items()
    }
    with torch.inference_mode():
        torch.testing.assert_close(ours(**asked)[0], theirs(**asked).sample, atol=1e-6, rtol=0)


def test_diffusers_reads_what_it_writes_in_shards(tmp_path: Path) -> None:
    ours = tiny.embedded_unet()
    ours.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    theirs = UNet2DConditionModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            ours(**_asked((16, 16)))[0], theirs(**_asked((16, 16))).sample, atol=1e-5, rtol=0
        )
    again = SmallUNet.from_folder(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True))


def test_smaller_weights_leave_no_shard_of_larger_ones(tmp_path: Path) -> None:
    tiny.embedded_unet().save_pretrained(tmp_path, max_shard_size="200KB")
    tiny.embedded_unet().save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]


@pytest.mark.parametrize(("name", "value"), [("act_fn", "gelu"), ("use_linear_projection", True)])
def test_a_network_of_another_build_is_refused_by_what_differs(
    tmp_path: Path, name: str, value: object
) -> None:
    tiny.embedded_unet().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(LayercliError, match=f"{name} is "):
        SmallUNet.from_folder(tmp_path)


def test_a_kind_for_placed_foregrounds_begins_as_that_of_foregrounds() -> None:
    before = tiny.embedded_unet()
    asked = _asked((16, 16)) | {"class_labels": torch.zeros(4, dtype=torch.long)}
    with torch.inference_mode():
        known = before(**asked)[0]
        more = with_placed(before)
        placed = more(**asked | {"class_labels": torch.full((4,), PLACED)})[0]
    assert more.config.num_class_embeds == PLACED + 1
    assert torch.equal(known, placed)
    assert with_placed(more) is more


@pytest.mark.parametrize(("known", "label"), [(False, 0), (True, PLACED)])
def test_layers_are_placed_foregrounds_to_a_network_that_knows_them(known: bool, label: int) -> None:
    unet = with_placed(tiny.embedded_unet()) if known else tiny.embedded_unet()
    model = EmbeddedModel(unet, tiny.autoencoder(), tiny.words(), Schedule.cosine())
    prompts = LayerPrompts(background="a sea", foregrounds=("a cat", "a boat"), whole="a cat, a boat, a sea")
    frames = layered_text(model, DreamLayer(model.unet), [prompts], model.native_size).conditioning
    layers = layer_text(model, LayerDiff(model.unet), [prompts], model.native_size).conditioning
    assert frames.class_labels is not None and layers.class_labels is not None
    assert frames.class_labels.tolist() == [1, label, label, 2]
    assert layers.class_labels.tolist() == [1, label, label]
    alone = model.encode_text(["a cat"], ["foreground"], model.native_size).class_labels
    assert alone is not None and alone.tolist() == [0]


def test_loading_imports_neither_diffusers_nor_the_compiler() -> None:
    code = (
        "import sys\nfrom layercli.models.catalog import load_model\nload_model('embedded', 'cpu')\n"
        "print([name for name in ('diffusers', 'transformers', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
