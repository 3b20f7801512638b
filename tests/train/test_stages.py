"""The stages on a tiny corpus: autoencoder, latents, base UNet, each resumable and loadable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.data import composed, corpus, latents, layered
from layercli.data import layered_latents as all_frames
from layercli.data.layered_latents import box_area, placed_foregrounds
from layercli.data.pictures import draw_weights
from layercli.models.catalog import WEIGHTS
from layercli.models.embedded import EmbeddedModel
from layercli.models.embedded_network import embedded_unet, load_unet, save_unet, with_placed
from layercli.models.rgba_autoencoder import flatten_on_gray, load_autoencoder, unflatten_from_gray
from layercli.models.small_unet import PLACED
from layercli.train import autoencoder as stage_one
from layercli.train import base as stage_two
from layercli.train import export
from tests.data.mini_corpus import make_corpus


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages run once on 64 px pictures with few steps."""
    root = tmp_path_factory.mktemp("stages")
    make_corpus(root / "corpus")
    corpus.build(corpus.Options(corpus=str(root / "corpus"), out=str(root / "data"), size=256))
    composed.build(composed.Options(data=str(root / "data"), out=str(root / "composed"), globals=4, places=4))
    stage_one.train(
        stage_one.Options(
            data=str(root / "data"),
            out=str(root / "one"),
            steps=40,
            batch=4,
            crop=64,
            warmup=5,
            device="cpu",
            precision="fp32",
        )
    )
    latents.build(
        latents.Options(
            data=f"{root / 'data'},{root / 'composed'}",
            autoencoder=str(root / "one" / "autoencoder"),
            out=str(root / "latents"),
        )
    )
    return root


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=25, deadline=None)
def test_flattening_on_gray_inverts(seed: int) -> None:
    rgba = torch.rand((1, 4, 6, 6), generator=torch.Generator().manual_seed(seed))
    rgba[:, 3] = rgba[:, 3].clamp_min(0.05)
    assert torch.allclose(unflatten_from_gray(flatten_on_gray(rgba)), rgba, atol=1e-4)


def test_colour_under_alpha_zero_is_invisible_to_the_network() -> None:
    hidden = torch.rand((1, 4, 4, 4))
    hidden[:, 3] = 0
    assert torch.equal(flatten_on_gray(hidden), flatten_on_gray(torch.zeros(1, 4, 4, 4)))


def test_the_autoencoder_learned_and_its_latents_are_standardised(trained: Path) -> None:
    loaded = load_autoencoder(trained / "one" / "autoencoder")
    assert loaded.downscale == 16
    frames = stage_two.LatentFrames([trained / "latents"], stage_two.Options(batch=64))
    values, _, _ = frames.batch_at(0)
    assert values.shape == (64, 12, 16, 16)
    assert abs(values.mean().item()) < 0.4 and 0.5 < values.std().item() < 1.6
    from layercli.data.pictures import Pictures

    crops = stage_one.crop_batch(Pictures(trained / "data"), 0, stage_one.Options(batch=4, crop=64))
    with torch.no_grad():
        error = (loaded.decode_flat(loaded.encode(crops)) - flatten_on_gray(crops)).abs().mean()
    assert error < 0.9 * flatten_on_gray(crops).abs().mean()


def test_refining_the_decoder_leaves_the_encoder_bit_equal(trained: Path, tmp_path: Path) -> None:
    source = trained / "one" / "autoencoder"
    refined = stage_one.train(
        stage_one.Options(
            data=str(trained / "data"),
            out=str(tmp_path),
            init=str(source),
            decoder_only=True,
            steps=3,
            batch=2,
            crop=64,
            warmup=1,
            precision="fp32",
            device="cpu",
        )
    )
    before = load_autoencoder(source).state_dict()
    after = load_autoencoder(refined).state_dict()
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same or name.startswith("decoder."), name
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_cached_latents_are_the_encoders_within_their_quantisation(trained: Path) -> None:
    from layercli.data.pictures import Pictures

    loaded = load_autoencoder(trained / "one" / "autoencoder").eval()
    picture = Pictures(trained / "data").pixels(0)
    mirrored = np.stack([picture, picture[:, ::-1]])
    with torch.no_grad():
        raw = loaded.encode(torch.from_numpy(mirrored).permute(0, 3, 1, 2).float() / 255)
        raw = raw * loaded.scale + loaded.shift
    cached = np.load(trained / "latents" / "latents-0.npy")[0] / latents.LEVELS
    assert np.abs(raw.numpy() - cached).max() < 0.03


