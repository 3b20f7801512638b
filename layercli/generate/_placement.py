"""Where foregrounds stand: boxes people give, sensible ones otherwise, and pixels put into them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from layercli.core.geometry import Offset, Size
from layercli.core.requests import Box
from layercli.diffusion.attention import Rectangle
from layercli.diffusion.scaling import scaled

FILLED = 0.94
"""Share of a foreground frame's side that its object usually fills, centred."""

SEEN = 0.5 / 255
"""Alpha below this rounds to nothing in an 8-bit file."""

# Words whose things are usually in the air; everything else stands on the ground.
_FLYING = (
    "airplane aeroplane plane jet helicopter balloon kite cloud sun moon star rocket ufo drone butterfly bee "
    "dragonfly bat rainbow planet satellite parachute zeppelin airship"
)
# Words whose things are small or large beside a cat or a chair, and by how much.
_SIZES = {
    0.6: "ball apple banana orange lemon cup mug bottle egg shoe hat book phone key coin ring flower mouse "
    "butterfly bee bug ant cookie candle pen pencil spoon fork clock watch frog snail mushroom",
    1.25: "house castle tree bus truck airplane plane train ship boat elephant giraffe tower bed sofa church",
}
_FLIES = frozenset(_FLYING.split())
_SIZE_OF = {word: size for size, words in _SIZES.items() for word in words.split()}


def words_of(prompt: str) -> set[str]:
    """The words of a prompt, lower case, plural endings cut: "two Cats!" -> {"two", "cat"}."""
    cleaned = "".join(letter if letter.isalnum() else " " for letter in prompt.lower())
    return {word[:-1] if word.endswith("s") and len(word) > 3 else word for word in cleaned.split()}


def default_boxes(
    prompts: Sequence[str], canvas: Size, seed: int, given: Mapping[int, Box]
) -> dict[int, Box]:
    """A box for every foreground that has none, back to front, as fractions of the canvas.

    Things stand side by side on the ground, the later ones nearer and lower, sized by what they are; flying
    things hang in the upper half. A little chance, from the seed alone, keeps pictures from looking alike.
    """
    chance = random.Random(f"placement/{seed}")
    free = [index for index in range(len(prompts)) if index not in given]
    order = chance.sample(range(len(free)), len(free))
    shortest = min(canvas.width, canvas.height)
    boxes: dict[int, Box] = {}
    for place, index in zip(order, free, strict=True):
        words = words_of(prompts[index])
        side = {1: 0.68, 2: 0.48, 3: 0.35}.get(len(free), 1.05 / max(1, len(free)))
        size = next((_SIZE_OF[word] for word in sorted(words) if word in _SIZE_OF), 1.0)
        if len(prompts) == 1:
            size = max(size, 0.8)  # alone, even a small thing is the subject
        side = min(side * size, 0.8) * chance.uniform(0.95, 1.05)
        width, height = side * shortest / canvas.width, side * shortest / canvas.height
        centre = _centre(place, len(free), width, chance, [*given.values(), *boxes.values()], bool(given))
        nearness = index / max(1, len(prompts) - 1)
        ground = 0.86 + 0.08 * nearness + chance.uniform(-0.015, 0.015)
        if words & _FLIES:
            ground = min(0.5, height + 0.06) + chance.uniform(0, 0.08)
        left = min(max(centre - width / 2, 0.0), 1.0 - width)
        top = max(ground - height, 0.0)
        boxes[index] = (left, top, left + width, min(top + height, 1.0))
    return boxes


def stands(prompt: str, alpha: Tensor) -> bool:
    """Whether a thing touches the ground: nothing that flies, its foot low on the canvas; alpha: (H, W)."""
    rows = (alpha > 0.5).any(dim=1).nonzero().flatten()
    low = len(rows) > 0 and int(rows[-1]) > 0.55 * alpha.shape[0]
    return low and not words_of(prompt) & _FLIES


