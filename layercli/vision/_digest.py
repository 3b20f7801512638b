"""The hash by which weights are told apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

from layercli.core.errors import LayercliError


def file_digest(path: Path) -> str:
    """SHA-256 of a file; raises LayercliError where it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LayercliError(
            f"The weights {path} cannot be read: {error.strerror}.",
            "Reinstall layercli: pip install --force-reinstall layercli",
        ) from error
