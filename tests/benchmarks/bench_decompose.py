"""How well photos come apart: held-out objects with true alpha over photos, against the truth.

Run it: python tests/benchmarks/bench_decompose.py CORPUS [--count 24] [--hint box] [--look DIR]
CORPUS is a folder of shards with a manifest.jsonl (examples/rebuild_corpus.py makes one); only objects and
scenes that training never sees are used. Rows: ours; the net's own mask with the photo's colours over
OpenCV's Telea fill, which is what background removers give; the input as one layer. Ours is all objects
together; the alpha of the one layer that fits best is told beside it, since scenes hold things of their own,
which stand out as well where no hint is given. The hole's numbers are also told for OpenCV's Navier-Stokes
and scikit-image's biharmonic fill, each in the hole that ours found, so that all fill the same. --rooms
FOLDER takes rendered rooms apart instead, whose layers are known (layercli data rooms makes such a folder),
and tells LayerD's protocol; --speed tells seconds and memory at 1, 12 and 48 megapixels.

Alpha: SAD /1000, MSE x 1e-3, Grad (sigma 1.4) /1000, Conn (step 0.1) /1000 over the whole picture, soft IoU;
colour: mean absolute error of alpha * F. Hole, where the true alpha is over 0.5: PSNR; SSIM; sharpness, the
mean gradient as a share of the truth's, 1 at best; gradients, how far the distribution of their magnitudes is
from the truth's (Wasserstein's first distance, in 255ths), 0 at best.

--single NET ... keeps to photos in which nothing stands out before the object is put in. Where a scene has
a building or a lamp that stands out too, finding that is no mistake which better cuts could mend, and the
mean tells about scenes. A scene is judged bare, before any object is drawn for it, by every net named: none
may be sure of more of it than the smallest share of a photo that layercli takes for an object. The nets' own
answers count, not stretched to reach 1, since a stretched one finds something everywhere. The composite, the
truth and what any method makes of them have no say. Rendered rooms are made around a thing, so none is drawn;
as no net here has learned from the photos, all of the corpus are, none twice, until there are enough.
"""

from __future__ import annotations

import argparse
import io
import resource
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from layerd_rooms import measured
from PIL import Image
from scipy import ndimage
from scipy.stats import wasserstein_distance
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.layers import LayerStack
from layercli.core.pixels import dequantize, quantize, save_png
from layercli.core.recomposition import leakage, recomposition
from layercli.data.corpus import is_held_out, read_manifest
from layercli.decompose.matte import Options, decompose
from layercli.vision.nets import weights_of
from layercli.vision.saliency import NetFinder, open_finder

SIZE = (720, 960)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A composite and what it was made of: photo, behind, colour (H, W, 3), alpha (H, W)."""

    name: str
    photo: np.ndarray
    behind: np.ndarray
    colour: np.ndarray
    alpha: np.ndarray


def truths(corpus: Path, count: int, seed: int, judges: Sequence[str] = ()) -> list[Truth]:
    """Held-out objects, rendered in 3D, over held-out scenes or those empty to judges, at 960 x 720."""
    every = list(read_manifest(corpus))
    rows = [row for row in every if is_held_out(row, 0.03)]
    objects = [row for row in rows if row["kind"] == "fg" and row["style"].startswith("3D")]
    scenes = [row for row in rows if row["kind"] == "bg" and row["style"] in ("photo", "3D render (room)")]
    rng = np.random.default_rng(seed)
    models = {row.get("model") or row["member"]: row for row in objects}  # one view of each model
    chosen = rng.choice(sorted(models), count, replace=False)
    if judges:
        photos = [row for row in every if row["kind"] == "bg" and row["style"] == "photo"]
        mixed = [photos[place] for place in rng.permutation(len(photos))]
        taken = _empty_scenes(corpus, mixed, count, judges)
    else:
        taken = [scenes[place] for place in rng.integers(0, len(scenes), count)]
    return [
        _composed(_picture(corpus, models[key]), _scene(corpus, row), str(key), rng)
        for key, row in zip(chosen, taken, strict=True)
    ]


def _empty_scenes(
    corpus: Path, rows: list[dict[str, Any]], count: int, judges: Sequence[str]
) -> list[dict[str, Any]]:
    """The first so many scenes of rows in which no net that judges is sure of anything."""
    finders = []
    for name in judges:
        weights = weights_of(name)
        if weights is None:
            raise SystemExit(f"{name} cannot judge scenes: its weights are not at hand.")
        finder = NetFinder(name, weights)
        finder.net = replace(finder.net, stretch=False)
        finders.append(finder)
    kept: list[dict[str, Any]] = []
    for seen, row in enumerate(rows, 1):
        scene = _scene(corpus, row)
        if all(float((finder(scene) > 0.5).mean()) < Options().least for finder in finders):
            kept.append(row)
        if len(kept) == count:
            print(f"{seen - count} of {seen} scenes refused, as something stands out in them", flush=True)
            return kept
    raise SystemExit(f"Only {len(kept)} of {len(rows)} scenes are empty to {', '.join(judges)}.")


def _scene(corpus: Path, row: dict[str, Any]) -> np.ndarray:
    """A scene's upper left at 960 x 720: (H, W, 3) in [0, 1]."""
    picture = _picture(corpus, row)
    height, width = SIZE
    scale = max(width / picture.width, height / picture.height)
    size = (round(picture.width * scale) + 1, round(picture.height * scale) + 1)
    enlarged = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return dequantize(np.asarray(enlarged)[:height, :width])


