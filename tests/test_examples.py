"""Every example runs as it stands, on a tiny model and a tiny corpus."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layercli.cli.files import read_stack
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.pixels import open_image, quantize
from layercli.data import corpus
from layercli.formats import psd
from tests import tiny
from tests.data.furniture_boxes import make_package
from tests.data.mini_corpus import make_corpus
from tests.decompose.made import ball, over, wall
from tests.edit import scenes
from tests.formats.stacks import sample_stack

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save("embedded", tmp_path_factory.mktemp("tiny")))


def example(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder, with the layercli of this Python first on the path."""
    runner = ["bash"] if name.endswith(".sh") else [sys.executable]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    command = [*runner, str(EXAMPLES / name), *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_every_example_is_named_in_a_test():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    scripts = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".sh", ".py"}}
    assert {name for name in scripts if name not in tests} == set()


def test_generate_from_the_shell(tmp_path, model):
    done = example("generate.sh", tmp_path, "--model", model, "--steps", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["beach.psd", "beach.ora"]


def test_models(tmp_path):
    done = example("models.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("CreativeML OpenRAIL-M", "memory gib", "13,832,396", "text/model.safetensors"):
        assert word in done.stdout


def test_generate_from_python(tmp_path, model):
    done = example("generate.py", tmp_path, "cat.psd", model, "2")
    assert done.returncode == 0, done.stderr
    assert "a cat" in read_stack(tmp_path / "cat.psd").names


def test_qwen_on_a_photo(tmp_path):
    model = tiny.qwen(tmp_path / "model")
    photo = quantize(over(wall(), ball(), (0.8, 0.15, 0.1)))
    Image.fromarray(photo).save(tmp_path / "photo.png")
    more = ("--model", str(model), "--device", "cpu", "--dtype", "float32", "-O", "steps=1")
    done = example("qwen.sh", tmp_path, "photo.png", "a ball", *more)
    assert done.returncode == 0, done.stderr
    assert "layer 1" in done.stdout
    np.testing.assert_array_equal(read_stack(tmp_path / "drawn.psd").flatten_quantized()[..., :3], photo)


def test_layerdiffuse_on_a_given_picture_too(tmp_path):
    model, weights = tiny.save("sd15", tmp_path / "sd15"), tiny.layerdiffuse(tmp_path / "weights", "sd15")
    more = ("--model", str(model), "-O", f"weights={weights}", "--size", "32x32", "--steps", "2")
    done = example("layerdiffuse.sh", tmp_path, *more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[::2] == ["fox.psd", "owl.psd"]
    fox, owl = read_stack(tmp_path / "fox.psd"), read_stack(tmp_path / "owl.psd")
    assert owl.names[:2] == ("background", "an owl")
    assert (quantize(owl.layers[0].rgba) == fox.flatten_quantized()).all()
    assert owl.receipt is not None
    hashes = {name for name in owl.receipt.weights if name.startswith("layerdiffuse/")}
    assert "layerdiffuse/layer_sd15_bg2fg.safetensors" in hashes and len(hashes) == 3


def test_decompose(tmp_path):
    Image.fromarray(quantize(over(wall(), ball(), (0.8, 0.1, 0.1)))).save(tmp_path / "photo.png")
    done = example("decompose.sh", tmp_path, "photo.png", "0.2,0.15,0.8,0.85", "ball", "-o", "apart.psd")
    assert done.returncode == 0, done.stderr
    assert "Recomposition error: 0/255" in done.stderr
    assert read_stack(tmp_path / "apart.psd").names == ("background", "ball")
    assert example("decompose.sh", tmp_path).returncode != 0


def test_photos_as_training_pictures(tmp_path):
    (tmp_path / "mine").mkdir()
    Image.fromarray(quantize(over(wall(), ball(), (0.8, 0.1, 0.1)))).save(tmp_path / "mine/a-red-ball.png")
    done = example("photos.sh", tmp_path, "mine", "set", "-O", "size=64")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "set\n" and "pictures: 1" in done.stderr
    assert '"a red ball"' in (tmp_path / "set/index.jsonl").read_text()


def test_show_and_convert(tmp_path):
    psd.write(sample_stack(), tmp_path / "a.psd", psd.Options())
    done = example("show.sh", tmp_path, "a.psd")
    assert done.returncode == 0, done.stderr
    assert "are effects" in done.stdout
    assert (tmp_path / "a-sheet.png").exists()
    done = example("convert.sh", tmp_path, "a.psd")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert all((tmp_path / line).exists() for line in done.stdout.splitlines())


def test_edit_and_replay(tmp_path):
    for name in ("a.psd", "b.psd"):
        psd.write(scenes.lit(), tmp_path / name, psd.Options())
    done = example("edit.sh", tmp_path, "a.psd", "cat", "b.psd")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["a.psd", "a-layer.png"]
    assert done.stdout.endswith(" pixels changed, 0 outside the edited layers\n")
    assert {"a-backup.psd", "a-layer.png"} <= {path.name for path in tmp_path.iterdir()}
    assert (
        read_stack(tmp_path / "a.psd").layer("cat").size == read_stack(tmp_path / "b.psd").layer("cat").size
    )


def test_convert_from_python(tmp_path):
    stack = sample_stack()
    psd.write(stack, tmp_path / "a.psd", psd.Options())
    done = example("convert.py", tmp_path, "a.psd", stack.names[-1], "b.ora")
    assert done.returncode == 0, done.stderr
    again = read_stack(tmp_path / "b.ora")
    assert not again.layer(stack.names[-1]).visible
    assert again.names == stack.names


def test_the_sheet_of_nouns_repeats_from_its_seed(tmp_path, model):
    for name, seed in (("a.png", "0"), ("again.png", "0"), ("other.png", "1")):
        words = (name, "--model", model, "--steps", "2", "--seed", seed, "--nouns", "cat", "apple")
        done = example("noun_sheet.py", tmp_path, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == name
    drawn, again, other = ((tmp_path / name).read_bytes() for name in ("a.png", "again.png", "other.png"))
    assert drawn == again != other


def test_eval_from_the_shell(tmp_path):
    for folder in ("pictures", "again"):
        (tmp_path / folder).mkdir()
        psd.write(sample_stack(), tmp_path / folder / "a.psd", psd.Options())
    done = example("eval.sh", tmp_path, "pictures", "again")
    assert done.returncode == 0, done.stderr
    assert "recomposition.psnr" in done.stdout and "difference" in done.stdout
    assert all((tmp_path / f"report.{suffix}").stat().st_size for suffix in ("html", "json", "csv", "tex"))


def test_a_bench_beside_a_baseline(tmp_path, model):
    words = ("--model", model, "--steps", "2", "--most", "2", "--seeds", "1")
    done = example("bench.sh", tmp_path, "bench", *words)
    assert done.returncode == 0, done.stderr
    assert "layers.count" in done.stdout and "difference" in done.stdout
    assert (tmp_path / "bench/report.html").stat().st_size and not (tmp_path / "bench/report.png").exists()


def test_the_sheet_of_edits(tmp_path, model):
    done = example("edits.py", tmp_path, "edits.png", "--model", model, "--steps", "2")
    assert done.returncode == 0, done.stderr
    assert open_image(tmp_path / "edits.png").shape[1] > 1000


def test_data_and_train(tmp_path):
    make_corpus(tmp_path / "corpus")
    done = example("data.sh", tmp_path, "corpus", "64", "-O", "globals=4", "-O", "places=2")
    assert done.returncode == 0, done.stderr
    few = ("-O", "crop=32", "-O", "batch=2", "-O", "precision=fp32")
    done = example("train.sh", tmp_path, "1", "1", *few)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/base/unet/config.json").exists()


def test_rooms_are_rendered_and_encoded(tmp_path, model, monkeypatch):
    pytest.importorskip("vtkmodules", reason="vtk is not installed")
    make_package(tmp_path / "models")
    monkeypatch.setenv("AUTOENCODER", f"{model}/autoencoder")
    done = example("rooms.sh", tmp_path, "models", "2", "-O", "size=32")
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "runs/rooms-latents/latents-0.npy").shape[:2] == (4, 2)


def test_own_files_become_training_data(tmp_path, model):
    (tmp_path / "mine").mkdir()
    ground, cat = np.ones((2, 32, 32, 4), np.float32)
    cat[:, :16, 3] = 0
    layers = (Layer(name="a wall", rgba=ground), Layer(name="a cat", rgba=cat))
    psd.write(LayerStack(canvas=Size(32, 32), layers=layers), tmp_path / "mine/a.psd", psd.Options())
    done = example("own_files.sh", tmp_path, "mine", model, "-O", "size=32")
    assert done.returncode == 0, done.stderr
    assert len(np.load(tmp_path / "runs/files-latents/frames-layered-0-000000.npy")) == 3


@pytest.fixture
def ablations(tmp_path, monkeypatch, capsys):
    """examples/ablations.py in this process: words -> what it prints."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("ablations")

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["ablations.py", *words])
        capsys.readouterr()
        module.main()
        return capsys.readouterr().out

    return run


def test_ablations_are_drawn_scored_judged_and_kept(tmp_path, model, ablations):
    own = shutil.copytree(model, tmp_path / "model")
    for kind in ("dreamlayer", "layerdiff"):
        tiny.adapter(own, own / kind, kind, 1)
    words = ("out", "--model", "model", "--prompts", "2", "--seeds", "1", "--steps", "2")
    estimated = ablations(*words, "--estimate")
    assert "46 variants of 37 settings, 74 pictures" in estimated
    told_first = ablations(*words, "--groups", "d,masks", "--workers", "2")
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.psd")}
    assert len(drawn) == 16  # d = 10 and self x cross are one setting
    text = ablations(*words, "--groups", "d,masks,maps,enhancer,inversion")
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    assert text == (tmp_path / "out/ablations.md").read_text()
    rows = [line for line in told_first.splitlines() if line.startswith("| LayerFusion Fig 8d")]
    assert len(rows) >= 2 and all(row in text for row in rows)
    assert "| LayerDiff Table 2: S + C better than no enhancer | chance |" in text
    told = json.loads((tmp_path / "out/ablations.json").read_text())
    assert told["d"]["variants"]["d = 10"] == told["masks"]["variants"]["self x cross"]
    assert told["masks"]["variants"]["self alone"]["agree"]["mean"] > 0  # the whole frame is no composite
    assert list(told["maps"]["variants"]) == ["refined (Eq 5)", "finest", "coarser"]
    inverted = [variant["behind"]["mean"] for variant in told["inversion"]["variants"].values()]
    assert len(set(inverted)) == 3  # masks and texts are at work
    assert 'there is no group "no"' in example("ablations.py", tmp_path, "--groups", "no").stderr


def test_a_claim_is_judged_by_its_direction(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    judged = importlib.import_module("paper_ablations.tables").judged
    claim_of = importlib.import_module("paper_ablations.variants").Claim
    pictures = {f"{p:03d}-seed{s}": p + s for p in range(6) for s in (0, 1)}
    values = {
        name: {picture: {"agree": v * k, "chance": v * k} for picture, v in pictures.items()}
        for name, k in (("few", 1.0), ("many", 2.0))
    }
    for number, better, verdict in (
        ("agree", "few", "agrees"),
        ("agree", "many", "disagrees"),
        ("chance", "few", "disagrees"),
        ("chance", "many", "agrees"),
    ):
        worse = "many" if better == "few" else "few"
        claim = claim_of(source="", better=better, worse=worse, number=number)
        found = judged(claim, values)
        assert (found["verdict"], found["n"]) == (verdict, 6)  # prompts, not pictures
        assert (
            judged(claim, {"few": values["few"], "many": values["few"]})["verdict"] == "no difference shown"
        )
        assert judged(claim, {"few": values["few"]}) is None


def test_layered_methods(tmp_path, model):
    make_corpus(tmp_path / "corpus")
    corpus.build(corpus.Options(corpus=str(tmp_path / "corpus"), out=str(tmp_path / "runs/data"), size=64))
    few = ("-O", "batch=1", "-O", "rank=2", "-O", "steps_drawn=0", "-O", "precision=fp32")
    done = example("layered.sh", tmp_path, model, "4", "1", *few)
    assert done.returncode == 0, done.stderr
    for method in ("dreamlayer", "layerdiff"):
        assert read_stack(tmp_path / f"{method}.psd").names[:3] == ("background", "a cat", "a ball")


def test_a_batch_goes_on_after_failures_and_keeps_what_is_there(tmp_path, model):
    (tmp_path / "prompts.txt").write_text(
        "# two and one without a background\n\na cat / a sofa\na dog + a cup\n a dog + a ball / a beach"
    )
    words = ("prompts.txt", "out", "--model", model, "--steps", "2", "--json")
    done = example("batch.sh", tmp_path, *words)
    assert done.returncode == 1, done.stderr
    assert "Line 2 failed: a dog + a cup" in done.stderr
    assert "1 of 3 pictures failed." in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["001.psd", "003.psd"]
    assert [name in read_stack(tmp_path / "out/003.psd").names for name in ("a dog", "a ball")] == [
        True,
        True,
    ]

    kept = (tmp_path / "out/001.psd").stat().st_mtime_ns
    (tmp_path / "prompts.txt").write_text("a cat / a sofa\na dog / a beach\na dog + a ball / a beach\n")
    done = example("batch.sh", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pictures"][0]["files"] == ["out/002.psd"]
    assert (tmp_path / "out/001.psd").stat().st_mtime_ns == kept


def test_a_batch_asks_for_what_it_needs(tmp_path):
    assert example("batch.sh", tmp_path).returncode == 2
    assert "There is no file none.txt." in example("batch.sh", tmp_path, "none.txt", "out").stderr
