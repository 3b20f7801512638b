"""Files from outside: every failure becomes one sentence, and no file may claim more than memory holds."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from layercli.core.errors import LayercliError

#: The most pixels that all layers of one file, or its canvas, may have: 4 GiB as float32 RGBA.
MOST_PIXELS = 1 << 28
#: The most layers of one file.
MOST_LAYERS = 4096


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn whatever a parser raises over a file into a LayercliError that names the file.

    kind: what the file should be, "an OpenRaster file" say.
    """
    try:
        yield
    except LayercliError as error:
        if str(path) in error.message:
            raise
        raise damaged(path, kind, error.message) from error  # of a layer or a size: say which file has it
    except FileNotFoundError as error:
        raise LayercliError(f'There is no file "{path}".', "Check the path and try again.") from error
    except IsADirectoryError as error:
        raise LayercliError(f'"{path}" is a folder, not {kind}.', "Name one file in it.") from error
    except PermissionError as error:
        raise LayercliError(f'"{path}" may not be read.', "Check the file's permissions.") from error
    except MemoryError as error:
        raise LayercliError(f'"{path}" needs more memory than there is.', "Make it smaller first.") from error
    except Exception as error:  # parsers of broken files raise anything: struct.error, IndexError, …
        raise damaged(path, kind, str(error) or type(error).__name__) from error


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep tifffile and Pillow from talking about a broken file: the LayercliError says it once."""
    log = logging.getLogger("tifffile")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            yield
    finally:
        log.setLevel(before)


def damaged(path: str | os.PathLike[str], kind: str, why: str) -> LayercliError:
    """The sentence for a file that is not, or is no longer, what it should be."""
    why = " ".join(why.split()).rstrip(".")[:200]
    return LayercliError(
        f'"{path}" cannot be read as {kind}: {why}.', "Export it again, or use another copy."
    )


def check_pixels(path: str | os.PathLike[str], kind: str, sizes: list[tuple[int, int]]) -> None:
    """Refuse a file whose layers (width, height) together, or in number, are more than can be meant."""
    if len(sizes) > MOST_LAYERS:
        raise damaged(path, kind, f"it has {len(sizes)} layers, and {MOST_LAYERS} are the most")
    if any(width < 1 or height < 1 for width, height in sizes):
        raise damaged(path, kind, "a picture in it is empty")
    total = sum(width * height for width, height in sizes)
    if total > MOST_PIXELS:
        raise damaged(path, kind, f"it has {total:,} pixels, and {MOST_PIXELS:,} are the most")


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of a picture by its header, nothing decoded; raises ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # check_pixels is the judge
            with Image.open(path) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise ValueError(f'"{Path(path).name}" has too many pixels') from error
    except Exception as error:
        raise ValueError(f'"{Path(path).name}" is not a picture') from error


def strict_json(text: str | bytes) -> Any:
    """Read JSON; raises ValueError for anything else, nan and infinities included."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def json_object(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object; raises ValueError for anything else."""
    found = strict_json(text)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    return found