def _picture(corpus: Path, row: dict[str, Any]) -> Image.Image:
    with tarfile.open(corpus / row["shard"]) as shard:
        file = shard.extractfile(row["member"])
        assert file is not None
        return Image.open(io.BytesIO(file.read())).convert("RGBA")


def _composed(thing: Image.Image, scene: np.ndarray, name: str, rng: np.random.Generator) -> Truth:
    height, width = SIZE
    behind = np.clip(scene + rng.normal(0, 0.008, (*SIZE, 3)), 0, 1).astype(np.float32)
    thing = thing.crop(thing.getchannel("A").getbbox())
    tall = height * rng.uniform(0.35, 0.7)
    factor = min(tall / thing.height, 0.7 * width / thing.width)
    size = (max(8, round(thing.width * factor)), max(8, round(thing.height * factor)))
    premultiplied = thing.convert("RGBa").resize(size, Image.Resampling.BICUBIC)
    pixels = dequantize(np.asarray(premultiplied))
    alpha, colour = np.zeros(SIZE, np.float32), np.zeros((*SIZE, 3), np.float32)
    left = round(rng.uniform(0.05, 0.95) * (width - size[0]))
    top = round(rng.uniform(0.5, 0.95) * (height - size[1]))
    alpha[top : top + size[1], left : left + size[0]] = pixels[..., 3]
    colour[top : top + size[1], left : left + size[0]] = pixels[..., :3]  # times alpha
    photo = dequantize(quantize(colour + (1 - alpha[..., None]) * behind))
    return Truth(name=name, photo=photo, behind=behind, colour=colour, alpha=alpha)


def hint_of(truth: Truth, hint: str) -> dict[str, Any]:
    """The fields of a request that point at the object: its box, or its innermost point."""
    solid = truth.alpha > 0.5
    if hint == "box":
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        height, width = solid.shape
        box = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
        return {"boxes": {"object": tuple(map(float, box))}}
    if hint == "point":
        depth = ndimage.distance_transform_edt(solid)
        y, x = np.unravel_index(int(depth.argmax()), solid.shape)
        return {"points": {"object": (float(x) / solid.shape[1], float(y) / solid.shape[0])}}
    return {}


