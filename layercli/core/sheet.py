"""Draw contact sheets: a stack as exploded planes beside its composite, and many pictures in a grid.

Everything is float32 sRGB. Inside this file pictures are premultiplied, so that "over" is one line and
resampling mixes no colour in from under alpha 0; what goes in and comes out is straight alpha as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from layercli.core.composite import premultiply
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack
from layercli.core.lettering import lettering

Background = Literal["light", "dark"]

SQUEEZE = 0.6
"""How much narrower a plane looks for being turned away from the reader."""
SLOPE = 0.3
"""How far a plane's horizontal edges rise, per pixel to the right."""
MOST_PER_ROW = 7
"""More square planes than this grow too small to see; they go on in another row."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a sheet, each (r, g, b) in [0, 1]; opacities in [0, 1]."""

    paper: tuple[float, float, float]
    ink: tuple[float, float, float]
    faint: tuple[float, float, float]
    squares: tuple[tuple[float, float, float], tuple[float, float, float]]
    edge: tuple[float, float, float]
    edge_opacity: float
    shadow_opacity: float


PALETTES: dict[str, Palette] = {
    "light": Palette(
        paper=(0.969, 0.973, 0.980), ink=(0.11, 0.13, 0.16), faint=(0.43, 0.46, 0.51),
        squares=((1.0, 1.0, 1.0), (0.902, 0.910, 0.922)), edge=(0.0, 0.02, 0.05), edge_opacity=0.34,
        shadow_opacity=0.30,
    ),
    "dark": Palette(
        paper=(0.082, 0.090, 0.106), ink=(0.92, 0.93, 0.95), faint=(0.58, 0.61, 0.66),
        squares=((0.235, 0.247, 0.275), (0.188, 0.200, 0.224)), edge=(1.0, 1.0, 1.0), edge_opacity=0.30,
        shadow_opacity=0.65,
    ),
}  # fmt: skip


def draw_sheet(stack: LayerStack, width: int = 1600, background: Background = "light") -> np.ndarray:
    """Draw a stack as planes pulled apart, back to front from left to right, with its composite at the side.

    width: pixels of the sheet, at least 320; its height follows from the stack -> (H, width, 4) in [0, 1].
    Every plane is the whole canvas on a checkerboard, so a layer stands where it belongs; hidden layers are
    pale. Captions name the layer, and under it its blend mode and opacity where they are not the usual ones.
    """
    palette = _palette(background)
    unit = _checked_width(width) / 1600
    margin, aspect = 56 * unit, stack.canvas.width / stack.canvas.height
    picture_width = 430 * unit
    picture_height = picture_width / aspect
    if picture_height > 620 * unit:
        picture_width, picture_height = 620 * unit * aspect, 620 * unit
    room = width - 3 * margin - picture_width
    most = min(MOST_PER_ROW, max(3, round(MOST_PER_ROW / math.sqrt(aspect))))
    each = math.ceil(len(stack.layers) / max(1, math.ceil(len(stack.layers) / most)))
    rows = [stack.layers[i : i + each] for i in range(0, len(stack.layers), max(1, each))]
    plan = _Plan.fit(room, max((len(row) for row in rows), default=1), aspect, unit)
    row_height = plan.height + plan.rise + plan.down * (max(map(len, rows), default=1) - 1) + 66 * unit
    stack_height = row_height * len(rows) + 24 * unit * (len(rows) - 1)
    height = round(2 * margin + max(stack_height, picture_height + 60 * unit))

    sheet = _paper(width, height, palette)
    top = (height - stack_height) / 2 + 10 * unit
    for row, layers in enumerate(rows):
        # A shorter row keeps the left edge, so that the back of every row lines up.
        left = margin + (room - plan.width - plan.right * (len(rows[0]) - 1)) / 2
        _draw_row(sheet, stack, layers, plan, left, top + row * (row_height + 24 * unit), palette, unit)
    _draw_picture(
        sheet, _premultiplied(stack.flatten()), "composite", str(stack.canvas).replace("x", " x "),
        (width - margin - picture_width, (height - picture_height - 36 * unit) / 2),
        (picture_width, picture_height), palette, unit,
    )  # fmt: skip
    return sheet


