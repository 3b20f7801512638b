"""Metrics beside independent ones: scikit-image's, and published formulas written down once more.

Tolerances: 1e-6 where both compute in double precision, 1e-5 where pictures are float32 on the way.
"""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import euler_number, label, regionprops
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio
from skimage.morphology import remove_small_holes

from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.core.pixels import dequantize, quantize
from layercli.evaluate import alpha, decomposition, harmony, health, recomposition
from layercli.evaluate._sample import Sample, rgb
from tests.evaluate.samples import SIDE, ground, sample, square


def soft(seed: int, side: int = 48, sigma: float = 4) -> np.ndarray:
    """A smooth alpha that touches 0 and 1."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), sigma)
    return np.clip((noise - noise.mean()) / noise.std() + 0.5, 0, 1).astype(np.float32)


def pasted(seed: int, light: float = 0.0) -> Sample:
    """A ground with a soft, textured thing, a little lighter than it should be."""
    thing = np.ones((30, 30, 4), np.float32) * np.float32([0.5 + light, 0.4 + light, 0.3, 1])
    thing[::3, :, 2] += light
    thing[..., 3] = soft(seed, 30)
    return sample(thing, at=(6, 9), seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_errors_of_alpha_are_scikit_images(seed: int):
    made, truth = soft(seed), soft(seed + 10)
    found = alpha.errors(made, truth, alpha.Options())
    assert found["mse"] == pytest.approx(1000 * mean_squared_error(truth, made), rel=1e-5)
    assert found["mad"] == pytest.approx(1000 * np.abs(np.float64(truth) - made).mean(), rel=1e-6)
    assert found["sad"] == pytest.approx(found["mad"] * made.size / 1e6, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_connectivity_with_scikit_images_regions(seed: int):
    """Rhemann et al., Eq 3-4, pixel by pixel from the definition, regions by scikit-image, 4-neighbours."""
    made, truth = soft(seed, 32, 2), soft(seed + 20, 32, 2)
    held = np.zeros(made.shape)
    alive = np.ones(made.shape, bool)
    for threshold in np.round(np.arange(0.1, 1.01, 0.1), 10):
        regions = regionprops(label((made >= threshold) & (truth >= threshold), connectivity=1))
        region = np.zeros(made.shape, bool)
        if regions:
            largest = max(regions, key=lambda one: one.area)  # the first of equals, as ours
            region[tuple(largest.coords.T)] = True
        alive &= region
        held[alive] = threshold
    degree = [1 - np.where(picture - held >= 0.15, picture - held, 0) for picture in (made, truth)]
    wanted = np.abs(degree[0] - degree[1]).sum() / 1000
    assert alpha.errors(made, truth, alpha.Options())["conn"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_recomposition_is_scikit_images_psnr(seed: int):
    made = pasted(seed)
    whole = pasted(seed, 0.07).composite
    found = recomposition.measure(dataclasses.replace(made, whole=whole), recomposition.Options())
    # A file's layers are 8-bit each, and so is what a reader puts together of them.
    pair = [rgb(dequantize(levels)) for levels in (quantize(whole), made.stack.flatten_quantized())]
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1), abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_harmony_is_iharmony4s_protocol(seed: int):
    """MSE, PSNR and fMSE = MSE of the masked pictures · H·W / foreground area, on 0-255, by scikit-image."""
    truth, made = pasted(seed), pasted(seed, 0.1)
    found = harmony.measure(dataclasses.replace(made, truth=truth), harmony.Options(side=0))
    mask = truth.covered() > 0.5
    real, fake = (rgb(one.composite).astype(np.float64) * 255 for one in (truth, made))
    assert found["mse"] == pytest.approx(mean_squared_error(real, fake), rel=1e-6)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(real, fake, data_range=255), rel=1e-6)
    masked = mean_squared_error(real * mask[..., None], fake * mask[..., None])
    assert found["fmse"] == pytest.approx(masked * mask.size / mask.sum(), rel=1e-6)


def test_holes_and_specks_are_scikit_images():
    for seed in range(6):
        solid = soft(seed, 48, 1.5) > 0.5
        options = health.Options(hole=1, speck=1)
        found = health.health(solid.astype(np.float32), options)
        area = solid.sum()
        filled = remove_small_holes(solid, max_size=solid.size, connectivity=1)
        # what remove_small_holes closes at the canvas' edge is no hole: it is open to the outside
        outside = np.pad(~solid, 1, constant_values=True)
        open_ = label(outside, connectivity=1)[1:-1, 1:-1] == label(outside, connectivity=1)[0, 0]
        assert filled.all() and found["holes"] == pytest.approx((~solid & ~open_).sum() / area, abs=1e-12)
        pieces = sorted(one.area for one in regionprops(label(solid, connectivity=2)))
        assert found["specks"] == pytest.approx(sum(pieces[:-1]) / area, abs=1e-12)
        # Euler: pieces less holes
        holes = label(~solid & ~open_, connectivity=1).max()
        assert euler_number(solid, connectivity=2) == len(pieces) - holes


def stack_of(seed: int, count: int) -> Sample:
    """A random stack: boxes of random places, sizes, colours and alphas on a ground."""
    rng = np.random.default_rng(seed)
    layers = [Layer(name="background", rgba=ground(seed))]
    for index in range(count):
        width, height = rng.integers(8, 26, 2)
        rgba = square(1, tuple(rng.uniform(size=3)))[:1, :1].repeat(height, 0).repeat(width, 1)
        rgba[..., 3] = rng.choice([1.0, 0.6])
        place = Offset(int(rng.integers(0, SIDE - width)), int(rng.integers(0, SIDE - height)))
        layers.append(Layer(name=f"box {index}", rgba=rgba.astype(np.float32), offset=place))
    return Sample(name="a", stack=LayerStack(canvas=Size(SIDE, SIDE), layers=tuple(layers)))


@pytest.mark.parametrize("seed", range(4))
def test_decomposition_by_layerds_words(seed: int):
    """Groups from the top, dynamic time warping over all pairs, greedy merges, means over the path."""
    made, truth = stack_of(seed, 3), stack_of(seed + 50, 2)
    found = decomposition.measure(dataclasses.replace(made, truth=truth), decomposition.Options(merges=2))

    def groups(one: Sample) -> list[np.ndarray]:
        left, sets = [one.placed(layer).astype(np.float64) for layer in one.layers], []
        while left:
            free = [
                not any(((a[..., 3] > 0) & (b[..., 3] > 0)).any() for b in left[i + 1 :])
                for i, a in enumerate(left)
            ]
            sets.insert(0, merged([a for a, is_free in zip(left, free, strict=True) if is_free]))
            left = [a for a, is_free in zip(left, free, strict=True) if not is_free]
        return sets

    def merged(layers: list[np.ndarray]) -> np.ndarray:
        """Porter and Duff's "over" of straight colours, back to front."""
        below = layers[0]
        for above in layers[1:]:
            a, b = above[..., 3:], below[..., 3:]
            out = a + b * (1 - a)
            colour = (above[..., :3] * a + below[..., :3] * b * (1 - a)) / np.where(out > 0, out, 1)
            below = np.concatenate([colour, out], -1)
        return below

    def numbers(layer: np.ndarray, true: np.ndarray) -> np.ndarray:
        seen = true[..., 3] > 0
        l1 = np.abs(layer[..., :3] - true[..., :3]).mean(-1)[seen].mean()
        pair = layer[..., 3], true[..., 3]
        iou = np.minimum(*pair).sum() / np.maximum(*pair).sum()
        return np.array([l1, iou, (l1 + 1 - iou) / 2])

    def warped(mine: list[np.ndarray], theirs: list[np.ndarray]) -> np.ndarray:
        table = {(i, j): numbers(a, b) for i, a in enumerate(mine) for j, b in enumerate(theirs)}

        @cache
        def best(i: int, j: int) -> tuple[float, tuple[tuple[int, int], ...]]:
            if (i, j) == (0, 0):
                return float(table[0, 0][2]), ((0, 0),)
            before = [best(*at) for at in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if min(at) >= 0]
            cost, path = min(before, key=lambda one: one[0])
            return cost + float(table[i, j][2]), (*path, (i, j))

        return np.mean([table[at] for at in best(len(mine) - 1, len(theirs) - 1)[1]], axis=0)

    mine, theirs = groups(made), groups(truth)
    plain = last = warped(mine, theirs)
    for _ in range(2):
        tries = [([*mine[:i], merged(mine[i : i + 2]), *mine[i + 2 :]], theirs) for i in range(len(mine) - 1)]
        tries += [
            (mine, [*theirs[:i], merged(theirs[i : i + 2]), *theirs[i + 2 :]]) for i in range(len(theirs) - 1)
        ]
        if not tries:
            break
        last, (mine, theirs) = min(((warped(*pair), pair) for pair in tries), key=lambda one: one[0][2])
    for name, one, merged_one in zip(("rgb_l1", "iou", "cost"), plain, last, strict=True):
        assert found[name] == pytest.approx(one, abs=1e-5)
        assert found[f"{name}_merged"] == pytest.approx(merged_one, abs=1e-5)
