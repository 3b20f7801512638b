"""The stages of the layered methods on a tiny base: batches, losses, adapters that resume and load."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from layercli.cli.app import app
from layercli.cli.files import read_stack
from layercli.core.errors import LayercliError
from layercli.data import corpus, layered, layered_latents
from layercli.models.catalog import load_model
from layercli.models.dreamlayer import DreamLayer
from layercli.models.layerdiff import LayerDiff, Settings
from layercli.models.layerdiff_text import layer_text
from layercli.train import dreamlayer, layerdiff
from layercli.train._layered import AdapterOptions, LayeredLatents, Ledger, noise_at, times_at
from tests import tiny
from tests.data.mini_corpus import make_corpus


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layered latents of both families, and the tiny bases they belong to."""
    root = tmp_path_factory.mktemp("stages")
    make_corpus(root / "corpus")
    corpus.build(corpus.Options(corpus=str(root / "corpus"), out=str(root / "data"), size=64))
    layered.build(layered.Options(data=str(root / "data"), out=str(root / "layered"), samples=10))
    for family in ("embedded", "sd15"):
        tiny.save(family, root / family)
        layered_latents.build(
            layered_latents.Options(
                data=str(root / "layered"),
                model=str(root / family),
                out=str(root / f"{family}-latents"),
                device="cpu",
            )
        )
    return root


def settings(root: Path, out: Path, family: str = "embedded", **changes: Any) -> dict[str, Any]:
    return {
        "data": str(root / f"{family}-latents"),
        "model": str(root / family),
        "out": str(out),
        "steps": 2,
        "batch": 2,
        "warmup": 1,
        "precision": "fp32",
        "device": "cpu",
        "rank": 2,
        "steps_drawn": 0,
    } | changes


@pytest.mark.parametrize("family", ["embedded", "sd15"])
def test_a_batch_is_whole_pictures_and_depends_on_the_step_alone(root: Path, family: str) -> None:
    model = load_model(str(root / family), "cpu")
    options = AdapterOptions(batch=4, model=str(root / family))
    data = LayeredLatents([root / f"{family}-latents"], options, model)
    counts = set()
    for step in range(12):
        batch, again = data.batch_at(step), data.batch_at(step)
        assert torch.equal(batch.frames, again.frames) and batch.prompts == again.prompts
        count = len(batch.prompts[0].foregrounds)
        counts.add(count)
        assert batch.frames.shape[:2] == (4, count + 2) == batch.alphas.shape[:2]
        assert (batch.alphas[:, [0, -1]] == 1).all() and (batch.alphas[:, 1:-1].mean(dim=(2, 3)) < 1).all()
        assert (batch.masks is None) == model.alpha
    assert len(counts) > 1


def test_mirrored_frames_come_with_mirrored_alphas(root: Path) -> None:
    """Every picture of a batch is one of the files', as it is or with all its parts mirrored."""
    model, folder = load_model(str(root / "sd15"), "cpu"), root / "sd15-latents"
    data = LayeredLatents([folder], AdapterOptions(batch=6), model)
    (file,) = folder.glob("frames-*.npy")
    names = {
        part: file.with_name(file.name.replace("frames", part)) for part in ("frames", "alphas", "masks")
    }
    frames, alphas, masks = (
        np.load(names[part]).astype(np.float32) for part in ("frames", "alphas", "masks")
    )
    seen = set()
    for step in range(4):
        batch = data.batch_at(step)
        assert batch.masks is not None
        for picture, alpha, mask in zip(batch.frames, batch.alphas, batch.masks, strict=True):
            found = [
                (row["first"], flip)
                for row in data.rows
                for flip in (0, 1)
                if len(row["captions"]) == len(picture)
                and np.array_equal(frames[row["first"] : row["first"] + len(picture), flip], picture)
            ]
            first, flip = found[0]
            span = slice(first, first + len(picture))
            expected = alphas[span, :, ::-1] if flip else alphas[span]
            assert np.allclose(expected / 255, alpha) and np.array_equal(masks[span, flip], mask)
            seen.add(flip)
    assert seen == {0, 1}


