"""One layered picture at a time: complete objects in their places on a scene, and the whole in one light.

A source of layered pictures is a class with `draw(number)`: `ComposedSource` here, others beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data import composed
from layercli.data.captions import article, plain_noun

ATTEMPTS = 40
EDGE = 0.02
"""Share of the width that stays free beside an object, where it fits."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a layered picture must keep to.

    smallest, largest: share of the canvas that an object's alpha covers (LayerDiff, appendix B); inside:
    share of an object that the canvas must hold; visible: share of it that later objects must leave
    uncovered.
    """

    smallest: float = 0.01
    largest: float = 0.8
    inside: float = 0.98
    visible: float = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class Layered:
    """A picture as layers: frames (k + 2, H, W, 4) uint8, straight alpha, and what is known of them.

    frames: the background, k foregrounds back to front, complete where others cover them, the whole picture.
    row: captions and nouns by frame, style, and by foreground: boxes (fractions), areas, visible shares.
    """

    frames: np.ndarray
    row: dict[str, Any]


class Source(Protocol):
    """Where layered pictures come from."""

    def draw(self, number: int) -> Layered | str:
        """Picture `number`, a function of it and of the seed alone; or why there is none."""
        ...


class ComposedSource:
    """Objects of one style from a prepared data set, set on its scenes with shadows (`data.composed`)."""

    def __init__(self, data: Path, seed: int, counts: tuple[float, ...], limits: Limits) -> None:
        """counts: how often a picture has one, two, three… foregrounds."""
        self.composer = composed.Composer(composed.Options(data=str(data), out="", seed=seed))
        self.seed, self.limits = seed, limits
        self.counts = np.array(counts) / sum(counts)
        rows, weights = self.composer.objects.rows, self.composer.weights
        self.by_style: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for style in {row["style"] for row in rows}:
            chosen = np.array([i for i, row in enumerate(rows) if row["style"] == style])
            self.by_style[style] = chosen, weights[chosen].cumsum()

    def draw(self, number: int) -> Layered:
        """Draw until a picture passes every limit."""
        return drawn_within(self._attempt, (self.seed, 6, number))

    def _attempt(self, rng: np.random.Generator) -> Layered | str:
        """One picture, or why it is none."""
        count = 1 + int(rng.choice(len(self.counts), p=self.counts))
        things = self._things(count, rng)
        if isinstance(things, str):
            return things
        style = things[0][1]["style"]
        scene, scene_row = self.composer.draw_scene(style, rng)
        layers, nearness = [], np.sort(rng.uniform(0.66, 0.97, count))
        for (box, _), slot, ground in zip(things, rng.permutation(count), nearness, strict=True):
            low, high = {1: (0.4, 0.85), 2: (0.34, 0.62)}.get(count, (0.28, 0.52))
            thing = composed.fitted(box, round(rng.uniform(low, high) * scene.shape[0]))
            centre = (slot + 0.5) / count + rng.uniform(-0.45, 0.45) / count
            half, tall = thing.shape[1] / scene.shape[1] / 2, thing.shape[0] / scene.shape[0]
            full = composed.standing(
                scene.shape, thing, float(np.clip(centre, half + EDGE, 1 - half - EDGE)), max(ground, tall)
            )
            if full[..., 3].sum() < self.limits.inside * thing[..., 3].sum():
                return "cropped away"
            layers.append(full)
        areas, visible = areas_of(layers)
        if min(areas) < self.limits.smallest or max(areas) > self.limits.largest:
            return "too small or too large"
        if min(visible) < self.limits.visible:
            return "hidden"
        whole = scene
        for full in layers:  # light and shadow are in the whole picture alone
            whole = composed.set_in(whole, full, rng)
        rows = [scene_row, *(row for _, row in things)]
        captions = [row["caption"] for row in rows]
        captions.append(f"{' and '.join(captions[1:])}, {captions[0]}")
        nouns = [plain_noun(row["caption"]) for row in rows]
        frames = [_opaque(scene), *layers, _opaque(whole)]
        row = {
            "captions": captions,
            "nouns": [article(noun) if noun else None for noun in nouns],
            "style": style,
            "boxes": [box_of(full[..., 3]) for full in layers],
            "areas": [round(area, 4) for area in areas],
            "visible": [round(share, 4) for share in visible],
            "sources": sorted({row["source"] for row in rows}),
            "licences": sorted({row["licence"] for row in rows}),
            "works": [row.get("model") or row["member"] for row in rows],
        }
        return Layered(frames=np.rint(np.stack(frames) * 255).astype(np.uint8), row=row)

    def _things(self, count: int, rng: np.random.Generator) -> list[tuple[np.ndarray, dict[str, Any]]] | str:
        """Different objects of one style, trimmed and perhaps mirrored, with their rows."""
        rows = self.composer.objects.rows
        first = int(rng.choice(len(rows), p=self.composer.weights))
        chosen, cumulative = self.by_style[rows[first]["style"]]
        picks = [first]
        for place in rng.uniform(0, cumulative[-1], count - 1):
            picks.append(int(chosen[min(np.searchsorted(cumulative, place), len(chosen) - 1)]))
        names = [(rows[pick]["caption"], plain_noun(rows[pick]["caption"])) for pick in picks]
        if any(a == b or (a[1] and a[1] == b[1]) for i, a in enumerate(names) for b in names[:i]):
            return "twice the same"
        things = []
        for pick in picks:
            box = composed.trimmed(self.composer.objects.pixels(pick))
            if box is None:
                return "empty"
            things.append((box[:, ::-1] if rng.random() < 0.5 else box, rows[pick]))
        return things


def drawn_within(attempt: Callable[[np.random.Generator], Layered | str], key: tuple[int, ...]) -> Layered:
    """Attempt, each time from a seed of its own, until a picture passes every limit.

    attempt: gives a picture, or why it is none; `rejected` in the row counts these. Raises LayercliError when
    none of 40 attempts passes.
    """
    rejected: Counter[str] = Counter()
    for number in range(ATTEMPTS):
        result = attempt(np.random.default_rng((*key, number)))
        if isinstance(result, Layered):
            return Layered(frames=result.frames, row=result.row | {"rejected": dict(rejected)})
        rejected[result] += 1
    reasons = ", ".join(f"{reason} ({count})" for reason, count in rejected.most_common())
    raise LayercliError(
        f"No layered picture can be made of these objects: {reasons}.",
        "Use a larger data set, or fewer foregrounds: -O counts=1",
    )


def areas_of(layers: list[np.ndarray]) -> tuple[list[float], list[float]]:
    """Share of the canvas under each alpha, and the share of each that no later layer covers; (H, W, 4)."""
    areas, visible, uncovered = [], [], np.ones(layers[0].shape[:2], np.float32)
    for full in reversed(layers):
        alpha = full[..., 3]
        areas.append(float(alpha.mean()))
        visible.append(float((alpha * uncovered).sum() / max(float(alpha.sum()), 1e-6)))
        uncovered = uncovered * (1 - alpha)
    return areas[::-1], visible[::-1]


def box_of(alpha: np.ndarray) -> list[float]:
    """left, top, right, bottom of what shows in (H, W), as fractions."""
    ys, xs = np.nonzero(alpha > 8 / 255)
    height, width = alpha.shape
    sides = (xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height)
    return [round(float(side), 4) for side in sides]


def fingerprint(rgba_u8: np.ndarray) -> int:
    """64 bits that near-duplicates share but for a few: is a cell of 8 x 8 lighter than the next one?"""
    gray = Image.fromarray(rgba_u8[..., :3]).convert("L").resize((9, 8), Image.Resampling.BOX)
    cells = np.asarray(gray, np.int16)
    bits = (cells[:, :-1] > cells[:, 1:]).flatten()
    return int(np.packbits(bits).view(">u8")[0])


def _opaque(rgb: np.ndarray) -> np.ndarray:
    return np.concatenate([np.clip(rgb, 0, 1), np.ones_like(rgb[..., :1])], axis=-1)
