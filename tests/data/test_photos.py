"""Photos as training pictures: taken apart, filtered, captioned, counted, resumed, and read by training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.pixels import quantize
from layercli.data import _layered_set, layered_latents, photos
from layercli.data._photo_source import Filters, frames_of, square_around
from layercli.data._photo_words import Told, captions_of, told_of
from tests import tiny
from tests.decompose.made import ball, over, wall

RED, GREEN = (0.8, 0.15, 0.1), (0.1, 0.5, 0.2)


def save(path: Path, *shapes: tuple[np.ndarray, tuple[float, float, float]], seed: int = 0) -> None:
    rgb = wall(seed=seed)
    for alpha, colour in shapes:
        rgb = over(rgb, alpha, colour)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(quantize(rgb)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos: captioned by a text, named by what they show, empty, and broken."""
    folder = tmp_path_factory.mktemp("photos") / "mine"
    save(folder / "IMG_0001.png", (ball(), RED))
    (folder / "IMG_0001.txt").write_text("a red ball on a wall\nforeground: a red ball\nbackground: a wall\n")
    save(folder / "small-ball_07.png", (ball(centre=(0.65, 0.6), radius=0.3), RED), seed=2)
    Image.new("RGB", (60, 40), "gray").save(folder / "gray.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


def options(folder: Path, out: Path, **more: Any) -> photos.Options:
    return photos.Options(**({"photos": str(folder), "out": str(out), "size": 64, "net": "classical"} | more))


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos.build(options(folder, tmp_path_factory.mktemp("set"), licence="CC0-1.0"))


def test_what_is_written_is_a_layered_set(built: Path):
    found = [picture for _, shard in _layered_set.read_shards(built) for picture in shard]
    assert [picture.row["captions"] for picture in found] == [
        ["a wall", "a red ball", "a red ball on a wall"],
        ["a plain light background", "small ball", "small ball"],
    ]
    assert [picture.row["captions_by"] for picture in found] == ["text", "name"]
    assert found[0].row["nouns"] == [None, "a ball"]
    for picture in found:
        frames = picture.frames.astype(np.float32) / 255
        assert frames.shape == (3, 64, 64, 4)
        assert (frames[[0, -1], ..., 3] == 1).all()
        a = frames[1, ..., 3:]
        again = a * frames[1, ..., :3] + (1 - a) * frames[0, ..., :3]
        assert np.abs(again - frames[-1, ..., :3]).mean() < 0.01
        assert 0.15 < picture.row["areas"][0] < 0.5
        left, top, right, bottom = picture.row["boxes"][0]
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def test_what_is_left_out_is_counted(built: Path):
    told = json.loads((built / "manifest.json").read_text())
    assert (told["photos"], told["pictures"], told["licences"]) == (4, 2, {"CC0-1.0": 2})
    assert sum(told["left_out"].values()) == 2
    assert told["left_out"]["nothing stands out"] == 1
    assert "pictures: 2" in photos.summary(built)


def test_training_reads_it(built: Path, tmp_path: Path):
    model = tiny.save("embedded", tmp_path / "model")
    latents = layered_latents.Options(
        data=str(built), model=str(model), out=str(tmp_path / "l"), device="cpu"
    )
    rows = (layered_latents.build(latents) / "index.jsonl").read_text().splitlines()
    assert [len(json.loads(row)["captions"]) for row in rows] == [3, 3]


def test_going_on_keeps_what_is_there_and_takes_new_photos(folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(photos, "SHARD", 2)
    mine = tmp_path / "mine"
    for number in range(3):
        shape = ball(centre=(0.35 + 0.15 * number, 0.6), radius=0.2 + 0.05 * number)
        save(mine / f"ball-{number}.png", (shape, RED), seed=number)
    out = photos.build(options(mine, tmp_path / "set"))
    first, second = sorted(out.glob("*.tar"))
    times = first.stat().st_mtime_ns, second.stat().st_mtime_ns
    photos.build(options(mine, out))
    assert (first.stat().st_mtime_ns, second.stat().st_mtime_ns) == times
    save(mine / "a-new-ball.png", (ball(radius=0.3), GREEN), seed=5)  # comes first by name, last in the set
    photos.build(options(mine, out))
    assert first.stat().st_mtime_ns == times[0] and second.stat().st_mtime_ns > times[1]
    rows = _layered_set.read_rows(out)
    assert [Path(row["works"][0]).stem for row in rows] == ["ball-0", "ball-1", "ball-2", "a-new-ball"]
    other = photos.build(options(mine, tmp_path / "other", workers=2))
    assert {r["fingerprint"] for r in _layered_set.read_rows(other)} == {r["fingerprint"] for r in rows}
    with pytest.raises(LayercliError, match="other settings"):
        photos.build(options(mine, out, size=32))


def test_descriptions_are_split_drawn_and_taken_apart(tmp_path: Path):
    model = tiny.save("embedded", tmp_path / "model")
    file = tmp_path / "prompts.txt"
    file.write_text("# three\na cat sleeping on a sofa\n\neine Katze\na dog\na dog\n")
    asked = {"photos": "", "prompts": str(file), "model": str(model), "steps": 1, "device": "cpu", "size": 32}
    out = photos.build(options(tmp_path, tmp_path / "set", **asked))
    drawn = sorted((out / "drawn").glob("*.png"))
    texts = {path.with_suffix(".txt").read_text() for path in drawn}
    assert texts == {
        "a cat sleeping on a sofa\nforeground: a sleeping cat\nbackground: a sofa\n",
        "a dog\nforeground: a dog\nbackground: a plain light background\n",
    }
    assert all(Image.open(path).size == (32, 32) for path in drawn)
    told = json.loads((out / "manifest.json").read_text())
    assert told["photos"] == 3 and told["left_out"]["The rules split English alone, and"] == 1
    before = [path.stat().st_mtime_ns for path in drawn]
    photos.build(options(tmp_path, tmp_path / "set", **asked))
    assert [path.stat().st_mtime_ns for path in drawn] == before


def stack_of(*alphas: np.ndarray, side: int = 40) -> tuple[LayerStack, np.ndarray]:
    """Layers of these alphas over gray, and the photo they are."""
    ground = np.full((side, side, 4), (0.5, 0.5, 0.5, 1), dtype=np.float32)
    layers = [Layer(name="background", rgba=ground)]
    for number, alpha in enumerate(alphas, 1):
        rgba = np.dstack([np.full((side, side, 3), 0.2 * number, np.float32), alpha])
        layers.append(Layer(name=f"object {number}", rgba=rgba.astype(np.float32)))
    stack = LayerStack(canvas=Size(side, side), layers=tuple(layers))
    return stack, stack.flatten()[..., :3]


def block(top: int, left: int, bottom: int, right: int, side: int = 40) -> np.ndarray:
    alpha = np.zeros((side, side), np.float32)
    alpha[top:bottom, left:right] = 1
    return alpha


EVERYWHERE = np.ones((40, 40), np.float32)


@pytest.mark.parametrize(
    ("alphas", "salient", "told"),
    [
        ((block(0, 0, 3, 3),), EVERYWHERE, "too small or too large"),
        ((block(0, 0, 38, 38),), EVERYWHERE, "too small or too large"),
        ((block(10, 10, 30, 30),), 0.05 * EVERYWHERE, "does not stand out"),
        ((), EVERYWHERE, "nothing stands out"),
    ],
)
def test_photos_without_a_fit_object_are_left_out(alphas, salient, told):
    stack, photo = stack_of(*alphas)
    assert frames_of(stack, photo, 20, lambda: salient, Filters(smallest=0.02)) == told


def test_an_object_that_does_not_pass_goes_back_into_the_background():
    stack, photo = stack_of(block(0, 0, 3, 3), block(10, 10, 30, 30))
    frames, names = frames_of(stack, photo, 40, lambda: EVERYWHERE, Filters(smallest=0.02))
    assert names == ["object 2"]
    np.testing.assert_allclose(frames[0, :3, :3, 0], 0.2, atol=1e-3)
    # But one that lies before an object that passes cannot: the layers would not be the photo.
    stack, photo = stack_of(block(10, 10, 30, 30), block(12, 12, 15, 15))
    assert frames_of(stack, photo, 40, lambda: EVERYWHERE, Filters(smallest=0.002)) == "inside another"


def test_the_square_keeps_objects_in():
    wide = np.zeros((20, 60), np.float32)
    wide[5:15, 45:58] = 1
    assert square_around([wide]) == (slice(0, 20), slice(40, 60))
    assert square_around([wide.T]) == (slice(40, 60), slice(0, 20))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("red-car_02.jpg", Told(whole="red car", by="name")),
        ("IMG_1234.jpg", Told()),
        ("DSC00012.png", Told()),
        ("P1030456.jpg", Told()),
        ("a cat on a sofa.jpg", Told(whole="a cat on a sofa", by="name")),
    ],
)
def test_names_tell_what_photos_show(tmp_path, name, told):
    assert told_of(tmp_path / name) == told


