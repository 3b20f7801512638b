"""What stands out: one small interface, filled by nets and by a classical cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.vision import nets
from layercli.vision.classical import is_even, standing_out
from layercli.vision.grids import resized, scaled

LONG_SIDE = 512
"""Of what a net sees that takes pictures in their own shape."""
LOOK_PIXELS = 1_000_000
"""The size at which objects are looked for, where a net sees no more. Made small for it from a size near its
own, a picture would be blurred twice, which misleads it."""


class Finder(Protocol):
    """Says for every pixel how surely it belongs to what stands out."""

    name: str
    side: int
    """Pixels along the longer side of what it sees of any picture, 0 where it is all of them."""

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) in [0, 1] -> (H, W) float32 in [0, 1]."""
        ...


class ClassicalFinder:
    """Without any net: what is unlike the picture's border, cut along its edges."""

    name = "classical"
    side = 0

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        return standing_out(rgb)


class NetFinder:
    """A net in ONNX Runtime, on the CPU."""

    def __init__(self, name: str, weights: Path) -> None:
        import onnxruntime

        self.name = name
        self.net = nets.NETS[name]
        self.side = self.net.side or LONG_SIDE
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(weights), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions share no class of their own
            raise LayercliError(
                f"{weights} cannot be read as a net.", "Delete it, and it is fetched again."
            ) from error

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        height, width = rgb.shape[:2]
        if is_even(rgb):  # a net's answer is stretched to [0, 1], and so finds something in anything
            return np.zeros((height, width), dtype=np.float32)
        seen = resized(rgb, *self._size(height, width))
        if self.net.stretch:
            seen = seen / max(float(seen.max()), 1e-6)
        mean, deviation = (np.array(part, dtype=np.float32) for part in (self.net.mean, self.net.deviation))
        inputs = (seen - mean) / deviation
        tensor = np.ascontiguousarray(np.moveaxis(inputs.astype(np.float32), -1, 0)[None])
        output = self._session.run(None, {self._session.get_inputs()[0].name: tensor})[0]
        found = np.asarray(output, dtype=np.float32).reshape(output.shape[-2:])
        if self.net.stretch:
            low, high = float(found.min()), float(found.max())
            found = (found - low) / max(high - low, 1e-6)
        return np.clip(resized(found, height, width), 0.0, 1.0)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.net.side:
            return self.net.side, self.net.side
        scale = LONG_SIDE / max(height, width)
        return max(32, round(height * scale / 32) * 32), max(32, round(width * scale / 32) * 32)


def open_finder(name: str, weights: Path | None) -> Finder:
    """The finder of a name: "classical", or a net with its weights."""
    if name == ClassicalFinder.name or weights is None:
        return ClassicalFinder()
    return NetFinder(name, weights)


def to_look_at(photo: np.ndarray, finder: Finder) -> np.ndarray:
    """A photo (H, W, 3) at the size at which objects are looked for, fine enough for what a net can see."""
    look = scaled(photo, max(LOOK_PIXELS, finder.side**2), Image.Resampling.LANCZOS)
    return np.clip(look, 0.0, 1.0)


def find_in(finder: Finder, rgb: np.ndarray, box: tuple[int, int, int, int], margin: float) -> np.ndarray:
    """Look at a part of a picture: box (left, top, right, bottom) in pixels, widened by a share of itself.

    -> (H, W) in [0, 1], 0 outside.
    """
    height, width = rgb.shape[:2]
    left, top, right, bottom = box
    across, down = round((right - left) * margin), round((bottom - top) * margin)
    rows = slice(max(0, top - down), min(height, bottom + down))
    columns = slice(max(0, left - across), min(width, right + across))
    found = np.zeros((height, width), dtype=np.float32)
    found[rows, columns] = finder(rgb[rows, columns])
    return found
