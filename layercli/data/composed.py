"""Composed pictures: objects of a prepared data set set into its scenes, with contact and cast shadows.

Two kinds come out: `global` (one to three objects in a scene, harmonised: what the whole picture of a
layered image looks like) and `background` (one large piece of furniture or building in a scene, so that
"a sofa" is also a place). Same seed, same pictures; written in chunks, so that a build resumes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from layercli.data.captions import article, plain_noun
from layercli.data.pictures import Pictures, draw_weights

CHUNK = 256
# What can be a place as well as an object, and which scenes suit which styles.
PLACES = ("sofa", "table", "bed", "chair", "house", "castle", "tree", "car", "boat", "truck", "bus", "lamp")
_SCENES_FOR = {
    "3d render": ("3d render",),
    "glossy 3d": ("3d render", "photo", "glossy 3d"),
    "clip art": ("photo", "flat", "gradient"),
    "flat": ("flat", "gradient", "cartoon", "photo"),
    "gradient": ("gradient", "flat", "photo"),
    "cartoon": ("cartoon", "flat", "gradient", "photo"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """The prepared data set to draw from, where to write, and how many pictures of each kind."""

    data: str = "runs/data"
    out: str = "runs/composed"
    globals: int = 5_000
    places: int = 2_500
    seed: int = 0


def trimmed(rgba_u8: np.ndarray) -> np.ndarray | None:
    """The object's alpha box, (h, w, 4) uint8; None for an empty or nearly empty picture."""
    ys, xs = np.nonzero(rgba_u8[..., 3] > 8)
    if ys.size < rgba_u8[..., 3].size * 0.01:
        return None
    return rgba_u8[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]


