"""Layered pictures: complete layers, light in the whole alone, filters, resuming, latents together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.data import _layered_set, corpus, layered, layered_latents
from layercli.data._layered_source import ComposedSource, Layered, Limits, areas_of, box_of, fingerprint
from tests import tiny
from tests.data.mini_corpus import make_corpus

SIZE = 64


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared")
    make_corpus(root / "corpus")
    return corpus.build(corpus.Options(corpus=str(root / "corpus"), out=str(root / "data"), size=SIZE))


def settings(prepared: Path, out: Path, **changes: Any) -> layered.Options:
    return layered.Options(data=str(prepared), out=str(out), **({"samples": 6} | changes))


@pytest.fixture(scope="module")
def built(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return layered.build(settings(prepared, tmp_path_factory.mktemp("layered")))


def pictures(folder: Path) -> list[Layered]:
    return [picture for _, shard in _layered_set.read_shards(folder) for picture in shard]


def test_layers_are_complete_and_the_whole_differs_from_their_composite_in_light_alone(built: Path) -> None:
    for picture in pictures(built):
        frames = picture.frames.astype(np.float32) / 255
        assert (frames[0, ..., 3] == 1).all() and (frames[-1, ..., 3] == 1).all()
        plain = frames[0, ..., :3]
        for layer in frames[1:-1]:
            plain = layer[..., :3] * layer[..., 3:] + plain * (1 - layer[..., 3:])
        covered = 1 - np.prod(1 - frames[1:-1, ..., 3], axis=0)
        bare = covered < 0.01
        assert (frames[-1, ..., :3][bare] <= plain[bare] + 2 / 255).all()  # shadows darken what lies around
        assert (frames[-1, ..., :3][bare] < plain[bare] - 0.05).any()
        assert np.abs(frames[-1, ..., :3] - plain).max() < 0.9


def test_rows_say_where_everything_is(built: Path) -> None:
    for picture in pictures(built):
        row, alphas = picture.row, picture.frames[1:-1, ..., 3] / 255
        assert len(row["captions"]) == len(picture.frames) and len(row["nouns"]) == len(alphas) + 1
        assert all(caption in row["captions"][-1] for caption in row["captions"][:-1])
        for alpha, box, area, visible in zip(alphas, row["boxes"], row["areas"], row["visible"], strict=True):
            assert box_of(alpha * 255) == pytest.approx(box, abs=2 / SIZE)
            assert alpha.mean() == pytest.approx(area, abs=0.01)
            assert 0.01 <= area <= 0.8 and visible >= 0.3
            assert alpha[0].max() == 0 or box[1] == 0  # nothing is cut by the frame unseen


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(prepared: Path, tmp_path: Path) -> None:
    sums = []
    for name, changes in (("a", {}), ("b", {"workers": 2}), ("c", {"seed": 1})):
        folder = layered.build(settings(prepared, tmp_path / name, samples=_layered_set.SHARD + 2, **changes))
        sums.append(list(json.loads((folder / "manifest.json").read_text())["sha256"].values()))
    assert sums[0] == sums[1] != sums[2]


def test_a_build_keeps_finished_shards_and_its_checksums_are_true(prepared: Path, tmp_path: Path) -> None:
    folder = layered.build(settings(prepared, tmp_path))
    (tar,) = tmp_path.glob("*.tar")
    before = tar.stat().st_mtime_ns
    layered.build(settings(prepared, tmp_path))
    assert tar.stat().st_mtime_ns == before
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sha256"] == {tar.name: hashlib.sha256(tar.read_bytes()).hexdigest()}
    assert manifest["licences"] == {"CC0-1.0": manifest["pictures"]}
    assert "foregrounds: 1 " in layered.summary(folder)


def test_a_folder_holds_one_set(prepared: Path, built: Path) -> None:
    with pytest.raises(LayercliError, match="other settings"):
        layered.build(settings(prepared, built, smallest=0.2))


def test_limits_are_kept_or_told(prepared: Path) -> None:
    with pytest.raises(LayercliError, match="too small or too large"):
        ComposedSource(prepared, 0, (1.0,), Limits(smallest=0.9, largest=0.95)).draw(0)
    picture = ComposedSource(prepared, 0, (0.0, 0.0, 1.0), Limits(visible=0.6)).draw(0)
    assert len(picture.row["visible"]) == 3 and min(picture.row["visible"]) >= 0.6


def test_what_others_cover_is_counted() -> None:
    back, front = np.zeros((2, 10, 10, 4), np.float32)
    back[:, :5, 3] = 1
    front[:5, :, 3] = 1
    assert areas_of([back, front]) == ([0.5, 0.5], [0.5, 1.0])


def test_near_duplicates_are_left_out() -> None:
    generator = np.random.default_rng(0)
    one, two = (generator.integers(0, 255, (SIZE, SIZE, 4), np.uint8) for _ in range(2))
    almost = one.copy()
    almost[:4, :4] += 1
    marks = [fingerprint(picture) for picture in (one, almost, two)]
    rows = [{"areas": [0.1], "fingerprint": f"{mark:016x}"} for mark in marks]
    assert _layered_set.without_duplicates(rows) == [rows[0], rows[2]]
    two_layers = {"areas": [0.1, 0.1], "fingerprint": rows[0]["fingerprint"]}
    assert _layered_set.without_duplicates([rows[0], two_layers]) == [rows[0], two_layers]


def test_cutting_takes_what_lies_around_an_object_with_it() -> None:
    layer, whole = torch.zeros(1, 4, 9, 9), torch.full((4, 9, 9), 0.25)
    layer[0, :, 4, 4] = 1
    cut = layered_latents.cut_out(layer, whole, 2)
    assert cut[0, 3].sum() == 25 and cut[0, 0, 4, 4] == 1 and cut[0, 0, 2, 2] == 0.25


@pytest.mark.parametrize("family", ["embedded", "sd15"])
def test_frames_of_a_picture_stay_together_as_latents(built: Path, tmp_path: Path, family: str) -> None:
    folder = tiny.save(family, tmp_path / "model")
    options = layered_latents.Options(
        data=str(built), model=str(folder), out=str(tmp_path / "l"), device="cpu"
    )
    out = layered_latents.build(options)
    rows = [json.loads(line) for line in (out / "index.jsonl").read_text().splitlines()]
    (file,) = out.glob("frames-*.npy")
    frames, alphas = np.load(file), np.load(file.with_name(file.name.replace("frames", "alphas")))
    assert len(frames) == sum(len(row["captions"]) for row in rows) == len(alphas)
    assert frames.shape[1] == 2 and not np.array_equal(frames[1, 0], frames[1, 1])
    last = rows[-1]
    span = slice(last["first"], last["first"] + len(last["captions"]))
    assert (alphas[span][[0, -1]] == 255).all() and alphas[span][1].max() < 256
    truth = pictures(built)[-1].frames[1, ..., 3].mean() / 255
    assert alphas[span][1].mean() / 255 == pytest.approx(truth, abs=0.01)
    assert bool(list(out.glob("masks-*.npy"))) == (family == "sd15")
    before = file.stat().st_mtime_ns
    layered_latents.build(options)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(LayercliError, match="another model or of other pictures"):
        layered_latents.build(layered_latents.Options(**{**vars(options), "dilate": 3}))


def test_a_missing_set_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(LayercliError) as caught:
        _layered_set.read_rows(tmp_path)
    assert "layercli data layered" in caught.value.hint