def draw_grid(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str] = (),
    columns: int = 8,
    width: int = 1600,
    background: Background = "light",
    title: str = "",
) -> np.ndarray:
    """Draw many pictures in rows, each on a checkerboard with its caption under it.

    pictures: each (h, w, 3) or (h, w, 4) straight alpha in [0, 1], sizes may differ; captions: as many, or
    none -> (H, width, 4) in [0, 1]. Raises LayercliError when the captions do not fit the pictures.
    """
    palette = _palette(background)
    unit = _checked_width(width) / 1600
    if not pictures or columns < 1:
        raise LayercliError("A grid needs at least one picture and one column.")
    if captions and len(captions) != len(pictures):
        raise LayercliError(f"A grid of {len(pictures)} pictures was given {len(captions)} captions.")
    margin, gap = 40 * unit, 18 * unit
    cell = (width - 2 * margin - gap * (columns - 1)) / columns
    type_size = max(9, round(min(22 * unit, cell * 0.15)))
    line = type_size * 1.9 if captions else 0.0
    head = 58 * unit if title else 0.0
    count = math.ceil(len(pictures) / columns)
    height = round(2 * margin + head + count * (cell + line) + (count - 1) * gap)
    sheet = _paper(width, height, palette)
    if title:
        room = width - 2 * margin
        _write(sheet, title, max(10, round(30 * unit)), margin, margin - 6 * unit, room, palette.ink)
    for index, picture in enumerate(pictures):
        left = margin + (index % columns) * (cell + gap)
        top = margin + head + (index // columns) * (cell + line + gap)
        tall, wide = picture.shape[:2]
        fit = cell / max(tall, wide)
        box = (left + (cell - wide * fit) / 2, top + (cell - tall * fit) / 2)
        plane = _on_squares(_premultiplied(picture), wide * fit, tall * fit, palette, unit)
        _cast_shadow(sheet, plane[..., 3], *box, 8 * unit, palette.shadow_opacity * 0.6)
        _over(sheet, plane, *box)
        if captions:
            _write(sheet, captions[index], type_size, left, top + cell + type_size * 0.3, cell, palette.ink)
    return sheet


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Where the planes of a row stand, in pixels: each one's size, its slant, and the step to the next."""

    width: float
    height: float
    rise: float
    right: float
    down: float

    @classmethod
    def fit(cls, room: float, count: int, aspect: float, unit: float) -> _Plan:
        """Make the planes as large as they can be while no plane is hidden by more than a sixth."""
        height = min(430 * unit, 330 * unit / (SQUEEZE * aspect) if aspect > 1 else math.inf)
        widest = room / (1 + 0.84 * (count - 1))
        height = min(height, widest / (SQUEEZE * aspect))
        width = SQUEEZE * aspect * height
        right = min(width + 40 * unit, (room - width) / max(1, count - 1))
        return cls(width=width, height=height, rise=SLOPE * width, right=right, down=0.16 * right)


def _draw_row(
    sheet: np.ndarray, stack: LayerStack, layers: Sequence[Layer], plan: _Plan, left: float, top: float,
    palette: Palette, unit: float,
) -> None:  # fmt: skip
    for index, layer in enumerate(layers):
        x, y = left + index * plan.right, top + index * plan.down
        shown = _premultiplied(stack.placed(layer.name))
        plane = _slanted(_on_squares(shown, plan.width, plan.height, palette, unit))
        if not layer.visible:  # pale, yet as solid as the others: what is behind must not show through
            plane += 0.7 * (np.asarray((*palette.paper, 1.0), dtype=np.float32) * plane[..., 3:] - plane)
        _cast_shadow(sheet, plane[..., 3], x, y, 14 * unit, palette.shadow_opacity)
        _over(sheet, plane, x, y)
    for index, layer in enumerate(layers):
        x = left + index * plan.right
        y = top + index * plan.down + plan.height + plan.rise + 10 * unit
        room = plan.right - 14 * unit if index < len(layers) - 1 else max(plan.right, plan.width)
        _write(sheet, layer.name, max(9, round(22 * unit)), x, y, room, palette.ink)
        _write(sheet, _remarks(layer), max(8, round(16 * unit)), x, y + 29 * unit, room, palette.faint)


def _draw_picture(
    sheet: np.ndarray, picture: np.ndarray, caption: str, remark: str, corner: tuple[float, float],
    size: tuple[float, float], palette: Palette, unit: float,
) -> None:  # fmt: skip
    plane = _on_squares(picture, *size, palette, unit)
    _cast_shadow(sheet, plane[..., 3], *corner, 18 * unit, palette.shadow_opacity)
    _over(sheet, plane, *corner)
    below = corner[1] + size[1] + 14 * unit
    _write(sheet, caption, max(9, round(22 * unit)), corner[0], below, size[0] * 0.6, palette.ink)
    _write(sheet, remark, max(8, round(16 * unit)), corner[0] + size[0], below + 6 * unit, size[0] * 0.4,
           palette.faint, align="right")  # fmt: skip


def _remarks(layer: Layer) -> str:
    """Say what is unusual about a layer: "multiply · 80% · hidden"; "" for a plain one."""
    words = [layer.blend] if layer.blend != "normal" else []
    if layer.opacity < 1:
        words.append(f"{layer.opacity:.0%}")
    if not layer.visible:
        words.append("hidden")
    return " · ".join(words)


def _palette(background: str) -> Palette:
    if background not in PALETTES:
        raise LayercliError(f'A sheet cannot be "{background}".', f"There are: {', '.join(PALETTES)}.")
    return PALETTES[background]


def _checked_width(width: int) -> int:
    if not 320 <= width <= 8000:
        raise LayercliError(f"A sheet {width} pixels wide cannot be drawn.", "Widths go from 320 to 8000.")
    return width


def _paper(width: int, height: int, palette: Palette) -> np.ndarray:
    sheet = np.ones((height, width, 4), dtype=np.float32)
    sheet[..., :3] = palette.paper
    return sheet


def _over(sheet: np.ndarray, patch: np.ndarray, left: float, top: float) -> None:
    """Lay a premultiplied patch (h, w, 4) over an opaque sheet in place; what hangs over the edge is cut."""
    x, y = round(left), round(top)
    patch = patch[max(0, -y) :, max(0, -x) :]
    x, y = max(0, x), max(0, y)
    under = sheet[y : y + patch.shape[0], x : x + patch.shape[1]]
    patch = patch[: under.shape[0], : under.shape[1]]
    under *= 1 - patch[..., 3:]
    under += patch


def _premultiplied(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3), or (H, W, 4) with straight alpha -> premultiplied (H, W, 4)."""
    if picture.shape[-1] == 3:
        return np.concatenate([picture, np.ones_like(picture[..., :1])], axis=-1)
    return premultiply(picture)


def _resized(planes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resample (h, w, C) to (height, width, C) with pillow's antialiasing bicubic filter, in floats."""
    bands = [np.asarray(band.resize((width, height), Image.Resampling.BICUBIC)) for band in _bands(planes)]
    return np.clip(np.stack(bands, axis=-1), 0, 1)


def _bands(planes: np.ndarray) -> list[Image.Image]:
    """(h, w, C) float32 -> C pictures of pillow's float mode."""
    return [Image.fromarray(np.ascontiguousarray(planes[..., i])) for i in range(planes.shape[-1])]


def _on_squares(
    picture: np.ndarray, width: float, height: float, palette: Palette, unit: float
) -> np.ndarray:
    """Put a premultiplied picture on a checkerboard with a thin edge -> opaque (height, width, 4)."""
    wide, tall = max(2, round(width)), max(2, round(height))
    square = max(3, round(13 * unit))
    odd = (np.add.outer(np.arange(tall) // square, np.arange(wide) // square) % 2)[..., None]
    plane = np.ones((tall, wide, 4), dtype=np.float32)
    plane[..., :3] = np.where(odd, palette.squares[1], palette.squares[0])
    _over(plane, _resized(picture, wide, tall), 0, 0)
    line = max(1, round(1.25 * unit))
    inside = np.zeros((tall, wide, 1), dtype=np.float32)
    inside[line:-line, line:-line] = 1
    edge = (1 - inside) * np.float32(palette.edge_opacity)
    plane[..., :3] = plane[..., :3] * (1 - edge) + np.asarray(palette.edge, dtype=np.float32) * edge
    return plane


def _slanted(plane: np.ndarray) -> np.ndarray:
    """Shear a premultiplied plane so that its right edge stands higher: (h, w, 4) -> (h + rise, w, 4)."""
    tall, wide = plane.shape[:2]
    rise = SLOPE * wide
    # One transparent pixel all around gives the filter something to fade the edges into.
    framed = np.pad(plane, ((1, 1), (1, 1), (0, 0)))
    inverse = (1.0, 0.0, 0.0, SLOPE, 1.0, -rise)
    size = (wide + 2, math.ceil(tall + 2 + rise))
    bands = [
        np.asarray(band.transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC))
        for band in _bands(framed)
    ]
    return np.clip(np.stack(bands, axis=-1), 0, 1)


def _cast_shadow(
    sheet: np.ndarray, coverage: np.ndarray, left: float, top: float, radius: float, opacity: float
) -> None:
    """Darken the sheet under a shape (h, w) as a soft light from the upper left would, in place."""
    reach = max(1, round(radius))
    shade = np.pad(coverage, 3 * reach)
    for axis in (0, 1):
        for _ in range(2):  # two box filters in a row make a tent, close enough to a Gaussian
            shade = _box(shade, reach, axis)
    patch = np.zeros((*shade.shape, 4), dtype=np.float32)
    patch[..., 3] = shade * opacity
    _over(sheet, patch, left - 3 * reach + 0.25 * radius, top - 3 * reach + 0.6 * radius)


def _box(values: np.ndarray, reach: int, axis: int) -> np.ndarray:
    """Average over a window of 2·reach + 1 along an axis by running sums; outside is zero."""
    before = [(reach + 1, reach) if i == axis else (0, 0) for i in range(values.ndim)]
    sums = np.cumsum(np.pad(values, before), axis=axis, dtype=np.float64)
    window = 2 * reach + 1
    upper = np.take(sums, np.arange(window, sums.shape[axis]), axis=axis)
    lower = np.take(sums, np.arange(0, sums.shape[axis] - window), axis=axis)
    return ((upper - lower) / window).astype(np.float32)


def _write(
    sheet: np.ndarray, text: str, size: int, left: float, top: float, room: float,
    colour: tuple[float, float, float], align: str = "left",
) -> None:  # fmt: skip
    if not text or room < size:
        return
    coverage = lettering(text, size, room)
    patch = np.empty((*coverage.shape, 4), dtype=np.float32)
    patch[..., :3] = np.asarray(colour, dtype=np.float32) * coverage[..., None]
    patch[..., 3] = coverage
    _over(sheet, patch, left - (coverage.shape[1] if align == "right" else 0), top)
