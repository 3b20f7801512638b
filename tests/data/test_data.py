"""Building data sets: complete, split by model, resumable, the same from the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layercli.core.errors import LayercliError
from layercli.data import captions, composed, corpus
from layercli.data.pictures import Pictures, draw_weights
from tests.data.mini_corpus import NOUNS, make_corpus

SIZE = 64


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    make_corpus(root / "corpus")
    return corpus.build(corpus.Options(corpus=str(root / "corpus"), out=str(root / "data"), size=SIZE))


def test_every_picture_is_there_and_scenes_are_opaque(prepared: Path) -> None:
    objects = Pictures(prepared, kinds=("foreground",))
    held_out = Pictures(prepared, "held-out", ("foreground",))
    assert len(objects) + len(held_out) == 4 * len(NOUNS)
    scenes = Pictures(prepared, kinds=("background",))
    assert len(scenes) == 3 * 3  # three crops each
    assert all((scenes.pixels(i)[..., 3] == 255).all() for i in range(len(scenes)))
    assert objects.pixels(0).shape == (SIZE, SIZE, 4)


def test_a_build_keeps_finished_shards(prepared: Path) -> None:
    file = prepared / "pixels-objects.npy"
    before = file.stat().st_mtime_ns
    corpus.build(corpus.Options(corpus=str(prepared.parent / "corpus"), out=str(prepared), size=SIZE))
    assert file.stat().st_mtime_ns == before


def test_all_views_of_a_model_fall_on_one_side_of_the_split() -> None:
    sides = {
        corpus.is_held_out({"source": "s", "model": "m", "member": str(view)}, share=0.5)
        for view in range(50)
    }
    assert len(sides) == 1
    rows = [{"source": "s", "member": str(i)} for i in range(2000)]
    assert 0.4 < np.mean([corpus.is_held_out(row, share=0.5) for row in rows]) < 0.6


def test_a_missing_manifest_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(LayercliError) as caught:
        corpus.build(corpus.Options(corpus=str(tmp_path), out=str(tmp_path / "out")))
    assert "manifest.jsonl" in caught.value.message and "layercli data corpus" in caught.value.hint


def test_works_under_share_alike_terms_are_left_out(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path)
    manifest = folder / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["orig"] = "povray-examples/usr/share/doc/povray/examples/previews/advanced/abyss.jpg"
    rows[1]["orig"] = "povray-examples/usr/share/doc/povray/examples/previews/objects/bolt.jpg"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["member"] for row in corpus.read_manifest(folder)] == [row["member"] for row in rows[1:]]


def test_an_oblong_object_is_centred_not_stretched() -> None:
    from PIL import Image

    square = corpus.square_object(Image.new("RGBA", (20, 40), (255, 0, 0, 255)), 40)
    assert square.shape == (40, 40, 4)
    assert (square[:, 10:30, 3] == 255).all() and not square[:, :10, 3].any() and not square[:, 30:, 3].any()


def test_composed_pictures_repeat_from_their_seed(prepared: Path) -> None:
    options = composed.Options(data=str(prepared), out="", seed=4)
    first, row = composed.Composer(options).draw_global(3)
    again, _ = composed.Composer(options).draw_global(3)
    other, _ = composed.Composer(options).draw_global(4)
    assert (first == again).all() and not (first == other).all()
    assert (first[..., 3] == 255).all() and row["kind"] == "global" and "a meadow" in row["caption"]


def test_a_shadow_darkens_the_scene_and_leaves_the_object_alone() -> None:
    scene = np.full((64, 64, 3), 0.8, np.float32)
    thing = np.ones((20, 20, 4), np.float32) * np.float32(0.5)
    thing[..., 3] = 1
    placed = composed.place(scene, thing, 0.5, 0.8, np.random.default_rng(0))
    assert np.allclose(placed[31:51, 22:42], 0.5, atol=1e-6)
    outside = np.ones((64, 64), bool)
    outside[31:51, 22:42] = False
    assert (placed[outside] <= 0.8 + 1e-6).all()
    assert placed[51:54, 22:42].mean() < 0.78


def test_a_composed_build_writes_both_kinds_and_resumes(prepared: Path, tmp_path: Path) -> None:
    options = composed.Options(data=str(prepared), out=str(tmp_path), globals=5, places=3)
    composed.build(options)
    kinds = [row["kind"] for row in Pictures(tmp_path).rows]
    assert kinds.count("global") == 5 and kinds.count("background") == 3
    file = next(tmp_path.glob("pixels-*.npy"))
    before = file.stat().st_mtime_ns
    composed.build(options)
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("caption", "noun"),
    [
        ("a soccer ball", "ball"),
        ("a cat face", "cat"),
        ("an oak table", "table"),
        ("a hot dog house", "house"),
        ("a tapir", None),
    ],
)
def test_plain_nouns(caption: str, noun: str | None) -> None:
    assert captions.plain_noun(caption) == noun


def test_common_nouns_share_their_part_evenly() -> None:
    rows = [{"caption": "a cat", "kind": "foreground", "weight": 1.0}] * 9
    rows += [{"caption": "a dog", "kind": "foreground", "weight": 1.0}]
    rows += [{"caption": "a tapir", "kind": "foreground", "weight": 1.0}] * 10
    weights = draw_weights(rows, common_share=0.6)
    assert weights.sum() == pytest.approx(1)
    assert weights[:9].sum() == pytest.approx(0.3) and weights[9] == pytest.approx(0.3)
    assert weights[10:].sum() == pytest.approx(0.4)
    rows += [{"caption": "a red drum", "kind": "foreground", "weight": 1.0}] * 3
    rows += [{"caption": "a tent", "kind": "foreground", "weight": 1.0}]
    weights = draw_weights(rows, common_share=0.5, familiar_share=0.3)
    assert weights.sum() == pytest.approx(1) and weights[:10].sum() == pytest.approx(0.5)
    assert weights[20:23].sum() == pytest.approx(0.15) and weights[23] == pytest.approx(0.15)
    with pytest.raises(LayercliError, match="more than all"):
        draw_weights(rows, common_share=0.6, familiar_share=0.5)
