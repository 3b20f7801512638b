"""CLIP from a local folder: a tiny real one with random weights, against transformers' own path."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from layercli.core.errors import LayercliError
from layercli.evaluate import aesthetic
from layercli.evaluate import clip as clip_score
from layercli.evaluate._sample import NotJudged
from layercli.vision.aesthetic import WIDTHS, load_head
from layercli.vision.clip import load_clip
from layercli.vision.features import open_net
from tests import tiny
from tests.evaluate.samples import ground, sample, square


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


def test_pictures_and_texts_are_unit_vectors_of_one_space(folder: Path):
    clip = load_clip(folder)
    pictures = clip.images([ground(0, 40), ground(1, 64)])
    texts, cut = clip.texts(["a cat", "a " + "very " * 30 + "long prompt"])
    assert np.allclose(np.linalg.norm(pictures, axis=1), 1) and np.allclose(np.linalg.norm(texts, axis=1), 1)
    assert pictures.shape[1] == texts.shape[1] == clip.model.config.projection_dim
    assert cut == [False, True]


def test_the_similarity_is_the_models_own(folder: Path):
    clip = load_clip(folder)
    size = clip.side
    picture = ground(3, size)
    tokens = clip.tokenizer(["a cat"], padding="max_length", max_length=clip.longest, return_tensors="pt")
    pixels = np.rint(picture[..., :3] * 255) / 255
    plain = (pixels - np.array(clip.mean)) / np.array(clip.std)
    with torch.inference_mode():
        wanted = clip.model(
            pixel_values=torch.from_numpy(np.moveaxis(plain, -1, 0)[None]).float(),
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
        )
    ours = clip.images([picture]) @ clip.texts(["a cat"])[0].T
    scale = float(clip.model.logit_scale.detach().exp())
    assert ours[0, 0] * scale == pytest.approx(float(wanted.logits_per_image[0, 0]), rel=1e-4)


def test_a_clip_is_a_feature_net(folder: Path):
    net = open_net(str(folder))
    assert net.look([ground()], "composite").shape == (1, 8)
    assert net.settings["net"] == "CLIP tiny-clip (transformers)"


def test_the_clip_score_of_layers_is_the_scaled_cosine(folder: Path):
    made = dataclasses.replace(sample(square()), prompt="a cat that sits on a red sofa")
    options = clip_score.Options(model=str(folder))
    found = clip_score.measure(made, options)
    net = load_clip(folder)
    cosine = (net.images([made.composite]) @ net.texts(["a cat that sits on a red sofa"])[0].T).item()
    assert found["whole"] == pytest.approx(100 * max(cosine, 0), abs=1e-6)
    hessel = clip_score.measure(made, dataclasses.replace(options, scale="2.5"))
    assert hessel["layer"] == pytest.approx(found["layer"] / 40)
    assert found["cut"] == pytest.approx(1 / 2)  # the text tower reads sixteen letters
    assert clip_score.settings(options)["weights"] == net.digest
    with pytest.raises(NotJudged, match="has a prompt"):
        clip_score.measure(sample(), options)
    with pytest.raises(LayercliError, match="none is part of layercli"):
        clip_score.Options()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_the_aesthetic_head_is_five_linear_layers_on_unit_features(folder: Path, tmp_path: Path, suffix: str):
    torch.manual_seed(0)
    widths = (8, *WIDTHS)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    file = tmp_path / f"head.{suffix}"
    # Dropout stands between the published head's layers, which is why their numbers have gaps.
    tensors = {
        f"layers.{place}.{name}": value.detach()
        for place, layer in zip((0, 2, 4, 6, 7), layers, strict=True)
        for name, value in layer.named_parameters()
    }
    save_file(tensors, file) if suffix == "safetensors" else torch.save(tensors, file)
    options = aesthetic.Options(model=str(folder), head=str(file))
    made = sample(square())
    wanted = torch.from_numpy(load_clip(folder).images([made.composite])).float()
    for layer in layers:
        wanted = layer(wanted)
    assert aesthetic.measure(made, options)["score"] == pytest.approx(wanted.item(), rel=1e-4)
    with pytest.raises(LayercliError, match="reads 8 features"):
        load_head(file).scores(np.ones((1, 9)))
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(LayercliError, match="cannot be read"):
        load_head(tmp_path / "other.safetensors")


def test_other_folders_are_refused(tmp_path: Path):
    with pytest.raises(LayercliError, match="holds no CLIP model"):
        open_net(str(tmp_path))