def alpha_scores(alpha: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """SAD, MSE, Grad, Conn (Rhemann et al. 2009) and soft IoU of (H, W) in [0, 1]."""
    apart = np.abs(alpha - true)
    slopes = [
        np.hypot(*(ndimage.gaussian_filter(a, 1.4, order=order) for order in ((1, 0), (0, 1))))
        for a in (alpha, true)
    ]
    return {
        "SAD": float(apart.sum()) / 1000,
        "MSE": float((apart**2).mean()) * 1000,
        "Grad": float(((slopes[0] - slopes[1]) ** 2).sum()) / 1000,
        "Conn": _connectivity(alpha, true) / 1000,
        "IoU": soft_iou(alpha, true),
    }


def soft_iou(alpha: np.ndarray, true: np.ndarray) -> float:
    """Σ min / Σ max."""
    return float(np.minimum(alpha, true).sum() / max(np.maximum(alpha, true).sum(), 1e-9))


def _connectivity(alpha: np.ndarray, true: np.ndarray) -> float:
    level = np.full(alpha.shape, -1.0)
    steps = np.arange(0, 1.01, 0.1)
    for step, before in zip(steps[1:], steps[:-1], strict=True):
        numbers, count = ndimage.label((alpha >= step) & (true >= step))
        if count:
            largest = np.argmax(np.bincount(numbers.ravel())[1:]) + 1
            level[(level == -1) & (numbers != largest)] = before
        else:
            level[level == -1] = before
    level[level == -1] = 1
    away = [a - level for a in (alpha, true)]
    kept = [1 - a * (a >= 0.15) for a in away]
    return float(np.abs(kept[0] - kept[1]).sum())


def hole_scores(filled: np.ndarray, truth: Truth) -> dict[str, float]:
    """PSNR, SSIM and the statistics of gradients of a background where the object stood."""
    hole = truth.alpha > 0.5
    psnr = -10 * np.log10(max(float(((filled - truth.behind)[hole] ** 2).mean()), 1e-9))
    _, ssim = structural_similarity(filled, truth.behind, channel_axis=-1, data_range=1.0, full=True)
    mine, theirs = (_slopes(picture)[hole] for picture in (filled, truth.behind))
    return {
        "hole PSNR": psnr,
        "hole SSIM": float(ssim[hole].mean()),
        "hole sharpness": float(mine.mean() / max(float(theirs.mean()), 1e-6)),
        "hole gradients": float(wasserstein_distance(mine, theirs)) * 255,
    }


def _slopes(rgb: np.ndarray) -> np.ndarray:
    """The magnitude of the gradient of the gray picture: (H, W, 3) -> (H, W), per pixel."""
    rows, columns = np.gradient(rgb.mean(axis=-1))
    return np.hypot(rows, columns)


def stack_alpha(stack: LayerStack) -> tuple[np.ndarray, np.ndarray]:
    """The alpha of all objects together (H, W), and their colour times alpha (H, W, 3)."""
    colour = np.zeros((stack.canvas.height, stack.canvas.width, 3), np.float32)
    rest = np.ones(colour.shape[:2], np.float32)
    for layer in stack.layers[1:]:
        if layer.blend == "normal":
            rgba = stack.placed(layer.name)
            colour = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:]) * colour
            rest *= 1 - rgba[..., 3]
    return 1 - rest, colour


def best_alpha(stack: LayerStack, true: np.ndarray) -> np.ndarray:
    """The alpha of the object (H, W) that fits the true one best by soft IoU."""
    alphas = [stack.placed(layer.name)[..., 3] for layer in stack.layers[1:] if layer.blend == "normal"]
    return max(alphas, key=lambda alpha: soft_iou(alpha, true))


def rows_of(
    truth: Truth, net: str, hint: str, options: Options, look: Path | None
) -> dict[str, dict[str, float]]:
    """The table's rows for one composite."""
    request = DecomposeRequest(photo=truth.name, **hint_of(truth, hint))
    began = time.process_time()  # of the processor, since other programs may use the machine
    stack = decompose(request, truth.photo, options)
    seconds = time.process_time() - began
    alpha, colour = stack_alpha(stack)
    background = stack.layers[0].rgba[..., :3]
    ours = {
        **alpha_scores(alpha, truth.alpha),
        "colour": float(np.abs(colour - truth.colour).sum(axis=-1).mean()) * 1000,
        **hole_scores(background, truth),
        "leak": leakage(truth.photo, background, truth.alpha),
        "error": float(recomposition(truth.photo, stack).most),
        "s": seconds,
    }
    raw = open_finder(net, weights_of(net) if net != "classical" else None)(truth.photo)
    raw = dequantize(quantize(raw))
    hole = quantize((alpha > 0).astype(np.float32))
    level = quantize(truth.photo)
    telea = dequantize(cv2.inpaint(level, quantize((raw > 0.02).astype(np.float32)), 5, cv2.INPAINT_TELEA))
    same_hole = {
        "Telea": dequantize(cv2.inpaint(level, hole, 5, cv2.INPAINT_TELEA)),
        "Navier-Stokes": dequantize(cv2.inpaint(level, hole, 5, cv2.INPAINT_NS)),
        "biharmonic": _biharmonic(truth.photo, hole > 0),
    }
    cut_out = raw[..., None] * truth.photo
    again = cut_out + (1 - raw[..., None]) * telea
    removers = {
        **alpha_scores(raw, truth.alpha),
        "colour": float(np.abs(cut_out - truth.colour).sum(axis=-1).mean()) * 1000,
        **hole_scores(telea, truth),
        "leak": leakage(truth.photo, telea, truth.alpha),
        "error": float(np.abs(quantize(again).astype(int) - level).max()),
    }
    one = {
        **hole_scores(truth.photo, truth),
        "leak": leakage(truth.photo, truth.photo, truth.alpha),
        "error": 0.0,
    }
    if look is not None:
        green = colour + (1 - alpha[..., None]) * np.float32([0, 0.8, 0])
        red = np.repeat(alpha[..., None], 3, axis=-1)
        sheet = np.concatenate([truth.photo, green, red, background], axis=1)
        save_png(look / f"{truth.name.replace('/', '_')}.png", sheet[::2, ::2])
    fills = {f"{name} in our hole": hole_scores(filled, truth) for name, filled in same_hole.items()}
    best = {"our layer that fits best": alpha_scores(best_alpha(stack, truth.alpha), truth.alpha)}
    return {"ours": ours, f"{net}'s mask + Telea": removers, **best, "one layer": one, **fills}


