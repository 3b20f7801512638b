"""CLIP from a local folder: a tiny real one with random weights, against transformers' own path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.vision.clip import load_clip
from layercli.vision.features import open_net
from tests import tiny
from tests.evaluate.samples import ground


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


def test_other_folders_are_refused(tmp_path: Path):
    with pytest.raises(LayercliError, match="holds no CLIP model"):
        open_net(str(tmp_path))