def fitted(rgba_u8: np.ndarray, longest: int) -> np.ndarray:
    """Resize so that the longer side is `longest`, on premultiplied values -> (h, w, 4) float32."""
    height, width = rgba_u8.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rgba = rgba_u8.astype(np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    planes = [
        np.asarray(
            Image.fromarray(rgba[..., c]).resize(
                size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
            )
        )
        for c in range(4)
    ]
    small = np.stack(planes, -1)
    small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
    return np.clip(small, 0, 1)


def cast_shadow(alpha_hw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shadow strength (H, W) in [0, 1] on the ground: a squashed, sheared, blurred copy and a contact."""
    height, width = alpha_hw.shape
    ys = np.nonzero(alpha_hw > 0.5)[0]
    if ys.size == 0:
        return np.zeros_like(alpha_hw)
    ground, tall = int(ys.max()), int(ys.max() - ys.min() + 1)
    squash, shear = rng.uniform(0.12, 0.3), rng.uniform(-0.8, 0.8)
    rows, columns = np.mgrid[0:height, 0:width]
    up = (ground - rows) / squash  # how high above the ground the caster is
    source_row = np.round(ground - up).astype(int)
    source_column = np.round(columns - shear * up * squash).astype(int)
    inside = (up >= -1) & (up <= tall) & (source_column >= 0) & (source_column < width) & (source_row >= 0)
    shadow = np.zeros_like(alpha_hw)
    shadow[inside] = alpha_hw[source_row[inside].clip(0, height - 1), source_column[inside]]
    soft = gaussian_filter(shadow, height * rng.uniform(0.008, 0.02))
    foot = np.where((rows > ground - tall * 0.08) & (rows <= ground), alpha_hw, 0)
    contact = gaussian_filter(foot, (height * 0.008, height * 0.02))
    return np.clip(soft * rng.uniform(0.35, 0.6) + contact * rng.uniform(0.5, 0.9), 0, 0.85)


def standing(shape: tuple[int, ...], thing: np.ndarray, centre_x: float, ground_y: float) -> np.ndarray:
    """An object (h, w, 4) alone on a canvas (H, W, …), standing at (centre_x, ground_y) in fractions.

    -> (H, W, 4) float32; what lies beyond the canvas is cut.
    """
    height, width = shape[:2]
    h, w = thing.shape[:2]
    top, left = round(ground_y * height) - h, round(centre_x * width - w / 2)
    full = np.zeros((height, width, 4), np.float32)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(height, top + h), min(width, left + w)
    full[y0:y1, x0:x1] = thing[y0 - top : y1 - top, x0 - left : x1 - left]
    return full


def set_in(scene: np.ndarray, full: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lay an object's canvas (H, W, 4) over a scene (H, W, 3), in the scene's light.

    Its colours move a little towards the scene's mean, its shadow darkens the scene only.
    """
    colour, alpha = full[..., :3], full[..., 3:]
    tint = scene.mean((0, 1)) / max(float(scene.mean()), 1e-3)
    colour = np.clip(colour * (1 + rng.uniform(0, 0.25) * (tint - 1)), 0, 1)
    shaded = scene * (1 - cast_shadow(full[..., 3], rng)[..., None])
    return colour * alpha + shaded * (1 - alpha)


def place(
    scene: np.ndarray, thing: np.ndarray, centre_x: float, ground_y: float, rng: np.random.Generator
) -> np.ndarray:
    """Set an object (h, w, 4) on a scene (H, W, 3), standing at (centre_x, ground_y) in fractions."""
    return set_in(scene, standing(scene.shape, thing, centre_x, ground_y), rng)


class Composer:
    """Draws objects and scenes of matching styles; picture i depends on (seed, i) alone."""

    def __init__(self, options: Options) -> None:
        self.objects = Pictures(Path(options.data), kinds=("foreground",))
        self.scenes = Pictures(Path(options.data), kinds=("background",))
        self.weights = draw_weights(self.objects.rows)
        self.seed = options.seed
        self.by_style: dict[str, list[int]] = {}
        for i, row in enumerate(self.scenes.rows):
            self.by_style.setdefault(row["style"], []).append(i)
        self.places = [
            i
            for i, row in enumerate(self.objects.rows)
            if plain_noun(row["caption"]) in PLACES
            and row["style"] in ("3d render", "glossy 3d", "gradient", "flat")
        ]
        by_noun: dict[str | None, list[int]] = defaultdict(list)
        for i in self.places:
            by_noun[plain_noun(self.objects.rows[i]["caption"])].append(i)
        self.place_lists = list(by_noun.values())

    def draw_scene(self, style: str, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
        """A scene whose style suits a style of objects: (H, W, 3) in [0, 1] and its row."""
        styles = [s for s in _SCENES_FOR.get(style, ("photo",)) if s in self.by_style] or list(self.by_style)
        choices = self.by_style[styles[int(rng.integers(len(styles)))]]
        i = int(choices[int(rng.integers(len(choices)))])
        scene = self.scenes.pixels(i)[..., :3].astype(np.float32) / 255
        return (scene[:, ::-1] if rng.random() < 0.5 else scene), self.scenes.rows[i]

    def draw_global(self, i: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Picture i with one to three objects: (H, W, 4) uint8 and its row."""
        rng = np.random.default_rng((self.seed, 3, i))
        count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        first = int(rng.choice(len(self.weights), p=self.weights))
        style = self.objects.rows[first]["style"]
        scene, scene_row = self.draw_scene(style, rng)
        side, names = scene.shape[0], []
        chosen = [first] + [int(rng.choice(len(self.weights), p=self.weights)) for _ in range(count - 1)]
        grounds = np.sort(rng.uniform(0.72, 0.97, count))
        for slot, (pick, ground) in enumerate(zip(chosen, grounds, strict=True)):
            box = trimmed(self.objects.pixels(pick))
            if box is None:
                continue
            if rng.random() < 0.5:
                box = box[:, ::-1]
            longest = rng.uniform(0.45, 0.8) if count == 1 else rng.uniform(0.28, 0.5)
            centre = (slot + 0.5) / count + rng.uniform(-0.12, 0.12) / count
            scene = place(scene, fitted(box, round(longest * side)), centre, ground, rng)
            names.append(self.objects.rows[pick]["caption"])
        joined = " and ".join(names)
        caption = f"{joined}, {scene_row['caption']}" if names else scene_row["caption"]
        return self._finish(scene, caption, style, "global")

    def draw_place(self, i: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Picture i with one large place-like object in a scene, as a background."""
        rng = np.random.default_rng((self.seed, 4, i))
        members = self.place_lists[int(rng.integers(len(self.place_lists)))]
        pick = members[int(rng.integers(len(members)))]
        row = self.objects.rows[pick]
        scene, _ = self.draw_scene(row["style"], rng)
        box = trimmed(self.objects.pixels(pick))
        if box is not None:
            box = box[:, ::-1] if rng.random() < 0.5 else box
            thing = fitted(box, round(rng.uniform(0.7, 0.95) * scene.shape[0]))
            scene = place(scene, thing, rng.uniform(0.42, 0.58), rng.uniform(0.88, 0.98), rng)
        return self._finish(
            scene, article(plain_noun(row["caption"]) or "object"), row["style"], "background"
        )

    @staticmethod
    def _finish(scene: np.ndarray, caption: str, style: str, kind: str) -> tuple[np.ndarray, dict[str, Any]]:
        rgb = np.rint(np.clip(scene, 0, 1) * 255).astype(np.uint8)
        opaque = np.full((*rgb.shape[:2], 1), 255, np.uint8)
        row = {"caption": caption, "style": style, "kind": kind, "split": "train", "weight": 1.0}
        return np.concatenate([rgb, opaque], -1), row


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the composed data set and return its folder; chunks already there are kept."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    composer = Composer(options)
    jobs = [(composer.draw_global, i) for i in range(options.globals)]
    jobs += [(composer.draw_place, i) for i in range(options.places)]
    index: list[dict[str, Any]] = []
    for start in range(0, len(jobs), CHUNK):
        on_step(start, len(jobs))
        shard = f"composed-{options.seed}-{start:06d}"
        rows_file = out / f"index-{shard}.json"
        if not rows_file.exists():
            drawn = [draw(i) for draw, i in jobs[start : start + CHUNK]]
            np.save(out / f".{shard}.npy", np.stack([pixels for pixels, _ in drawn]))
            (out / f".{shard}.npy").replace(out / f"pixels-{shard}.npy")
            rows = [{"shard": shard, "row": k, **row} for k, (_, row) in enumerate(drawn)]
            rows_file.write_text(json.dumps(rows), encoding="utf-8")
        index.extend(json.loads(rows_file.read_text(encoding="utf-8")))
    (out / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in index), encoding="utf-8")
    on_step(len(jobs), len(jobs))
    return out
