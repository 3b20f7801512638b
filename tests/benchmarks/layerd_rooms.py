"""Rendered rooms with true layers, taken apart and held against the truth by LayerD's protocol.

Rows: ours without a hint; ours with the box of what is seen of every object; the net's own mask with the
photo's colours over OpenCV's Telea fill; the input as one layer. Every number is given after 0 to 5 merges.
Colours where alpha is 0, which nobody sees, count as black in every row: a mask over a photo still holds the
photo there, and the protocol looks wherever the true layer is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.layers import Layer, LayerStack
from layercli.core.pixels import dequantize, quantize
from layercli.data._layered_set import read_one, read_rows
from layercli.decompose.matte import Options, decompose
from layercli.evaluate import decomposition
from layercli.evaluate._sample import Sample
from layercli.evaluate._statistics import interval
from layercli.vision.saliency import Finder

NUMBERS = ("rgb_l1", "iou", "cost")
FAILED = {"rgb_l1": 1.0, "iou": 0.0, "cost": 1.0}
Way = Callable[[np.ndarray, LayerStack], LayerStack]


def rooms(folder: Path, count: int, seed: int) -> Iterator[tuple[str, np.ndarray, LayerStack]]:
    """Some pictures of a layered set: name, the whole (H, W, 3), its true layers back to front."""
    rows = read_rows(folder)
    chosen = np.random.default_rng(seed).choice(len(rows), min(count, len(rows)), replace=False)
    for index in sorted(map(int, chosen)):
        *frames, whole = (dequantize(frame) for frame in read_one(folder, rows[index]).frames)
        layers = [Layer(name=f"layer {i}", rgba=frame) for i, frame in enumerate(frames)]
        height, width = whole.shape[:2]
        stack = LayerStack(canvas=Size(width, height), layers=tuple(layers))
        yield f"room {rows[index]['number']}", np.ascontiguousarray(whole[..., :3]), stack


def seen_boxes(truth: LayerStack) -> dict[str, tuple[float, ...]]:
    """The box of what is seen of every foreground, in fractions: what a person would draw."""
    clear = np.ones((truth.canvas.height, truth.canvas.width), np.float32)
    boxes = {}
    for layer in reversed(truth.layers[1:]):
        alpha = truth.placed(layer.name)[..., 3]
        solid = alpha * clear > 0.5
        clear = clear * (1 - alpha)
        rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
        if rows.size:
            sides = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            scale = (truth.canvas.width, truth.canvas.height) * 2
            boxes[layer.name] = tuple(float(side / full) for side, full in zip(sides, scale, strict=True))
    return boxes


def cut_out(finder: Finder, photo: np.ndarray) -> LayerStack:
    """What background removers give: the net's mask with the photo's colours, over a Telea fill."""
    alpha = dequantize(quantize(finder(photo)))
    hole = quantize((alpha > 0.02).astype(np.float32))
    filled = dequantize(cv2.inpaint(quantize(photo), hole, 5, cv2.INPAINT_TELEA))
    return _stack(filled, np.concatenate([photo, alpha[..., None]], axis=-1))


def _stack(background: np.ndarray, *objects: np.ndarray) -> LayerStack:
    height, width = background.shape[:2]
    opaque = np.concatenate([background, np.ones((height, width, 1), np.float32)], axis=-1)
    layers = [Layer(name=f"layer {i}", rgba=rgba) for i, rgba in enumerate((opaque, *objects))]
    return LayerStack(canvas=Size(width, height), layers=tuple(layers))


def ways(options: Options, finder: Finder) -> dict[str, Way]:
    """Every row of the table: how a photo is taken apart, given it and (for hints) its true layers."""

    def asked(photo: np.ndarray, **hints: Any) -> LayerStack:
        return decompose(DecomposeRequest(photo="room", **hints), photo, options)

    return {
        "ours": lambda photo, truth: asked(photo),
        "ours, boxes": lambda photo, truth: asked(photo, boxes=seen_boxes(truth)),
        f"{options.net}'s mask + Telea": lambda photo, truth: cut_out(finder, photo),
        "one layer": lambda photo, truth: _stack(photo),
    }


def measured(folder: Path, count: int, seed: int, options: Options, finder: Finder) -> None:
    """Print LayerD's numbers of every row, after every number of merges."""
    protocol = decomposition.Options()
    table: dict[str, list[list[dict[str, float]]]] = {}
    skipped: dict[str, int] = {}
    for name, photo, truth in rooms(folder, count, seed):
        theirs = _groups(truth)
        told = []
        for row, way in ways(options, finder).items():
            table.setdefault(row, [])
            try:
                numbers = decomposition.by_merges(_groups(way(photo, truth)), theirs, protocol)
            except LayercliError as error:
                skipped[row] = skipped.get(row, 0) + 1
                told.append(f"{row}: {error}")
                continue
            table[row].append(numbers)
            told.append(f"{row} {numbers[0]['cost']:.3f}")
        print(f"{name}: cost {', '.join(told)}", flush=True)
    for row, numbers in table.items():
        missing = skipped.get(row, 0)
        print(f"\n{row} ({len(numbers)} rooms, {missing} skipped)")
        for merges in range(protocol.merges + 1):
            print(f"  {merges} merges  {_line([entry[merges] for entry in numbers])}")
        if missing:
            failures = [entry[0] for entry in numbers] + [FAILED] * missing
            print(f"  0 merges, the skipped counted as failures  {_line(failures)}")


def _groups(stack: LayerStack) -> decomposition.Groups:
    sample = Sample(name="room", stack=stack)
    placed = [sample.placed(layer) for layer in sample.layers]
    return decomposition.grouped([np.where(rgba[..., 3:] > 0, rgba, np.float32(0)) for rgba in placed])


def _line(entries: list[dict[str, float]]) -> str:
    """The means of a row, with 95% bootstrap intervals where there are enough rooms."""
    parts = []
    for number in NUMBERS:
        values = [entry[number] for entry in entries]
        low, high = interval(values) if values else (None, None)
        within = "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"
        parts.append(f"{number} {np.mean(values) if values else np.nan:.4f}{within}")
    return ", ".join(parts)
