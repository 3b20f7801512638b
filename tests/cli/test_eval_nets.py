"""Scores by nets of local folders, from the command line: CLIP of open_clip, and the aesthetic head."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from layercli.vision.aesthetic import WIDTHS
from tests.cli.conftest import Run
from tests.cli.test_eval import cache, pictures, scores  # noqa: F401
from tests.vision.test_open_clip import made


@pytest.fixture
def clip(here: Path) -> str:
    """A tiny CLIP of 768 features in open_clip's files, and a head of the published structure."""
    made(here / "clip", out=768)
    torch.manual_seed(0)
    tensors = {
        f"layers.{place}.{name}": value.detach()
        for place, (a, b) in zip((0, 2, 4, 6, 7), pairwise((768, *WIDTHS)), strict=True)
        for name, value in torch.nn.Linear(a, b).named_parameters()
    }
    save_file(tensors, here / "clip" / "head.safetensors")
    return "clip"


def test_clip_cmmd_and_aesthetics_by_a_folder_of_open_clip(run: Run, here: Path, pictures: Path, clip: str):  # noqa: F811
    options = (
        "clip.model=clip",
        "aesthetic.model=clip",
        "aesthetic.head=clip/head.safetensors",
        "cmmd.net=clip",
    )
    words = [word for option in options for word in ("-O", option)]
    done = run(
        "eval", "pictures", "--reference", "pictures", "--metrics", "clip,aesthetic,cmmd", *words, "--json"
    )
    assert done.exit_code == 0, done.output
    found = scores(done.stdout)
    assert found["cmmd.cmmd", "composite", "all"]["value"] == pytest.approx(0, abs=1e-6)
    assert 0 <= found["clip.whole", "composite", "all"]["value"] <= 100
    beauty = found["aesthetic.score", "composite", "all"]
    assert beauty["n"] == 6 and beauty["low"] <= beauty["value"] <= beauty["high"]
    for key in (("clip.whole", "composite", "all"), ("aesthetic.score", "composite", "all")):
        settings = found[key]["settings"]
        assert settings["net"] == "CLIP clip (open_clip)" and len(settings["weights"]) == 64
    assert len(beauty["settings"]["head weights"]) == 64
    paper = run("eval", "pictures", "--protocol", "dreamlayer", *words[:6], "--json")
    rows = json.loads(paper.stdout)["protocol"]["rows"]
    ours = next(row for row in rows if (row["metric"], row["layers"]) == ("aesthetic.score", "2"))
    assert ours["ours"] is not None and "net: CLIP clip (open_clip)" in ours["differs"]


def test_a_head_for_other_features_is_refused(refused, here: Path, pictures: Path, clip: str):  # noqa: F811
    made(here / "small", out=8)
    head = "aesthetic.head=clip/head.safetensors"
    words = ("--metrics", "aesthetic", "-O", "aesthetic.model=small", "-O", head)
    assert "reads 768 features, and the CLIP model gives 8" in refused("eval", "pictures", *words)
    wrong = ("-O", "clip.model=nowhere", "--metrics", "clip")
    assert "The folder nowhere holds no CLIP model." in refused("eval", "pictures", *wrong)
