"""Adapters that ship with a model: taken without being asked for, replaced, checked, doubted and exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from layercli.cli.files import read_stack
from layercli.core.errors import LayercliError
from layercli.models.adapters import FILE
from layercli.train import export
from tests import tiny

ASKED = ("--fg", "a dog", "--bg", "a beach", "--steps", "2", "--harmonize", "over")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder with both adapters in it."""
    folder = tiny.save("embedded", tmp_path_factory.mktemp("model"))
    for kind in export.ADAPTERS:
        tiny.adapter(folder, folder / kind, kind, 1)
    return folder


@pytest.mark.parametrize("kind", export.ADAPTERS)
def test_a_models_own_adapter_is_taken_unless_another_is_named(run, here, model: Path, kind: str):
    words = ("generate", *ASKED, "--model", model, "--method", kind)
    own = run(*words, "-o", "own.psd")
    assert own.exit_code == 0, own.output
    assert "was trained on another" not in own.stderr
    other = tiny.adapter(model, here / "other", kind, 2)
    named = run(*words, "-O", f"adapter={other}", "-o", "named.psd")
    assert named.exit_code == 0, named.output
    first, second = read_stack(here / "own.psd").receipt, read_stack(here / "named.psd").receipt
    assert first is not None and second is not None
    assert first.weights[f"{kind}/{FILE}"] != second.weights[f"{kind}/{FILE}"]


def test_an_adapter_of_other_weights_is_doubted(run, here, model: Path):
    other = tiny.adapter(model, here / "other", "dreamlayer", 2)
    config = json.loads((other / "config.json").read_text())
    name = next(name for name in config["base"] if name.startswith("unet/"))
    config["base"][name] = "0" * 64
    (other / "config.json").write_text(json.dumps(config))
    words = ("--model", model, "--method", "dreamlayer", "-O", f"adapter={other}", "-o", "a.psd")
    done = run("generate", *ASKED, *words)
    assert done.exit_code == 0, done.output
    assert f"was trained on another {name} than this model's" in " ".join(done.stderr.split())


def test_a_damaged_adapter_has_its_sentence(run, here, model: Path):
    """Cut off, and exchanged for another one that fits."""
    words = ("generate", *ASKED, "--model", model, "--method", "dreamlayer", "-o", "a.psd", "-O")
    cut = tiny.adapter(model, here / "cut", "dreamlayer", 1)
    (cut / FILE).write_bytes((cut / FILE).read_bytes()[:-100])
    swapped = tiny.adapter(model, here / "swapped", "dreamlayer", 1)
    shutil.copyfile(tiny.adapter(model, here / "second", "dreamlayer", 2) / FILE, swapped / FILE)
    for folder, sentence in ((cut, "was cut off"), (swapped, "is not the file that the config.json")):
        done = run(*words, f"adapter={folder}")
        assert done.exit_code == 2 and sentence in " ".join(done.stderr.split())
    assert not (here / "a.psd").exists()


def test_adapters_are_exported_beside_the_weights_and_verified(run, here, model: Path):
    for kind in export.ADAPTERS:
        tiny.adapter(model, here / "runs" / kind / "adapter", kind, 3, base=False)
        (here / "runs" / kind / "log.jsonl").write_text('{"step": 5, "loss": 0.5}\n')
        (here / "runs" / kind / "options.json").write_text('{"rank": 2}')
    parts = {"autoencoder": str(model), "base": str(model), "text": str(model / "text"), "out": "made"}
    folder = export.train(
        export.Options(**parts, dreamlayer="runs/dreamlayer", layerdiff=str(here / "runs/layerdiff/adapter"))
    )
    report = json.loads((folder / "training.json").read_text())
    assert report["dreamlayer"] == {"last": {"step": 5, "loss": 0.5}, "options": {"rank": 2}}
    config = json.loads((folder / "dreamlayer/config.json").read_text())
    assert config["base"].items() <= report["sha256"].items() and "layerdiff/" not in str(config["base"])
    assert run("generate", *ASKED, "--model", "made", "--method", "layerdiff", "-o", "a.psd").exit_code == 0

    # Once more from itself: what is known of the runs stays, and so does every byte of the weights.
    again = export.train(export.Options(autoencoder="made", base="made", text="made/text", out="made"))
    assert json.loads((again / "training.json").read_text()) == report
    states = json.loads(run("models", "verify", "made", "--json").stdout)["models"][0]["files"]
    found = {one["path"]: one["state"] for one in states}
    assert found["dreamlayer/adapter.safetensors"] == "ok"

    swapped = folder / "layerdiff" / FILE
    swapped.write_bytes(swapped.read_bytes()[:-1] + b"!")
    assert "another content" in run("models", "verify", "made").stderr
    swapped.unlink()
    assert "missing" in run("models", "verify", "made").stderr
    config["base"] = dict.fromkeys(config["base"], "0" * 64)
    (folder / "dreamlayer/config.json").write_text(json.dumps(config))
    with pytest.raises(LayercliError, match=r"dreamlayer adapter in .* was trained on another"):
        export.train(export.Options(**{**parts, "base": "made", "autoencoder": "made"}))
