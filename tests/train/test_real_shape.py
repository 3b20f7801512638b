"""A training step at SD 1.5's real shape, on a device that reckons shapes and no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.models.clip_text import chunked, words_in
from layercli.models.dreamlayer import DreamLayer, context_level
from layercli.models.family import Conditioning, Kind
from layercli.models.frames import LayerPrompts
from layercli.models.layerdiff import LayerDiff, Settings
from layercli.models.sd15 import SD15Model
from layercli.train import dreamlayer, layerdiff
from layercli.train._layered import Batch
from tests import tiny

META = torch.device("meta")
TEXTS = LayerPrompts(
    background="a meadow", foregrounds=("a cat", "a ball"), whole="a cat and a ball, a meadow"
)


class Shapes(SD15Model):
    """SD 1.5 on the meta device; words alone are real, because code asks where they are."""

    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        tokens = torch.empty(len(prompts), 77, 768, device=META)
        return Conditioning(tokens=tokens, summary=tokens[..., 0], kinds=tuple(kinds))

    def words(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        ids = chunked(self.tokenizer, prompts, 77)
        return ids.flatten(1), words_in(ids, self.tokenizer).flatten(1)


class Pictures:
    """Two pictures of two foregrounds at 512 px."""

    def batch_at(self, step: int) -> Batch:
        latents = torch.empty(2, 4, 4, 64, 64, device=META)
        return Batch(frames=latents, alphas=latents[:, :, 0], masks=latents, prompts=[TEXTS, TEXTS])


class Unwritten:
    """A ledger that asks for no numbers."""

    def __init__(self) -> None:
        self.parts: set[str] = set()

    def add(self, **parts: Tensor) -> None:
        assert all(value.shape == () for value in parts.values())
        self.parts |= set(parts)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    widths = (320, 640, 1280, 1280)
    with META:
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, block_out_channels=widths, attention_head_dim=8
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    words = tiny.tokenizer(tmp_path_factory.mktemp("words"))
    words.model_max_length = 77
    schedule = Schedule.scaled_linear(steps_offset=1)
    return Shapes(unet, vae, nn.Identity(), words, schedule, device=META)


STAGES: dict[str, tuple[Any, Any, Any, set[str]]] = {
    "dreamlayer": (
        dreamlayer.Objective,
        # Eq 9 asks for the numbers of its times: it is tested where there are some.
        dreamlayer.Options(carry=False),
        lambda unet: DreamLayer(unet),
        {"noise", "context", "layout"},
    ),
    "layerdiff": (
        layerdiff.Objective,
        layerdiff.Options(),
        lambda unet: LayerDiff(unet, Settings(masks=True)),
        {"noise"},
    ),
}
TRAINED = {"dreamlayer": 6_519_946, "layerdiff": 6_994_565}
"""Parameters an adapter for SD 1.5 trains."""


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_training_step_has_sd15s_shapes(model: Shapes, stage: str, tmp_path: Path) -> None:
    objective_of, options, make, parts = STAGES[stage]
    with META:
        adapter = make(model.unet)
    objective = objective_of(adapter, model, Pictures(), options)
    objective.ledger = Unwritten()
    loss = objective(3)
    assert loss.shape == () and loss.device == META and objective.ledger.parts == parts
    loss.backward()
    trained = dict(adapter.named_parameters())
    assert {name for name, p in trained.items() if p.grad is None or p.grad.shape != p.shape} == set()
    assert all(p.grad is None for p in model.unet.parameters())
    count = sum(p.numel() for p in trained.values())
    assert count == TRAINED[stage]
    file = adapter.to_empty(device="cpu").save(tmp_path / stage) / "adapter.safetensors"
    assert 0 < file.stat().st_size - 2 * count < 64 * 1024  # float16, and the names
    assert file.stat().st_size < 16 * 2**20
    assert context_level(model.unet) == 2