def _biharmonic(photo: np.ndarray, hole: np.ndarray) -> np.ndarray:
    filled = inpaint_biharmonic(photo, hole, channel_axis=-1, split_into_regions=False)
    return np.clip(filled, 0, 1).astype(np.float32)


def speed(megapixels: float, options: Options) -> str:
    """Seconds and peak memory for one photo with one object; give the largest size last."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    photo = np.stack([0.3 + 0.4 * rows, 0.5 + 0.2 * columns, 0.7 - 0.3 * rows], axis=-1)
    photo += np.random.default_rng(0).normal(0, 0.03, (height, width, 1)).astype(np.float32)
    inside = np.hypot((rows - 0.55) * 0.75, columns - 0.5) < 0.22 + 0.02 * np.sin(
        9 * np.arctan2(rows - 0.55, columns - 0.5)
    )
    photo[inside] = photo[inside] * 0.3 + np.float32([0.6, 0.1, 0.1])
    photo = dequantize(quantize(photo))
    began = time.process_time()
    stack = decompose(DecomposeRequest(photo="made", boxes={"ball": (0.2, 0.2, 0.8, 0.9)}), photo, options)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    error = recomposition(photo, stack)
    return f"{megapixels:g} megapixels: {seconds:.1f} s of the processor, {peak:.1f} GiB, {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--net", default="u2netp")
    parser.add_argument("--fill", default="patch", help="smooth where alpha alone is asked")
    parser.add_argument("--hint", choices=("none", "box", "point"), default="none")
    parser.add_argument("--single", nargs="+", default=(), metavar="NET", help="nets that judge bare scenes")
    parser.add_argument("--look", type=Path)
    parser.add_argument("--rooms", type=Path, help="a folder that layercli data rooms made")
    parser.add_argument("--speed", type=float, nargs="*")
    given = parser.parse_args()
    options = Options(net=given.net, fill=given.fill)
    if given.speed is not None:
        for megapixels in given.speed or (1, 12, 48):
            print(speed(megapixels, options), flush=True)
        return
    if given.rooms is not None:
        finder = open_finder(given.net, weights_of(given.net) if given.net != "classical" else None)
        measured(given.rooms, given.count, given.seed, options, finder)
        return
    if given.look is not None:
        given.look.mkdir(parents=True, exist_ok=True)
    scores: dict[str, dict[str, list[float]]] = {}
    for truth in truths(given.corpus, given.count, given.seed, given.single):
        try:
            rows = rows_of(truth, given.net, given.hint, options, given.look)
        except Exception as error:
            print(f"{truth.name}: {error}", flush=True)
            continue
        told = ", ".join(f"{row} {value.get('IoU', 0):.3f}" for row, value in list(rows.items())[:2])
        print(f"{truth.name[:40]:40} IoU {told}", flush=True)
        for row, values in rows.items():
            for name, value in values.items():
                scores.setdefault(row, {}).setdefault(name, []).append(value)
    for row, values in scores.items():
        print(f"\n{row} ({len(next(iter(values.values())))} composites)")
        for name, found in values.items():
            print(f"  {name:10} mean {np.mean(found):8.3f}  median {np.median(found):8.3f}")


if __name__ == "__main__":
    main()
