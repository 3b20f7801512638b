"""Photos from outside, as opaque pictures in 8-bit levels."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.core.pixels import dequantize, open_image, quantize

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".bmp", ".gif")
"""What counts as a photo in a folder."""

CLEAR = 1e-3
"""The share of pixels that must be transparent in a picture of an object."""

_STRIP = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """rgb: (H, W, 3) float32 sRGB in [0, 1], every value an 8-bit level; notes: what a person should know."""

    rgb: np.ndarray
    notes: tuple[str, ...] = ()


def open_photo(path: str | Path) -> Photo:
    """Read a photo of any common kind: upright, in sRGB, opaque; see core.pixels.open_image.

    Transparency is laid on white, and of an animation the first picture is taken; both are noted. HEIC is
    read where the package pillow-heif is installed. Raises LayercliError for files that cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() in (".heic", ".heif") and path.is_file():
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise LayercliError(
                f"{path} is a HEIC photo, and the package that reads it is not installed.",
                'Try: pip install "layercli[heic]"',
            ) from None
    rgba = open_image(path)
    notes = []
    frames = _frames(path)
    if frames > 1:
        notes.append(f"{path} holds {frames} pictures; the first one is taken.")
    rgb = np.empty((*rgba.shape[:2], 3), dtype=np.float32)
    seen_through = False
    for top in range(0, len(rgba), _STRIP):
        strip = rgba[top : top + _STRIP]
        alpha = strip[..., 3:]
        seen_through |= bool(alpha.min() < 1)
        rgb[top : top + _STRIP] = dequantize(quantize(strip[..., :3] * alpha + (1 - alpha)))
    if seen_through:
        notes.append(f"{path} has transparent places; they are laid on white.")
    return Photo(rgb=rgb, notes=tuple(notes))


def covers(rgba: np.ndarray) -> bool:
    """Whether a picture (H, W, 4) fills its canvas, as a photo does; one of an object has clear parts."""
    return float((rgba[..., 3] < 1).mean()) < CLEAR


def _frames(path: Path) -> int:
    """How many pictures follow each other in a file; pages of a TIFF are no animation, but count."""
    with contextlib.suppress(OSError, ValueError, SyntaxError, EOFError), Image.open(path) as image:
        return int(getattr(image, "n_frames", 1))
    return 1
