"""Fetching from a hub: what is chosen, that it goes on, that only right bytes get in, and what is said."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from layercli.cli.app import app
from layercli.core.errors import LayercliError
from layercli.models import hub as hub_module
from layercli.models.catalog import CATALOG, folder_of
from layercli.models.entries import Entry
from layercli.models.hub import HubFile, ask, fetch, wanted
from layercli.models.hub_cache import bytes_in, repository_folder
from tests import tiny
from tests.models.hub_server import Hub, Repository

SD15, LAYERDIFFUSE = CATALOG["sd15"].hub, CATALOG["layerdiffuse-xl"].hub
WEIGHTS = bytes(range(256)) * 400


def run(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=answer)


def error_of(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.partition("Error: ")[2].split())


@pytest.fixture
def repository(hub: Hub) -> Repository:
    """Two small files and a large one under the name of Stable Diffusion 1.5."""
    made = Repository(
        files={
            "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
            "unet/config.json": b"{}",
            "unet/diffusion_pytorch_model.fp16.safetensors": WEIGHTS,
            "unet/diffusion_pytorch_model.safetensors": WEIGHTS * 2,
            "unet/diffusion_pytorch_model.bin": b"unsafe",
            "v1-5-pruned.safetensors": WEIGHTS * 3,
        }
    )
    hub.repositories[SD15] = made
    return made


def file(path: str, size: int = 1) -> HubFile:
    return HubFile(path=path, bytes=size, sha256="0" * 64)


def test_one_number_type_is_chosen_and_nothing_that_runs():
    there = [
        file("model_index.json"),
        file("unet/model.safetensors", 9),
        file("unet/model.fp16.safetensors", 5),
        file("unet/model.safetensors.index.json"),
        file("unet/model.safetensors.index.fp16.json"),
        file("unet/model.non_ema.safetensors"),
        file("unet/config.json"),
        file("vae/model.safetensors", 7),
        file("vae/model.bin"),
        file("unet/model.ckpt"),
        file("other/model.safetensors"),
    ]
    patterns = ("model_index.json", "unet/*", "vae/*")
    half, whole = ([one.path for one in wanted(there, patterns, half=half)] for half in (True, False))
    assert half == [
        "vae/model.safetensors",
        "unet/model.fp16.safetensors",
        "unet/config.json",
        "unet/model.safetensors.index.fp16.json",
        "model_index.json",
    ]
    assert set(whole) - set(half) == {"unet/model.safetensors", "unet/model.safetensors.index.json"}


def test_a_model_is_fetched_recorded_and_opened(hub: Hub, tmp_path: Path) -> None:
    folder = tiny.save("sd15", tmp_path / "made")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    hub.repositories[SD15] = Repository(files={name: path.read_bytes() for name, path in files.items()})
    done = run("models", "pull", "sd15", "--accept-licence", "--json")
    assert done.exit_code == 0, done.output
    place = Path(json.loads(done.stdout)["path"])
    assert place == folder_of("sd15") == repository_folder(SD15) / "snapshots" / hub.repositories[SD15].commit
    assert (repository_folder(SD15) / "refs" / "main").read_text() == place.name
    [told] = [one for one in json.loads(run("models", "--json").stdout)["models"] if one["name"] == "sd15"]
    assert told["at_hand"] and told["commit"] == place.name and told["accepted"] == CATALOG["sd15"].licence
    from layercli.models.catalog import load_model

    hashes = load_model("sd15", device="cpu").weight_hashes()
    assert (
        hashes["unet/diffusion_pytorch_model.safetensors"]
        == hashlib.sha256(files["unet/diffusion_pytorch_model.safetensors"].read_bytes()).hexdigest()
    )
    asked = len(hub.asked)
    assert run("models", "pull", "sd15").exit_code == 0
    assert len(hub.asked) == asked  # what is at hand is not asked for


def test_the_licence_is_shown_and_must_be_accepted(repository: Repository, hub: Hub) -> None:
    for answer in (None, "n\n"):
        told = run("models", "pull", "sd15", answer=answer)
        assert "was not accepted" in error_of(told)
        assert "CreativeML OpenRAIL-M" in told.stderr
        assert "--accept-licence" in told.stderr
    assert hub.asked == []
    assert run("models", "pull", "sd15", answer="y\n").exit_code == 0
    assert folder_of("sd15") is not None


def test_a_free_licence_is_shown_and_not_asked_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["owner/free"] = Repository(files={"config.json": b"{}"})
    free = Entry(help="", licence="MIT", native=1, parameters=1, hub="owner/free", files=("config.json",))
    monkeypatch.setattr("layercli.models.catalog.CATALOG", {**CATALOG, "free": free})
    told = run("models", "pull", "free")
    assert told.exit_code == 0, told.output
    assert "MIT" in told.stderr


def test_a_fetch_goes_on_where_it_broke(repository: Repository, hub: Hub, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.break_at = [60_000] + [0] * 9  # more often than is tried again at once
    told = error_of(run("models", "pull", "sd15", "--accept-licence"))
    assert "type the same again" in told
    assert folder_of("sd15") is None
    [part] = (repository_folder(SD15) / "blobs").glob("*.incomplete")
    assert part.stat().st_size == 60_000
    hub.break_at, hub.asked = [], []
    assert run("models", "pull", "sd15", "--accept-licence").exit_code == 0
    ranges = [asked for method, path, asked in hub.asked if "fp16" in path and method == "GET"]
    assert ranges == ["bytes=60000-"]
    assert (folder_of("sd15") / "unet/diffusion_pytorch_model.fp16.safetensors").read_bytes() == WEIGHTS


def test_progress_counts_bytes_to_the_whole(repository: Repository) -> None:
    offer = ask(SD15, CATALOG["sd15"].files)
    steps: list[tuple[int, int]] = []
    fetch(offer, lambda done, total: steps.append((done, total)))
    assert {total for _, total in steps} == {offer.bytes}
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == offer.bytes == len(WEIGHTS) + 44


def test_another_file_than_the_hub_said_does_not_get_in(repository: Repository, hub: Hub) -> None:
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    repository.swapped[name] = WEIGHTS[:-1] + b"!"
    assert "another file" in error_of(run("models", "pull", "sd15", "--accept-licence"))
    assert list((repository_folder(SD15) / "blobs").glob("*")) == []
    assert folder_of("sd15") is None


def test_another_file_than_the_table_says_is_not_fetched(
    repository: Repository, hub: Hub, monkeypatch
) -> None:
    import dataclasses

    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    pinned = dataclasses.replace(CATALOG["sd15"], sha256={name: "f" * 64})
    monkeypatch.setattr("layercli.models.catalog.CATALOG", {**CATALOG, "sd15": pinned})
    assert "is not the file that layercli knows" in error_of(
        run("models", "pull", "sd15", "--accept-licence")
    )
    assert not any("resolve" in path for _, path, _ in hub.asked)


def test_a_commit_can_be_asked_for(repository: Repository) -> None:
    assert run("models", "pull", "sd15", "--revision", repository.commit, "--accept-licence").exit_code == 0
    assert folder_of("sd15").name == repository.commit
    assert not (repository_folder(SD15) / "refs").exists()
    assert "has no revision v9" in error_of(run("models", "pull", "sd15", "--revision", "v9"))


@pytest.mark.parametrize(
    ("state", "sentence", "hint"),
    [
        ("gated", "only to people who asked", "hf auth login"),
        ("private", "There is no repository", "private"),
        (None, "There is no repository", "spelling"),
    ],
)
def test_closed_doors_have_their_sentence(repository: Repository, hub: Hub, state, sentence, hint) -> None:
    if state is None:
        hub.repositories.clear()
    else:
        repository.state = state
    told = error_of(run("models", "pull", "sd15", "--accept-licence"))
    assert sentence in told and hint in told


@pytest.mark.parametrize(
    ("status", "sentence"), [(429, "too often"), (403, "does not let"), (500, "error 500")]
)
def test_a_hub_that_fails_has_its_sentence(repository, hub: Hub, monkeypatch, status, sentence) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.error = status
    assert sentence in error_of(run("models", "pull", "sd15", "--accept-licence"))


def test_no_network_has_its_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.shutdown()
    hub.server_close()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert "cannot be reached" in error_of(run("models", "pull", "sd15", "--accept-licence"))


def test_a_network_that_answers_itself_is_told_from_a_hub(hub: Hub, monkeypatch) -> None:
    """As the page of a hotel does, which answers every address with a log-in."""
    hub.page = b"<html>Welcome</html>"
    assert "is no model hub" in error_of(run("models", "pull", "sd15", "--accept-licence"))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("HF_ENDPOINT", "hub.example", "no address of a hub"),
        ("HF_ENDPOINT", "http://hub:x", "no address of a hub"),
        ("HF_TOKEN", "hf_ü", "characters in it that no token has"),
        ("HF_HOME", "file", "The cache of models cannot be written"),
        ("XDG_CACHE_HOME", "file", "cannot be recorded"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    repository: Repository, hub: Hub, tmp_path: Path, monkeypatch, name: str, value: str, sentence: str
) -> None:
    if value == "file":
        (tmp_path / "file").touch()
        monkeypatch.delenv("HF_HUB_CACHE")
        value = str(tmp_path / "file")
    monkeypatch.setenv(name, value)
    assert sentence in error_of(run("models", "pull", "sd15", "--accept-licence"))


def test_offline_means_that_nobody_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = error_of(run("models", "pull", "sd15", "--accept-licence"))
    assert "HF_HUB_OFFLINE is set" in told and "unset HF_HUB_OFFLINE" in told
    assert hub.asked == []


def test_a_full_disk_is_seen_before_and_told_after(repository: Repository, hub: Hub, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")(1, 1, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda place: usage)
        told = error_of(run("models", "pull", "sd15", "--accept-licence"))
    assert "free" in told and "HF_HOME" in told
    assert not any("resolve" in path for _, path, _ in hub.asked)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hub_module._Told, "write", full)
    assert "The disk is full" in error_of(run("models", "pull", "sd15", "--accept-licence"))
    assert folder_of("sd15") is None


def test_an_interrupt_says_that_what_has_come_is_kept(repository: Repository, monkeypatch) -> None:
    write = hub_module._Told.write

    def interrupted(self: object, block: bytes) -> int:
        write(self, block[:50_000])  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(hub_module._Told, "write", interrupted)
    told = run("models", "pull", "sd15", "--accept-licence")
    assert told.exit_code == 130
    assert "What has come is kept" in told.stderr
    monkeypatch.undo()


def test_an_unknown_name_and_number_type_are_refused(hub: Hub) -> None:
    assert "sdxl" in error_of(run("models", "pull", "sdxxl"))
    assert "float32" in error_of(run("models", "pull", "sdxl", "--precision", "int4"))
    assert "part of layercli" in error_of(run("models", "remove", "embedded", "--yes"))
    assert "nothing to fetch" in error_of(run("models", "pull", "embedded"))


def test_nets_for_photos_are_not_fetched_offline_either(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERCLI_OFFLINE", "1")
    assert "LAYERCLI_OFFLINE is set" in error_of(run("models", "pull", "u2netp"))


def test_verify_finds_what_is_missing_cut_or_changed(repository: Repository, hub: Hub) -> None:
    run("models", "pull", "sd15", "--accept-licence")
    told = json.loads(run("models", "verify", "sd15", "--json").stdout)["models"][0]["files"]
    assert {one["state"] for one in told} == {"ok"} and len(told) == 3
    name = "unet/diffusion_pytorch_model.fp16.safetensors"
    blob = (folder_of("sd15") / name).resolve()
    for content, state in (
        (WEIGHTS[:-1] + b"!", "another content"),
        (WEIGHTS[:-1], "another size"),
        (None, "missing"),
    ):
        blob.unlink()
        if content is not None:
            blob.write_bytes(content)
        told = error_of(run("models", "verify", "sd15"))
        assert f"{name} ({state})" in told and "models pull sd15 --again" in told
        blob.write_bytes(b"") if content is None else None
    assert run("models", "pull", "sd15", "--again", "--accept-licence").exit_code == 0
    assert run("models", "verify", "sd15").exit_code == 0
    assert blob.read_bytes() == WEIGHTS


def test_what_others_fetched_is_verified_by_the_names_of_the_cache(
    repository: Repository, tmp_path: Path
) -> None:
    run("models", "pull", "sd15", "--accept-licence")
    shutil.rmtree(tmp_path / "cache")
    told = json.loads(run("models", "verify", "sd15", "--json").stdout)["models"][0]["files"]
    assert {one["state"] for one in told} == {"ok"}
    (folder_of("sd15") / "unet/config.json").resolve().write_bytes(b"[]")
    assert "unet/config.json (another content)" in error_of(run("models", "verify", "sd15"))
    assert "models pull sdxl" in error_of(run("models", "verify", "sdxl"))


def test_remove_asks_and_frees_the_disk(repository: Repository) -> None:
    run("models", "pull", "sd15", "--accept-licence")
    held = bytes_in(repository_folder(SD15))
    assert held > len(WEIGHTS)
    assert json.loads(run("models", "info", "sd15", "--json").stdout)["disk_bytes"] == held
    for answer in (None, "n\n"):
        assert "was not removed" in error_of(run("models", "remove", "sd15", answer=answer))
    assert folder_of("sd15") is not None
    told = run("models", "remove", "sd15", "--yes", "--json")
    assert json.loads(told.stdout)["freed_bytes"] == held
    assert not repository_folder(SD15).exists() and folder_of("sd15") is None
    assert "is not on this machine" in error_of(run("models", "remove", "sd15", "--yes"))


def test_rows_of_one_repository_are_removed_apart(hub: Hub) -> None:
    rows = ("layerdiffuse-sd15", "layerdiffuse-sd15-joint")
    names = {name for row in rows for name in CATALOG[row].files}
    hub.repositories[LAYERDIFFUSE] = Repository(files={name: name.encode() * 9 for name in names})
    for row in rows:
        assert run("models", "pull", row, "--accept-licence").exit_code == 0
    joint = "layer_sd15_joint.safetensors"
    told = run("models", "remove", rows[1], answer="y\n")
    assert joint in told.stderr and "decoder" not in told.stderr
    assert folder_of(rows[1]) is None
    assert run("models", "verify", rows[0]).exit_code == 0
    told = json.loads(run("models", "verify", "--all", "--json").stdout)["models"]
    assert [one["name"] for one in told] == ["embedded", rows[0]]
    assert len(list((repository_folder(LAYERDIFFUSE) / "blobs").iterdir())) == len(names) - 1
    run("models", "remove", rows[0], "--yes")
    assert not repository_folder(LAYERDIFFUSE).exists()


def test_words_come_with_their_model_and_go_with_it_unless_they_were_asked_for(hub: Hub) -> None:
    words = CATALOG["sd15-words"].files
    files = {name: name.encode() for name in (*words, "model_index.json", "unet/config.json")}
    hub.repositories[SD15] = Repository(files=files)
    run("models", "pull", "sd15", "--accept-licence")
    assert folder_of("sd15-words") == folder_of("sd15")
    run("models", "remove", "sd15", "--yes")
    assert not repository_folder(SD15).exists()
    for name in ("sd15-words", "sd15"):
        assert run("models", "pull", name, "--accept-licence").exit_code == 0
    assert "shares them with sd15" in error_of(run("models", "remove", "sd15-words", "--yes"))
    assert run("models", "remove", "sd15", "--yes").exit_code == 0
    assert folder_of("sd15") is None and folder_of("sd15-words") is not None
    told = json.loads(run("models", "info", "sd15-words", "--json").stdout)
    assert told["commit"] == hub.repositories[SD15].commit


def test_a_repository_without_the_files_is_refused(hub: Hub) -> None:
    hub.repositories[SD15] = Repository(files={"README.md": b"moved"})
    with pytest.raises(LayercliError, match=r"none of the files model_index\.json"):
        ask(SD15, CATALOG["sd15"].files)


def test_what_a_model_works_with_is_fetched_with_it(hub: Hub, tmp_path: Path) -> None:
    """SDXL with LayerDiffuse is two repositories: both licences are shown first, both are recorded."""
    entry, part = CATALOG["sdxl-layerdiffuse"], CATALOG["layerdiffuse-xl"]
    base = tiny.save("sdxl", tmp_path / "made")
    tiny.layerdiffuse(tmp_path / "more", "sdxl")
    for name, folder in ((entry.hub, base), (part.hub, tmp_path / "more")):
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        hub.repositories[name] = Repository(files={path: file.read_bytes() for path, file in files.items()})
    told = run("models", "pull", "sdxl-layerdiffuse", answer="y\nn\n")
    assert "The licence of layerdiffuse-xl was not accepted" in error_of(told)
    assert hub.asked == []
    assert run("models", "pull", "sdxl", "--accept-licence").exit_code == 0
    listed = {one["name"]: one for one in json.loads(run("models", "--json").stdout)["models"]}
    assert listed["sdxl"]["at_hand"] and folder_of("sdxl-layerdiffuse") is not None
    assert not listed["sdxl-layerdiffuse"]["at_hand"]  # its base alone is
    assert listed["sdxl-layerdiffuse"]["missing"] == ["layerdiffuse-xl"]
    assert listed["realvisxl-layerdiffuse"]["missing"] == ["realvisxl-layerdiffuse", "layerdiffuse-xl"]
    [told] = [line for line in run("models").stdout.splitlines() if line.startswith(" sdxl-layerdiffuse ")]
    assert "no, 0.95 GB" in told
    assert "lacks layerdiffuse-xl" in run("doctor", "--fast").stdout
    done = run("models", "pull", "sdxl-layerdiffuse", "--accept-licence", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert Path(answer["path"]) == folder_of("sdxl-layerdiffuse")
    assert {name: Path(path) for name, path in answer["with"].items()} == {
        "layerdiffuse-xl": folder_of("layerdiffuse-xl")
    }
    from layercli.models.catalog import load_model

    assert load_model("sdxl-layerdiffuse", device="cpu").alpha
    listed = {one["name"]: one for one in json.loads(run("models", "--json").stdout)["models"]}
    assert listed["sdxl-layerdiffuse"]["at_hand"]
    asked = len(hub.asked)
    again = run("models", "pull", "sdxl-layerdiffuse")
    assert again.exit_code == 0 and len(again.stdout.splitlines()) == 2 and len(hub.asked) == asked