def test_captions_come_from_a_person_then_a_captioner_then_the_rules():
    frames = np.stack([np.full((8, 8, 4), value, np.float32) for value in (0.1, 0.5, 0.9)])
    said = {0.1: "a meadow", 0.5: "a horse", 0.9: "a horse on a meadow"}

    def caption(rgba: np.ndarray) -> str:
        return said[round(float(rgba[0, 0, 0]), 1)]

    person = Told(whole="a foal", foregrounds=("a foal",), background="grass", by="text")
    assert captions_of(frames, person, ["object"], caption) == ["grass", "a foal", "a foal"]
    assert captions_of(frames, Told(), ["object"], caption) == ["a meadow", "a horse", "a horse on a meadow"]
    named = Told(whole="a horse under a tree", by="name")
    assert captions_of(frames, named, ["object"], None) == ["a tree", "a horse", "a horse under a tree"]
    assert captions_of(frames, Told(), ["object"], None) == ["a scene", "an object", "an object, a scene"]
    two = Told(whole="a horse on a meadow", by="name")
    many = np.concatenate([frames[:2], frames[1:]])
    assert captions_of(many, two, ["object 1", "object 2"], None)[1:3] == ["an object", "an object"]


def test_photos_or_prompts_one_of_the_two(tmp_path):
    with pytest.raises(LayercliError, match="one of the two"):
        photos.Options()
    with pytest.raises(LayercliError, match="There is no photo in"):
        photos.build(options(tmp_path, tmp_path / "set"))
    with pytest.raises(LayercliError, match="There is no folder"):
        photos.build(options(tmp_path / "none", tmp_path / "set2"))