def test_batches_depend_on_the_step_alone(trained: Path) -> None:
    options = stage_two.Options(batch=16)
    first = stage_two.LatentFrames([trained / "latents"], options).batch_at(7)
    again = stage_two.LatentFrames([trained / "latents"], options).batch_at(7)
    assert torch.equal(first[0], again[0]) and first[1] == again[1] and torch.equal(first[2], again[2])
    assert not torch.equal(first[0], stage_two.LatentFrames([trained / "latents"], options).batch_at(8)[0])


@pytest.fixture(scope="module")
def layered_latents(trained: Path) -> Path:
    """Backgrounds and whole pictures of three layered ones, by the same autoencoder."""
    made = layered.build(layered.Options(data=str(trained / "data"), out=str(trained / "layered"), samples=3))
    return latents.build(
        latents.Options(
            data=str(made), autoencoder=str(trained / "one" / "autoencoder"), out=str(trained / "more")
        )
    )


def test_frames_of_layered_pictures_become_latents(trained: Path, layered_latents: Path) -> None:
    lines = (layered_latents / "index.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds == ["background", "global"] * 3
    assert np.load(layered_latents / "latents-0.npy").shape == (6, 2, 12, 16, 16)


def test_several_folders_are_drawn_by_their_weights(trained: Path, layered_latents: Path) -> None:
    folders = [trained / "latents", layered_latents]

    def share_of_layered(*weights: float) -> float:
        """Of the global frames: 4 composed pictures and 3 layered ones, each of weight 1."""
        frames = stage_two.LatentFrames(folders, stage_two.Options(data_weights=weights))
        chosen, sums = frames.by_kind[2]
        layered_ones = [frames.rows[i]["shard"].startswith("layered") for i in chosen]
        return float(np.diff(sums, prepend=0)[layered_ones].sum())

    assert share_of_layered() == pytest.approx(3 / 7)
    assert share_of_layered(1, 2) == pytest.approx(6 / 10)
    with pytest.raises(LayercliError, match="2 folders of data and 1 weights"):
        share_of_layered(1)
    with pytest.raises(LayercliError, match="above 0"):
        share_of_layered(1, 0)


def test_latents_of_two_autoencoders_do_not_mix(trained: Path, layered_latents: Path, tmp_path: Path) -> None:
    about = json.loads((layered_latents / "latents.json").read_text(encoding="utf-8"))
    (tmp_path / "latents.json").write_text(json.dumps(about | {"encoder_sha256": "0"}), encoding="utf-8")
    with pytest.raises(LayercliError, match="different autoencoders"):
        stage_two.LatentFrames([layered_latents, tmp_path], stage_two.Options())


def test_the_base_stage_trains_exports_and_resumes(trained: Path, tmp_path: Path) -> None:
    settings = {
        "data": str(trained / "latents"),
        "out": str(tmp_path),
        "batch": 4,
        "channels": (32, 32, 32),
        "autoencoder": str(trained / "one" / "autoencoder"),
        "warmup": 2,
        "precision": "fp32",
        "device": "cpu",
    }
    stage_two.train(stage_two.Options(steps=4, **settings))
    done: list[int] = []
    stage_two.train(stage_two.Options(steps=6, **settings), lambda step, total: done.append(step))
    assert done == [5, 6]
    assert (tmp_path / "samples-000006.png").stat().st_size > 10_000
    unet = load_unet(tmp_path / "unet")
    assert unet.config["num_class_embeds"] == 3
    assert all(p.dtype == torch.float32 for p in unet.parameters())
    assert (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size < 16 * 2**20


@pytest.fixture(scope="module")
def placed(trained: Path, layered_latents: Path) -> Path:
    """All frames of the three layered pictures, by a model with the same autoencoder."""
    save_unet(embedded_unet(12, (32, 32, 32)), trained / "base", torch.float16)
    parts = {"autoencoder": str(trained / "one"), "base": str(trained / "base")}
    model = export.train(export.Options(**parts, out=str(trained / "model")))
    return all_frames.build(
        all_frames.Options(data=str(trained / "layered"), model=str(model), out=str(trained / "placed"))
    )


def test_the_base_learns_placed_foregrounds_as_a_kind_of_their_own(
    trained: Path, placed: Path, tmp_path: Path
) -> None:
    settings = {
        "data": str(trained / "latents"),
        "placed": str(placed),
        "autoencoder": str(trained / "model" / "autoencoder"),
        "shares": (0.0, 0.0, 0.0, 1.0),
        "caption_drop": 0.0,
        "style_share": 0.0,
        "noun_share": 0.0,
        "batch": 8,
    }
    frames = stage_two.LatentFrames([trained / "latents"], stage_two.Options(**settings))
    clean, captions, kinds = frames.batch_at(0)
    rows = [json.loads(line) for line in (placed / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(captions) <= {name for row in rows for name in row["captions"][1:-1]}
    assert kinds.tolist() == [PLACED] * 8
    number = next(i for i, row in enumerate(rows) if captions[0] in row["captions"][1:-1])
    row = rows[number]
    made = np.load(placed / f"frames-{row['shard']}.npy")
    first = row["first"] + row["captions"].index(captions[0])
    nearest = min(float((clean[0] - torch.from_numpy(made[first, flip])).abs().max()) for flip in (0, 1))
    assert nearest < float((1 / 127 / frames.scale).max())  # half a level would do, but for float16

    before = embedded_unet(12, (32, 32, 32))
    save_unet(before, tmp_path / "before", torch.float16)
    more = {"steps": 2, "warmup": 1, "precision": "fp32", "device": "cpu", "out": str(tmp_path / "after")}
    stage_two.train(stage_two.Options(init=str(tmp_path / "before" / "unet"), **settings, **more))
    unet = load_unet(tmp_path / "after" / "unet")
    assert unet.config["num_class_embeds"] == PLACED + 1
    assert (unet.class_embedding.weight[PLACED] != unet.class_embedding.weight[0]).any()


def test_placed_foregrounds_need_their_encoder_and_a_share(trained: Path, placed: Path) -> None:
    data, encoder = [trained / "latents"], str(trained / "model" / "autoencoder")
    with pytest.raises(LayercliError, match="3 shares are given for 4 kinds"):
        stage_two.LatentFrames(data, stage_two.Options(placed=str(placed), autoencoder=encoder))
    for wrong in ("", str(WEIGHTS / "embedded" / "autoencoder")):
        with pytest.raises(LayercliError, match="not of the autoencoder in"):
            stage_two.LatentFrames(data, stage_two.Options(placed=str(placed), autoencoder=wrong))
    with pytest.raises(LayercliError, match="No latents of layered pictures"):
        stage_two.LatentFrames(data, stage_two.Options(placed=str(trained), autoencoder=encoder))


def test_placed_foregrounds_are_drawn_by_their_nouns_and_not_too_small(placed: Path, trained: Path) -> None:
    encoder = str(trained / "model" / "autoencoder")
    rows = [json.loads(line) for line in (placed / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    areas = sorted(box_area(box) for row in rows for box in row["boxes"])
    all_of_them, latents = placed_foregrounds([placed], encoder)
    assert len(all_of_them) == len(latents) == len(areas)
    large, latents = placed_foregrounds([placed], encoder, areas[1])
    assert len(large) == len(latents) == len([area for area in areas if area >= areas[1]]) < len(areas)
    with pytest.raises(LayercliError, match="that large"):
        placed_foregrounds([placed], encoder, 1.01)
    cats = [{"kind": "placed", "caption": "a cat", "weight": 1.0}] * 3
    dog = [{"kind": "placed", "caption": "a dog", "weight": 1.0}]
    rest = [{"kind": "placed", "caption": "a thing of no name", "weight": 1.0}]
    assert draw_weights(cats + dog + rest, 0.6) == pytest.approx([0.1, 0.1, 0.1, 0.3, 0.4])


def test_the_velocity_loss_is_zero_for_the_truth_and_weighs_as_min_snr_says() -> None:
    truth = torch.randn(3, 2, 4, 4)
    snr = torch.tensor([0.1, 5.0, 100.0])
    assert stage_two.v_prediction_loss(truth, truth, snr, 5.0) == 0
    off_by_one = stage_two.v_prediction_loss(truth + 1, truth, snr, 5.0)
    assert off_by_one.item() == pytest.approx(np.mean([0.1 / 1.1, 5 / 6, 5 / 101]), rel=1e-5)
    assert stage_two.v_prediction_loss(truth + 1, truth, snr, 0.0).item() == pytest.approx(1.0, rel=1e-5)


def test_the_parts_are_put_together_as_a_model_folder(trained: Path, tmp_path: Path) -> None:
    network = tmp_path / "base"
    save_unet(embedded_unet(12, (32, 32, 32)), network, torch.float16)
    folder = export.train(
        export.Options(autoencoder=str(trained / "one"), base=str(network), out=str(tmp_path / "model"))
    )
    model = EmbeddedModel.load(folder, name="own", device=torch.device("cpu"), dtype=torch.float32)
    report = json.loads((folder / "training.json").read_text())
    assert model.weight_hashes().items() >= report["sha256"].items()
    assert report["autoencoder"]["last"]["step"] == 40
    assert report["autoencoder"]["options"]["crop"] == 64


def test_a_base_is_blended_with_the_one_before_it(trained: Path, tmp_path: Path) -> None:
    before, after = embedded_unet(12, (32, 32, 32)), with_placed(embedded_unet(12, (32, 32, 32)))
    save_unet(before, tmp_path / "before", torch.float32)
    save_unet(after, tmp_path / "after", torch.float32)
    parts = {
        "autoencoder": str(trained / "one"),
        "base": str(tmp_path / "after"),
        "out": str(tmp_path / "model"),
    }
    export.train(export.Options(**parts, blend=str(tmp_path / "before"), share=0.75))
    mixed = load_unet(tmp_path / "model" / "unet")
    name = "conv_in.weight"
    expected = 0.25 * before.state_dict()[name] + 0.75 * after.state_dict()[name]
    assert torch.allclose(mixed.state_dict()[name], expected, atol=1e-3)
    classes = [unet.class_embedding.weight.detach() for unet in (before, after, mixed)]
    assert torch.allclose(classes[2][3], 0.25 * classes[0][0] + 0.75 * classes[1][3], atol=1e-3)
    told = json.loads((tmp_path / "model" / "training.json").read_text())["base"]["blend"]
    assert told["share"] == 0.75 and list(told["with"]) == ["unet/diffusion_pytorch_model.safetensors"]
    save_unet(embedded_unet(12, (32, 32, 64)), tmp_path / "other", torch.float32)
    for wrong, said in (
        ({"blend": str(tmp_path / "other")}, "not of one shape"),
        ({"share": 1.2}, "no share"),
    ):
        with pytest.raises(LayercliError, match=said):
            export.train(export.Options(**parts, **wrong))


def test_training_on_from_a_model_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    earlier, base = tmp_path / "model", tmp_path / "base"
    for folder in (earlier, base):
        folder.mkdir()
    (earlier / "training.json").write_text('{"base": {"last": {"step": 7}, "options": {"batch": 3}}}')
    (base / "options.json").write_text(json.dumps({"init": str(earlier / "unet"), "batch": 5}))
    report = export.report_of(base, "base")
    assert report["options"]["batch"] == 5
    assert report["before"] == {"last": {"step": 7}, "options": {"batch": 3}}
    again = tmp_path / "again"
    again.mkdir()
    (again / "options.json").write_text(json.dumps({"init": str(base / "unet"), "batch": 6}))
    assert export.report_of(again, "base")["before"] == report
    (earlier / "training.json").unlink()
    assert "before" not in export.report_of(base, "base")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayercliError, match="no trained autoencoder"):
        export.train(
            export.Options(autoencoder=str(tmp_path), base=str(tmp_path), out=str(tmp_path / "model"))
        )