def _centre(
    place: int, count: int, width: float, chance: random.Random, taken: Sequence[Box], crowded: bool
) -> float:
    """Horizontal centre: an even share of the width, or beside given boxes the least covered place."""
    even = (place + 0.5) / count + chance.uniform(-0.04, 0.04) / count
    if not crowded:
        return even
    candidates = [width / 2 + (1 - width) * i / 20 for i in range(21)]

    def covered(centre: float) -> float:
        left, right = centre - width / 2, centre + width / 2
        return sum(max(0.0, min(right, box[2]) - max(left, box[0])) for box in taken)

    return min(candidates, key=lambda centre: (round(covered(centre), 6), abs(centre - even)))


def frame_rectangle(box: Box, canvas: Size, filled: float = FILLED) -> Rectangle:
    """The rectangle of a square frame whose centred object is about to fill a box, standing on its bottom."""
    width, height = (box[2] - box[0]) * canvas.width, (box[3] - box[1]) * canvas.height
    side = min(width, height) / filled
    centre = (box[0] + box[2]) / 2
    bottom = box[3] + side * (1 - filled) / 2 / canvas.height
    half = side / 2 / canvas.width
    return centre - half, bottom - side / canvas.height, centre + half, bottom


@dataclass(frozen=True, kw_only=True, eq=False)
class Cutting:
    """A picture trimmed to its visible pixels and where its upper left corner lies: (h, w, 4) float32."""

    rgba: np.ndarray
    offset: Offset


def into_box(frame: Tensor, box: Box, canvas: Size) -> Cutting:
    """Scale what is visible of a frame to fit a box, standing in the middle of its bottom edge.

    frame: (4, H, W) straight alpha. An empty frame gives one transparent pixel.
    """
    seen = visible(frame)
    if seen is None:
        return Cutting(rgba=np.zeros((1, 1, 4), np.float32), offset=Offset())
    top, left, bottom, right = seen
    wide, high = right - left, bottom - top
    scale = min((box[2] - box[0]) * canvas.width / wide, (box[3] - box[1]) * canvas.height / high)
    size = Size(max(1, round(wide * scale)), max(1, round(high * scale)))
    x = round((box[0] + box[2]) / 2 * canvas.width - size.width / 2)
    y = round(box[3] * canvas.height) - size.height
    return _cut(resized(frame[:, top:bottom, left:right], size), Offset(x, y))


def into_rectangle(frame: Tensor, rectangle: Rectangle, canvas: Size) -> Cutting:
    """Scale a whole frame (4, H, W) to its rectangle of the canvas, and trim it."""
    x, y = round(rectangle[0] * canvas.width), round(rectangle[1] * canvas.height)
    width = max(1, round(rectangle[2] * canvas.width) - x)
    height = max(1, round(rectangle[3] * canvas.height) - y)
    return _cut(resized(frame, Size(width, height)), Offset(x, y))


def resized(rgba: Tensor, size: Size) -> Tensor:
    """Resample a straight-alpha picture (4, H, W) on premultiplied values, so that no edge darkens."""
    if rgba.shape[1:] == (size.height, size.width):
        return rgba
    premultiplied = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])[None]
    made = scaled(premultiplied, (size.height, size.width), "bicubic")[0]
    alpha = made[3:].clamp(0, 1)
    colour = (made[:3] / alpha.clamp_min(1e-4)).clamp(0, 1)
    return torch.cat([colour, alpha])


def visible(rgba: Tensor) -> tuple[int, int, int, int] | None:
    """top, left, bottom, right of what shows (alpha of 8/255 or more) in (4, H, W); None if nothing does."""
    seen = rgba[3] >= 8 / 255
    if not bool(seen.any()):
        return None
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _cut(rgba: Tensor, offset: Offset) -> Cutting:
    seen = rgba[3] >= SEEN
    if not bool(seen.any()):
        return Cutting(rgba=np.zeros((1, 1, 4), np.float32), offset=offset)
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    pixels = rgba[:, top:bottom, left:right].permute(1, 2, 0).contiguous().cpu().numpy().astype(np.float32)
    return Cutting(rgba=pixels, offset=Offset(offset.left + left, offset.top + top))
