"""Metrics that look at one stack: what each must say of stacks whose fault is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from layercli.core.layers import WHOLE, Layer, Offset
from layercli.core.pixels import dequantize
from layercli.core.registry import load, options_for, plugins
from layercli.evaluate import (
    agreement,
    harmony,
    health,
    layers,
    leakage,
    locality,
    recomposition,
    seam,
    speed,
)
from layercli.evaluate._sample import NotJudged, Sample
from tests.evaluate.samples import ground, sample, square


def with_layer(old: Sample, name: str, layer: Layer, **settings: object) -> Sample:
    return dataclasses.replace(old, stack=old.stack.replace(name, layer), **settings)


def copied_background(soft: float = 1.0) -> Sample:
    """The background is the picture itself, thing and all."""
    clean = sample(square())
    leaked = clean.composite * soft + ground() * (1 - soft)
    leaked[..., 3] = 1
    return with_layer(clean, "background", Layer(name="background", rgba=leaked.astype(np.float32)))


@pytest.mark.parametrize("name", plugins("layercli.evaluate"))
def test_every_metric_keeps_the_contract(name: str):
    module = load("layercli.evaluate", name)
    assert module.NEEDS in ("", "truth", "whole", "reference", "seeds")
    assert hasattr(module, "measure") != hasattr(module, "distance")
    for part, better, unit, worst in module.NUMBERS.values():
        assert part in ("composite", "background", "foreground", "layers", "*")
        assert better in ("higher", "lower", "neither") and isinstance(unit, str)
        assert worst is None or worst >= 0
    folders = {"clip": {"model": "a"}, "aesthetic": {"model": "a", "head": "b"}}
    assert dataclasses.is_dataclass(options_for(module, folders.get(name, {})))
    assert module.Options.__doc__ and module.__doc__


def test_layers_that_give_the_picture_recompose_it():
    made = sample(square())
    whole = dequantize(made.stack.flatten_quantized())
    found = recomposition.measure(dataclasses.replace(made, whole=whole), recomposition.Options())
    assert found == {"max": 0, "mean": 0, "psnr": 100}


def test_recomposition_in_levels_and_decibels_by_hand():
    made = sample()
    whole = dequantize(made.stack.flatten_quantized())
    off = whole.copy()
    off[..., :3] += 4 / 255 * np.where(whole[..., :3] < 0.5, 1, -1)
    found = recomposition.measure(dataclasses.replace(made, whole=off), recomposition.Options())
    assert found["max"] == pytest.approx(4, abs=1e-3) and found["mean"] == pytest.approx(4, abs=1e-3)
    assert found["psnr"] == pytest.approx(20 * np.log10(255 / 4), abs=1e-3)
    with pytest.raises(NotJudged, match="no picture came with the layers"):
        recomposition.measure(made, recomposition.Options())


def test_a_copied_background_leaks_and_a_clean_one_does_not():
    clean = leakage.measure(sample(square()), leakage.Options())
    copied = leakage.measure(copied_background(), leakage.Options())
    half = leakage.measure(copied_background(0.5), leakage.Options())
    assert clean["copied"] < 0.05 and clean["share"] < 0.05 and clean["ghost"] < 2
    assert copied["copied"] == pytest.approx(1) and copied["share"] == pytest.approx(1, abs=0.01)
    assert half["copied"] < 0.05 and half["share"] == pytest.approx(0.5, abs=0.05)
    assert copied["ghost"] > half["ghost"] > 5 * max(clean["ghost"], 0.5)


def test_leakage_needs_something_hidden():
    with pytest.raises(NotJudged, match="hides"):
        leakage.measure(sample(), leakage.Options())


def test_empty_and_doubled_layers_are_counted():
    clear = np.zeros((8, 8, 4), np.float32)
    asked = sample(square(), clear, asked=("a cat", "a dog"))
    found = layers.measure(asked, layers.Options())
    assert found == {"empty": 0.5, "duplicate": 0, "count": 1, "count_error": 0}
    twice = sample(square(), square())
    twin = dataclasses.replace(twice.stack.layers[2], offset=twice.stack.layers[1].offset)
    doubled = with_layer(twice, "thing 1", twin, truth=sample(square()))
    assert layers.measure(doubled, layers.Options()) == {
        "empty": 0, "duplicate": 0.5, "count": 0, "count_error": 1,
    }  # fmt: skip
    recoloured = dataclasses.replace(twin, rgba=square(colour=(0.1, 0.9, 0.1)))
    other = with_layer(doubled, "thing 1", recoloured)
    assert layers.measure(other, layers.Options())["duplicate"] == 0


def test_moving_a_layer_changes_nothing_elsewhere():
    before = sample(square())
    moved = dataclasses.replace(before.stack.layers[1], offset=Offset(20, 20))
    after = with_layer(before, "thing 0", moved, truth=before)
    assert locality.measure(after, locality.Options()) == {"changed": 0, "max": 0}
    with pytest.raises(NotJudged, match="no layer differs"):
        locality.measure(dataclasses.replace(before, truth=before), locality.Options())


def test_an_edit_that_touches_other_places_is_seen():
    before = sample(square(), square(6))
    light = ground()
    light[..., 3] = 0.2
    light[:, 24:] = 0
    spilled = dataclasses.replace(
        before.stack, layers=(*before.stack.layers, Layer(name="shadow", rgba=light, blend="multiply"))
    )
    after = dataclasses.replace(before, stack=spilled, truth=before)
    assert locality.measure(after, locality.Options())["changed"] == 0  # the shadow itself is the edit
    behind = before.stack.layers[0]
    tinted = dataclasses.replace(behind, rgba=np.minimum(behind.rgba * np.float32(1.1), 1))
    with pytest.raises(NotJudged, match="the whole canvas"):
        locality.measure(with_layer(before, "background", tinted, truth=before), locality.Options())


def test_harmony_by_hand():
    truth = sample(square(24, (0.5, 0.5, 0.5)), at=(8, 8))
    lighter = truth.stack.layers[1].rgba.copy()
    lighter[..., :3] += 10 / 255
    made = with_layer(truth, "thing 0", dataclasses.replace(truth.stack.layers[1], rgba=lighter), truth=truth)
    found = harmony.measure(made, harmony.Options(side=0))
    assert found["fmse"] == pytest.approx(100, rel=1e-3)
    assert found["mse"] == pytest.approx(100 * 24**2 / 48**2, rel=1e-3)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / found["mse"]), rel=1e-6)
    assert harmony.measure(made, harmony.Options())["fmse"] == pytest.approx(100, rel=0.1)  # resized to 256


def test_a_seam_is_as_large_as_the_jump():
    found = []
    for level in (0.5, 0.7):
        flat = ground()
        flat[..., :3] = 0.5
        thing = np.ones((16, 16, 4), np.float32)
        thing[..., :3] = level
        made = with_layer(sample(thing), "background", Layer(name="background", rgba=flat))
        found.append(seam.measure(made, seam.Options()))
    assert found[0] == pytest.approx({"light": 0, "colour": 0, "contrast": 0, "sharpness": 0}, abs=0.01)
    assert found[1]["light"] == pytest.approx(0.2 * 255, rel=0.01)
    assert found[1]["colour"] == pytest.approx(0, abs=0.01)


def disc(side: int = 64, radius: float = 20, edge: float = 1.0) -> np.ndarray:
    rows, columns = np.mgrid[0:side, 0:side] - side / 2 + 0.5
    return np.clip((radius - np.hypot(rows, columns)) / edge + 0.5, 0, 1).astype(np.float32)


def test_a_clean_disc_is_healthy():
    found = health.health(disc(), health.Options())
    assert found["soft"] < 0.15 and found["haze"] < 0.02
    assert (found["holes"], found["specks"], found["cut"], found["empty"]) == (0, 0, 0, 0)


def test_every_fault_of_an_alpha_is_seen_by_its_own_number():
    holed, specked, cut = disc(), disc(), np.roll(disc(), 24, axis=1)
    holed[30:32, 30:33] = 0
    specked[2:5, 2:5] = 1
    area = int((disc() >= 0.5).sum())
    assert health.health(holed, health.Options())["holes"] == pytest.approx(6 / (area - 6))
    assert health.health(specked, health.Options())["specks"] == pytest.approx(9 / (area + 9))
    assert health.health(cut, health.Options())["cut"] == 1
    hazy = np.maximum(disc(), 0.2)
    assert health.health(hazy, health.Options())["haze"] > 0.3
    assert health.health(disc(edge=16), health.Options())["soft"] > 0.5
    assert health.health(np.zeros((8, 8), np.float32), health.Options())["empty"] == 1
    ring = disc(64, 25) - disc(64, 15)
    assert health.health(ring, health.Options())["holes"] == 0  # a ring is meant to have its hole


def test_layers_agree_with_the_whole_picture_that_was_kept():
    whole = sample(square())
    kept = Layer(name=WHOLE, rgba=dequantize(whole.stack.flatten_quantized()), visible=False)
    shadow = Layer(name="shadows", rgba=0.5 * np.ones((8, 8, 4), np.float32), blend="multiply")
    same = dataclasses.replace(
        whole, stack=dataclasses.replace(whole.stack, layers=(*whole.stack.layers, shadow, kept))
    )
    options = agreement.Options()
    assert agreement.measure(same, options) == {"mean": 0, "inside": 0, "outside": 0}  # effects do not count
    lighter = kept.rgba.copy()
    lighter[14:30, 12:28, :3] = 0
    other = dataclasses.replace(kept, rgba=lighter)
    stack = dataclasses.replace(whole.stack, layers=(*whole.stack.layers, other))
    found = agreement.measure(dataclasses.replace(whole, stack=stack), options)
    square_levels = float(kept.rgba[14:30, 12:28, :3].mean() * 255)
    assert found["inside"] == pytest.approx(square_levels) and found["outside"] == 0
    assert found["mean"] == pytest.approx(square_levels * 256 / 48**2)
    with pytest.raises(NotJudged, match="whole=yes"):
        agreement.measure(whole, options)


def test_time_is_read_from_the_receipt():
    assert speed.measure(sample(seconds=2.5), speed.Options()) == {"seconds": 2.5}
    with pytest.raises(NotJudged):
        speed.measure(sample(), speed.Options())
