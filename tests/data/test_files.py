"""A user's own layered files as a data set: PSD, OpenRaster, MuLAn-style folders; what is left out, why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layercli.cli.files import read_stack
from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.pixels import save_png
from layercli.data import _layered_set, files
from layercli.data._layered_source import Layered
from layercli.formats import ora, psd

WIDE = Size(width=96, height=64)


def plain(size: Size, colour: tuple[float, float, float], alpha: float = 1.0) -> np.ndarray:
    return np.broadcast_to(np.float32([*colour, alpha]), (size.height, size.width, 4)).copy()


def stack(*things: Layer, behind: str = "a meadow", canvas: Size = WIDE) -> LayerStack:
    return LayerStack(
        canvas=canvas, layers=(Layer(name=behind, rgba=plain(canvas, (0.2, 0.8, 0.4))), *things)
    )


def thing(name: str, left: int, top: int, side: int = 16, **more: Any) -> Layer:
    return Layer(name=name, rgba=plain(Size(side, side), (1.0, 0.0, 0.0)), offset=Offset(left, top), **more)


def shadow(amount: float = 0.5) -> Layer:
    return Layer(
        name="shadows", rgba=plain(Size(8, 8), (amount,) * 3), blend="multiply", offset=Offset(60, 50)
    )


def made(folder: Path, out: Path, **changes: Any) -> Path:
    asked = {"size": 32, "smallest": 0.005} | changes
    return files.build(files.Options(data=str(folder), out=str(out), **asked), read_stack=read_stack)


def pictures(folder: Path) -> dict[str, Layered]:
    found = [picture for _, shard in _layered_set.read_shards(folder) for picture in shard]
    return {picture.row["works"][0]: picture for picture in found}


def test_layers_become_frames_with_light_in_the_whole_alone(tmp_path: Path) -> None:
    (tmp_path / "in/deeper").mkdir(parents=True)
    cats = stack(thing("Siamese Cat", 44, 30), thing("red_ball", 70, 40), shadow())
    psd.write(cats, tmp_path / "in/deeper/cats.psd", psd.Options())
    ora.write(stack(thing("Layer 3", 30, 20), behind="Background"), tmp_path / "in/b.ora", ora.Options())
    folder = made(tmp_path / "in", tmp_path / "out")
    read = pictures(folder)
    assert read.keys() == {"deeper/cats.psd", "b.ora"}
    row = read["deeper/cats.psd"].row
    assert row["captions"] == [
        "a meadow",
        "a siamese cat",
        "a red ball",
        "a siamese cat and a red ball, a meadow",
    ]
    assert row["nouns"] == [None, "a cat", "a ball"]
    assert row["boxes"] == [[0.1875, 0.4688, 0.4375, 0.7188], [0.5938, 0.625, 0.8438, 0.875]]
    assert read["b.ora"].row["captions"] == ["a scene", "an object", "an object, a scene"]
    frames = read["deeper/cats.psd"].frames / 255
    assert frames.shape == (4, 32, 32, 4)
    assert (frames[[0, -1], ..., 3] == 1).all() and (frames[0, ..., 0] < 0.21).all()
    assert frames[1, 18, 10] == pytest.approx([1, 0, 0, 1], abs=0.01)
    shaded = frames[-1, 27, 15, 1] / frames[0, 27, 15, 1]  # about (62, 54) of the file
    assert shaded == pytest.approx(0.5, abs=0.02)


def test_what_does_not_fit_is_left_out_and_told(tmp_path: Path) -> None:
    for name, layers in {
        "good": stack(thing("cat", 40, 30)),
        "alone": stack(),
        "apart": stack(thing("cat", 0, 30), thing("dog", 80, 30)),
        "hidden": stack(thing("cat", 40, 30), thing("dog", 40, 30)),
        "speck": stack(thing("cat", 40, 30, 2)),
        "hollow": LayerStack(canvas=WIDE, layers=(thing("cat", 4, 4), thing("dog", 30, 30))),
        "asleep": stack(thing("cat", 40, 30), thing("dog", 60, 30, visible=False)),
    }.items():
        psd.write(layers, tmp_path / f"{name}.psd", psd.Options())
    (tmp_path / "broken.psd").write_bytes(b"8BPS but no more")
    folder = made(tmp_path, tmp_path / "out")
    assert pictures(folder).keys() == {"asleep.psd"}  # "good" looks the same
    told = "\n".join(json.loads((folder / "manifest.json").read_text())["left_out"])
    for name, why in {
        "alone": "it has 0 foregrounds",
        "apart": "a foreground lies outside the square in the middle",
        "hidden": "a foreground is hidden",
        "speck": "a foreground is too small or too large",
        "hollow": "its bottom layer does not cover the canvas",
    }.items():
        assert f"{name}.psd: {why}" in told
    assert "broken.psd" in told and "good.psd" not in told and "asleep.psd" not in told
    assert "alone.psd: it has 0 foregrounds" in files.summary(folder)


def test_a_mulan_style_folder_is_read_with_its_captions(tmp_path: Path) -> None:
    layers = (plain(WIDE, (0.1, 0.2, 0.9)), thing("1", 40, 20), thing("2", 50, 30))
    for number, layer in enumerate(layers):
        rgba = layer if isinstance(layer, np.ndarray) else stack(layer).placed(1)
        save_png(tmp_path / f"000635517-layer_{number}.png", rgba)
    (tmp_path / "meta_data.csv").write_text(
        "paths,blip2,llava\n"
        "data/mulan/000635517-layer_0.png,a blue wall,A wall that is blue.\n"
        "data/mulan/000635517-layer_1.png,a parrot,N/A\n"
        'data/mulan/000635517-layer_2.png,"a cup, full",A cup.\n'
    )
    folder = made(tmp_path, tmp_path / "out", visible=0.1)
    row = pictures(folder)["000635517"].row
    assert row["captions"] == [
        "a blue wall",
        "a parrot",
        "a cup, full",
        "a parrot and a cup, full, a blue wall",
    ]
    assert row["nouns"] == [None, "a bird", "a cup"]
    other = made(tmp_path, tmp_path / "other", visible=0.1, captions="llava")
    assert pictures(other)["000635517"].row["captions"][:2] == ["a wall that is blue", "an object"]
    with pytest.raises(LayercliError, match='no column "clip"'):
        made(tmp_path, tmp_path / "third", captions="clip")


def test_a_folder_without_layered_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(LayercliError, match="No layered files in"):
        made(tmp_path, tmp_path / "out")
    with pytest.raises(LayercliError, match="There is no folder"):
        made(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_workers_and_one_process_make_the_same(tmp_path: Path) -> None:
    for number in range(3):
        psd.write(stack(thing("cat", 30 + 4 * number, 30)), tmp_path / f"in-{number}.psd", psd.Options())
    sums = [
        json.loads((made(tmp_path, tmp_path / name, workers=workers) / "manifest.json").read_text())["sha256"]
        for name, workers in (("one", 1), ("two", 2))
    ]
    assert sums[0] == sums[1]