def test_several_folders_are_drawn_by_their_weights(root: Path) -> None:
    model, folder = load_model(str(root / "embedded"), "cpu"), root / "embedded-latents"
    far = root / "embedded-latents-far"
    shutil.copytree(folder, far)
    for file in far.glob("frames-*.npy"):
        np.save(file, np.load(file) + 100)

    def share(*weights: float) -> float:
        data = LayeredLatents([folder, far], AdapterOptions(batch=32, data_weights=weights), model)
        return float(np.mean([(data.batch_at(step).frames > 50).float().mean() for step in range(20)]))

    assert abs(share() - 0.5) < 0.1
    assert abs(share(1, 9) - 0.9) < 0.05
    with pytest.raises(LayercliError, match="2 folders of data and 1 weights"):
        share(1)


def test_pictures_of_small_things_can_be_left_out(root: Path) -> None:
    model, folders = load_model(str(root / "embedded"), "cpu"), [root / "embedded-latents"]
    rows = LayeredLatents(folders, AdapterOptions(), model).rows
    areas = [min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in row["boxes"]) for row in rows]
    limit = sorted(areas)[len(areas) // 2]
    kept = LayeredLatents(folders, AdapterOptions(smallest_box=limit), model).rows
    assert kept == [row for row, area in zip(rows, areas, strict=True) if area >= limit]
    assert 0 < len(kept) < len(rows)
    with pytest.raises(LayercliError, match="foregrounds that large"):
        LayeredLatents(folders, AdapterOptions(smallest_box=1.0), model)


def test_captions_are_dropped_together_and_styled_together(root: Path) -> None:
    model = load_model(str(root / "embedded"), "cpu")
    options = AdapterOptions(batch=64, caption_drop=0.5, style_share=0.5, noun_share=0.5)
    prompts = LayeredLatents([root / "embedded-latents"], options, model).batch_at(0).prompts
    dropped = [one for one in prompts if not one.whole]
    assert 16 < len(dropped) < 48
    assert all(not one.background and not any(one.foregrounds) and not one.style for one in dropped)
    told = [one for one in prompts if one.whole]
    assert all(one.background in one.whole and all(f in one.whole for f in one.foregrounds) for one in told)
    assert 0 < sum(bool(one.style) for one in told) < len(told)


def test_times_are_stratified_and_noise_repeats() -> None:
    options = AdapterOptions(time_power=1.0)
    times = times_at(3, 10, options, 1000)
    assert sorted(t // 100 for t in times.tolist()) == list(range(10))
    assert torch.equal(times, times_at(3, 10, options, 1000)) and not torch.equal(
        times, times_at(4, 10, options, 1000)
    )
    like = torch.zeros(2, 3)
    assert torch.equal(noise_at(1, like, options), noise_at(1, like, options))
    assert not torch.equal(noise_at(1, like, options), noise_at(2, like, options))


def test_a_ledger_holds_means(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.add(noise=torch.tensor(1.0), context=torch.tensor(3.0))
    ledger.add(noise=torch.tensor(2.0), context=torch.tensor(5.0))
    ledger.write(7)
    ledger.write(8)
    assert json.loads((tmp_path / "l.jsonl").read_text()) == {"step": 7, "noise": 1.5, "context": 4.0}


@pytest.mark.parametrize("family", ["embedded", "sd15"])
def test_dreamlayer_trains_resumes_and_loads(root: Path, tmp_path: Path, family: str) -> None:
    dreamlayer.train(dreamlayer.Options(**settings(root, tmp_path, family)))
    done: list[int] = []
    options = dreamlayer.Options(
        **settings(root, tmp_path, family, steps=4, steps_drawn=2 * (family == "sd15"))
    )
    folder = dreamlayer.train(options, lambda step, total: done.append(step))
    assert done == [3, 4]
    assert (tmp_path / "samples-000004.png").exists() == (family == "sd15")
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4] and all(row["context"] > 0 for row in rows)
    model = load_model(str(root / family), "cpu")
    adapter = DreamLayer.load(folder, model.unet)
    fresh = DreamLayer(model.unet, adapter.settings)
    assert any(
        not torch.allclose(one, two, atol=1e-3)
        for one, two in zip(adapter.parameters(), fresh.parameters(), strict=True)
    )


def test_equation_8_is_the_sum_of_its_parts(root: Path, tmp_path: Path) -> None:
    options = dreamlayer.Options(**settings(root, tmp_path, lambda_context=2.0, lambda_layout=0.5))
    model = load_model(options.model, "cpu")
    data = LayeredLatents([Path(options.data)], options, model)
    torch.manual_seed(0)
    objective = dreamlayer.Objective(DreamLayer(model.unet), model, data, options)
    loss = objective(5)
    objective.ledger.file.parent.mkdir(exist_ok=True)
    objective.ledger.write(5)
    parts = json.loads(objective.ledger.file.read_text())
    assert loss.item() == pytest.approx(
        parts["noise"] + 2 * parts["context"] + 0.5 * parts["layout"], abs=1e-4
    )
    # A fresh adapter leaves the base's own error: what its plain denoiser gives for the same lesson.
    batch = data.batch_at(5)
    clean = batch.frames.flatten(0, 1)
    each = batch.frames.shape[1]
    times = times_at(5, 2, options, 1000).repeat_interleave(each)
    noisy, target = model.schedule.lesson(clean, noise_at(5, clean, options), times)
    from layercli.models.dreamlayer_text import layered_text

    text = layered_text(model, objective.adapter, batch.prompts, model.native_size)
    with torch.no_grad():
        error = (model.denoiser(text.conditioning)(noisy, times) - target).square().mean()
    assert parts["noise"] == pytest.approx(error.item(), rel=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_lesson_is_answered_by_what_splits_into_it(prediction: Any) -> None:
    """The right answer to a lesson splits into the very picture and noise it was made of."""
    schedule = dataclasses.replace(tiny.embedded(8).schedule, prediction=prediction)
    x0, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    times = torch.tensor([50, 700])
    shown, target = schedule.lesson(x0, noise, times)
    for row, t in enumerate(times.tolist()):
        found = schedule.split(shown[row], target[row], t)
        assert torch.allclose(found[0], x0[row], atol=1e-3) and torch.allclose(
            found[1], noise[row], atol=1e-3
        )


@pytest.mark.parametrize("family", ["embedded", "sd15"])
def test_layerdiff_trains_resumes_and_loads(root: Path, tmp_path: Path, family: str) -> None:
    small = settings(root, tmp_path, family, width=8)
    layerdiff.train(layerdiff.Options(**small))
    done: list[int] = []
    options = layerdiff.Options(**small | {"steps": 4, "steps_drawn": 2 * (family == "sd15")})
    folder = layerdiff.train(options, lambda step, total: done.append(step))
    assert done == [3, 4]
    assert (tmp_path / "samples-000004.png").exists() == (family == "sd15")
    model = load_model(str(root / family), "cpu")
    adapter = LayerDiff.load(folder, model.unet)
    assert (adapter.masks is None) == model.alpha
    assert adapter.blocks[0].feed[2].weight.abs().max() > 0


def test_equation_5_is_the_bases_own_error_at_first(root: Path, tmp_path: Path) -> None:
    """A fresh adapter's loss is what the plain base makes of the same layers, and of masks as pictures."""
    for family in ("embedded", "sd15"):
        options = layerdiff.Options(**settings(root, tmp_path, family, same_time=1.0))
        model = load_model(options.model, "cpu")
        data = LayeredLatents([Path(options.data)], options, model)
        adapter = LayerDiff(model.unet, Settings(masks=not model.alpha))
        objective = layerdiff.Objective(adapter, model, data, options)
        batch = data.batch_at(3)
        clean = layerdiff.layers_of(batch, masks=not model.alpha)
        channels = batch.frames.shape[2]
        times = times_at(3, 2, options, 1000).repeat_interleave(batch.frames.shape[1] - 1)
        noisy, target = model.schedule.lesson(clean, noise_at(3, clean, options), times)
        text = layer_text(model, adapter, batch.prompts, model.native_size)
        with torch.no_grad():
            answer = model.denoiser(text.conditioning)(noisy[:, :channels], times)
            answers = torch.cat([answer] * (clean.shape[1] // channels), dim=1)
            assert objective(3).item() == pytest.approx((answers - target).square().mean().item(), rel=1e-4)


def test_layers_have_one_time_or_each_its_own() -> None:
    for share, alike in ((1.0, True), (0.0, False)):
        options = layerdiff.Options(same_time=share)
        times = layerdiff.layer_times(2, 8, 3, options, 1000).reshape(8, 3)
        assert all((row == row[0]).all() for row in times) == alike
    half = layerdiff.layer_times(2, 400, 3, layerdiff.Options(), 1000).reshape(400, 3)
    assert 140 < sum(bool((row == row[0]).all()) for row in half) < 260


def test_latents_of_another_encoder_are_refused(root: Path, tmp_path: Path) -> None:
    wrong = settings(root, tmp_path) | {"model": str(root / "sd15")}
    with pytest.raises(LayercliError, match="another model"):
        dreamlayer.train(dreamlayer.Options(**wrong))
    with pytest.raises(LayercliError) as caught:
        dreamlayer.train(dreamlayer.Options(**settings(root, tmp_path) | {"data": str(tmp_path)}))
    assert "layercli data layered-latents" in caught.value.hint


@pytest.mark.parametrize("stage", ["dreamlayer", "layerdiff"])
def test_an_adapter_for_a_base_is_trained_and_drawn_with(
    root: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SD 1.5's family, as a person types it; the loss falls, and the adapter draws."""
    monkeypatch.chdir(tmp_path)

    def typed(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    small = ["-O", "batch=2", "-O", "rank=2", "-O", "warmup=1", "-O", "learning-rate=0.01"]
    small += ["-O", "steps-drawn=0", "-O", "precision=fp32", "-O", "caption-drop=0"]
    for steps in (6, 24):
        trained = typed(
            "train", stage, "--base", root / "sd15", "--data", root / "sd15-latents", "--out", "run",
            "--steps", steps, "--device", "cpu", *small,
        )  # fmt: skip
        assert trained.exit_code == 0, trained.stderr
    rows = [json.loads(line) for line in Path("run/losses.jsonl").read_text().splitlines()]
    part = "context" if stage == "dreamlayer" else "noise"
    assert [row["step"] for row in rows] == [6, 24] and rows[1][part] < rows[0][part]
    drawing = ["generate", "--fg", "a cat", "--bg", "a sofa", "--model", root / "sd15", "--method", stage]
    drawing += ["--size", "32x32", "--steps", "2", "-o", "a.psd"]
    missing = typed(*drawing)
    assert missing.exit_code == 2 and f"layercli train {stage} --base" in missing.stderr
    drawn = typed(*drawing, "-O", "adapter=run/adapter")
    assert drawn.exit_code == 0, drawn.stderr
    stack = read_stack(Path("a.psd"))
    assert stack.names[:2] == ("background", "a cat") and stack.receipt is not None
    assert f"{stage}/adapter.safetensors" in stack.receipt.weights


def test_a_stage_of_the_embedded_model_has_no_base() -> None:
    refused = CliRunner().invoke(app, ["train", "base", "--base", "sd15"])
    assert refused.exit_code == 2 and "base trains a part of the embedded model" in refused.stderr
