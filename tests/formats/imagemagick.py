"""ImageMagick as a reader that owes layercli nothing; tests that need it are skipped where it is absent."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest


@functools.cache
def _found() -> bool:
    """Whether `identify` and `convert` are ImageMagick's own and at hand."""
    if shutil.which("identify") is None or shutil.which("convert-im6") is None:
        return False
    version = subprocess.run(["identify", "-version"], capture_output=True, text=True, check=False)
    return "ImageMagick" in version.stdout


def identify(form: str, file: str) -> list[str]:
    """One line of `identify -format` per picture in a file."""
    if not _found():
        pytest.skip("ImageMagick 6 is not installed (Debian: apt install imagemagick)")
    told = subprocess.run(
        ["identify", "-quiet", "-format", f"{form}\n", file], capture_output=True, text=True, check=True
    )
    return told.stdout.splitlines()


def convert(*arguments: str) -> None:
    """Run `convert`."""
    if not _found():
        pytest.skip("ImageMagick 6 is not installed (Debian: apt install imagemagick)")
    subprocess.run(["convert-im6", "-quiet", *arguments], capture_output=True, check=True)
