"""The border between float pictures and 8-bit files: the only home of uint8, by one rounding."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from layercli.core.errors import LayercliError

MOST_PIXELS = 100_000_000
"""The largest picture that is read; a small file may claim any size."""

_LEVELS = np.float32(255.0)
_STRIP_VALUES = 1 << 16


def quantize(values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Round [0, 1] to the nearest of 256 levels, halves up: float array -> uint8 array of the same shape.

    Values outside [0, 1] are clipped; nan becomes 0. `out` (uint8, any strides) takes the result.
    """
    if out is None:
        out = np.empty(values.shape, dtype=np.uint8)
    if values.ndim == 0:
        quantize(values[None], out[None])
        return out
    # Strips keep the float copy small and inside the cache.
    rows = max(1, _STRIP_VALUES * len(values) // max(1, values.size))
    for start in range(0, len(values), rows):
        strip = np.multiply(values[start : start + rows], _LEVELS, dtype=np.float32)
        np.fmax(strip, np.float32(0.0), out=strip)  # fmax, fmin: nan gives way to the bound
        np.fmin(strip, _LEVELS, out=strip)
        round_levels(strip, out[start : start + rows])
    return out


def round_levels(levels: np.ndarray, out: np.ndarray) -> None:
    """Round values from 0 to 255, halves up, into `out` (uint8); the float32 values are used up.

    The one rounding there is: everything that becomes 8 bits goes through here.
    """
    levels += np.float32(0.5)
    np.copyto(out, levels, casting="unsafe")


def dequantize(values: np.ndarray) -> np.ndarray:
    """Turn 256 levels into [0, 1]: uint8 array -> float32 array of the same shape."""
    return np.divide(values, _LEVELS, dtype=np.float32)


def quantize_planes(picture: np.ndarray) -> np.ndarray:
    """Quantise a layer's picture into separate channels: (H, W, 4) float32 -> (4, H, W) uint8.

    The values must lie in [0, 1], as a Layer's do; nothing is clipped, which makes this the fast way.
    """
    return planes_of(quantize_words(picture))


def quantize_words(picture: np.ndarray) -> np.ndarray:
    """Quantise a layer's picture into one word a pixel: (H, W, 4) float32 -> (H, W) uint32.

    Red is the lowest byte and alpha the highest. The values must lie in [0, 1], as a Layer's do.
    """
    height, width, channels = picture.shape
    levels = np.empty(picture.shape, dtype=np.uint8)
    rows = max(1, _STRIP_VALUES // (width * channels))
    strip = np.empty((min(rows, height), width, channels), dtype=np.float32)
    for top in range(0, height, rows):
        part = strip[: min(rows, height - top)]
        np.multiply(picture[top : top + rows], _LEVELS, out=part)
        round_levels(part, levels[top : top + rows])
    return levels.view("<u4")[..., 0]


def planes_of(words: np.ndarray) -> np.ndarray:
    """Take words apart into channels: (H, W) uint32 -> (4, H, W) uint8."""
    height, width = words.shape
    planes = np.empty((4, height, width), dtype=np.uint8)
    rows = max(1, _STRIP_VALUES // width)
    shifted = np.empty((min(rows, height), width), dtype=np.uint32)
    for top in range(0, height, rows):  # shifts are twice as fast as strides
        part = shifted[: min(rows, height - top)]
        for number, plane in enumerate(planes):
            np.right_shift(words[top : top + rows], np.uint32(8 * number), out=part)
            np.copyto(plane[top : top + rows], part, casting="unsafe")
    return planes


@cache
def srgb_profile() -> bytes:
    """The sRGB ICC profile, the same bytes on every call and every day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # Bytes 24-35 hold the time of creation (ICC.1:2010, 7.2.8); a file must not depend on the clock.
    profile[24:36] = bytes((7, 230, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))
    return bytes(profile)


def is_srgb_profile(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB; False for one that cannot be read."""
    try:
        description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False
    return "srgb" in description.lower()


def open_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture of any common kind into the pixel law.

    Turned upright by its EXIF tag; palette, gray, CMYK (through its profile) and 16-bit files are converted
    to (H, W, 4) float32 sRGB, straight alpha, [0, 1].
    Raises LayercliError for files that are missing, damaged, or too large to be honest.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                image.load()
                return _to_rgba(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise LayercliError(f'There is no file "{path}".', "Check the path and try again.") from None
    except IsADirectoryError:
        raise LayercliError(f'"{path}" is a folder, not a picture.', "Name one file in it.") from None
    except PermissionError:
        raise LayercliError(f'"{path}" may not be read.', "Check the file's permissions.") from None
    except UnidentifiedImageError:
        raise _unknown_kind(path) from None
    except Image.DecompressionBombError:
        raise LayercliError(
            f'"{path}" has more than {MOST_PIXELS:,} pixels.', "Make it smaller first."
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError, ImageCms.PyCMSError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            raise LayercliError(f'"{path}" is a link that leads back to itself.', "Try: ls -l") from None
        raise LayercliError(f'"{path}" is damaged: {error}.', "Export the picture again.") from error


def _unknown_kind(path: Path) -> LayercliError:
    """What to say of a file that Pillow reads no picture from: TIFF holds more kinds than are read here."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return LayercliError(
                f'"{path}" is a TIFF of a kind that is not read here, such as colours of 32 bits.',
                "Save it with 8 bits a channel, or as PNG.",
            )
    return LayercliError(f'"{path}" is not a picture.', "Use a PNG, JPEG or TIFF.")


def _to_rgba(image: Image.Image) -> np.ndarray:
    """Any Pillow picture -> (H, W, 4) float32."""
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_gray(image)
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    pixels = np.empty((image.height, image.width, 4), dtype=np.float32)
    pixels[..., :3] = dequantize(np.asarray(in_srgb(image)))
    pixels[..., 3] = 1.0 if alpha is None else dequantize(np.asarray(alpha))
    return pixels


def _deep_gray(image: Image.Image) -> np.ndarray:
    """A 16-bit or float gray picture, scaled, never clipped -> (H, W, 4)."""
    gray = np.asarray(image).astype(np.float32)
    if image.mode != "F":
        gray /= np.float32(65535.0)
    if not (gray.min() >= 0.0 and gray.max() <= 1.0):
        raise ValueError("its values lie outside the range of its kind")
    return np.stack([gray, gray, gray, np.ones_like(gray)], axis=-1)


def in_srgb(image: Image.Image) -> Image.Image:
    """Colour of any Pillow mode as 8-bit sRGB, through the embedded profile where there is one."""
    profile = image.info.get("icc_profile")
    source = image.convert("RGB") if image.mode not in ("RGB", "CMYK", "LAB") else image
    if not profile or image.mode in ("L", "LA", "1"):
        return source.convert("RGB")
    try:
        if is_srgb_profile(profile):
            return source.convert("RGB")  # a detour through the same profile only adds rounding
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if embedded.profile.xcolor_space.strip() != source.mode[:4]:
            return source.convert("RGB")  # a profile for other channels says nothing about these
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(source, embedded, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return source.convert("RGB")  # a broken profile is no reason to refuse the picture
    return source.convert("RGB") if converted is None else converted


def save_png(
    path: str | os.PathLike[str],
    rgba: np.ndarray,
    text: Mapping[str, str] | None = None,
    *,
    dpi: float | None = None,
    level: int = 2,
) -> Path:
    """Write a picture as 8-bit sRGB PNG: (H, W, 3 or 4) float [0, 1] or uint8.

    text: keyword -> Unicode string, stored as iTXt; level: zlib level 0-9.
    Raises LayercliError when the path cannot be written.
    """
    path = Path(path)
    pixels = rgba if rgba.dtype == np.uint8 else quantize(rgba)
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    options: dict[str, object] = {} if dpi is None else {"dpi": (dpi, dpi)}
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(
            path, "PNG", pnginfo=info, compress_level=level, icc_profile=srgb_profile(), **options
        )
    except OSError as error:
        why = error.strerror or error
        raise LayercliError(f'"{path}" cannot be written: {why}.', "Choose another folder.") from error
    return path
