"""The classifier's stage on a tiny corpus: what it sees, what it is tested on, what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.data import corpus
from layercli.data.captions import COMMON_NOUNS, FAMILIAR_NOUNS, familiar_noun
from layercli.train import classifier
from layercli.vision.object_net import load_object_net
from tests.data.mini_corpus import make_corpus


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classifier")
    make_corpus(root / "corpus", views=12)
    return corpus.build(corpus.Options(corpus=str(root / "corpus"), out=str(root / "data"), size=64))


def options(data: Path, out: Path, **settings: object) -> classifier.Options:
    given = {
        "data": str(data), "out": str(out), "steps": 30, "batch": 16, "channels": (8, 8, 16, 16), "warmup": 5,
        "ema": 0.8, "precision": "fp32", "device": "cpu",
    }  # fmt: skip
    return classifier.Options(**(given | settings))  # type: ignore[arg-type]


def test_a_hundred_nouns_the_common_ones_among_them():
    assert len(FAMILIAR_NOUNS) == len(set(FAMILIAR_NOUNS)) == 100
    assert set(COMMON_NOUNS) <= set(FAMILIAR_NOUNS)
    assert familiar_noun("a red apple, sliced") == "apple"
    assert familiar_noun("a soccer ball") == "ball"
    assert familiar_noun("an unusual contraption") is None
    assert familiar_noun("a hot dog") is None


def test_what_is_tested_is_not_trained_on(data: Path, tmp_path: Path):
    examples = classifier.Examples(options(data, tmp_path), lambda done, total: None)
    kept = {(pictures.rows[i]["member"]) for pictures, i in classifier.kept_back(data)}
    with (data / "index.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    assert kept and len(examples.views) == len([r for r in rows if r["split"] == "train"]) - len(
        [r for r in rows if r["split"] == "train" and r["member"] in kept]
    )
    sofas = {row["member"] in kept for row in rows if "sofa" in row["member"]}
    assert len(sofas) == 1  # views of one model are kept together


def test_batches_depend_on_the_step_alone(data: Path, tmp_path: Path):
    examples = classifier.Examples(options(data, tmp_path), lambda done, total: None)
    first, again, other = examples.batch_at(3), examples.batch_at(3), examples.batch_at(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    views, nouns, styles = first
    assert views.shape == (16, 4, 64, 64) and views.min() >= -1 and views.max() <= 1
    assert (nouns >= 0).float().mean() > 0.5 and styles.min() >= 0


def test_augmentation_keeps_colour_under_alpha():
    generator = torch.Generator().manual_seed(0)
    made = classifier.augmented(torch.rand(8, 4, 80, 80), generator)
    assert made.shape == (8, 4, 64, 64)
    assert (made[:, :3] <= made[:, 3:] + 1e-6).all() and made.min() >= 0


def test_it_learns_writes_its_ceiling_and_leaves_references(data: Path, tmp_path: Path):
    folder = classifier.train(options(data, tmp_path, steps=60))
    net, config = load_object_net(folder)
    ceiling = config["ceiling"]
    assert ceiling["pictures"] > 0 and set(ceiling["by_noun"]) <= set(FAMILIAR_NOUNS)
    assert ceiling["top5"] > 0.4  # of a hundred names, after sixty steps
    from safetensors.numpy import load_file

    kept = load_file(folder / "reference.safetensors")
    assert set(kept) == {"foreground", "background"}
    assert all(values.dtype == np.float16 and values.shape[1] == net.width for values in kept.values())
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]


def test_a_data_set_without_such_things_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(classifier, "familiar_noun", lambda caption: None)
    with pytest.raises(LayercliError, match="shows one of the 100 nouns"):
        classifier.Examples(options(data, tmp_path), lambda done, total: None)
