"""Whether what lies on this machine is what it should be: files there, of their size, with their hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from layercli.core.errors import LayercliError
from layercli.models.entries import Entry
from layercli.models.hub_cache import blob_name, files_in, has_hash
from layercli.models.records import Record

OK, MISSING, CUT, OTHER, UNKNOWN = "ok", "missing", "another size", "another content", "whole, hash unknown"
HEADER = 100_000_000
"""The longest header that the safetensors format allows, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What looking at one file gave: its path in the model's folder, and one of the states above."""

    path: str
    state: str

    @property
    def bad(self) -> bool:
        """Whether the file is not what it should be."""
        return self.state in (MISSING, CUT, OTHER)


def check_files(
    folder: Path,
    entry: Entry | None,
    record: Record | None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Check, ...]:
    """Look at every file of a model: those recorded when it was fetched, or else those that are there.

    Hashes come from the table, from the record, from the cache, which names files by them, or from the
    report of the training beside the files; without any, a safetensors file must at least be as long as its
    own header says.
    """
    told = {file.path: file for file in record.files} if record is not None else {}
    pinned: Mapping[str, str] = entry.sha256 if entry is not None else {}
    there = set(files_in(folder))
    if entry is not None and entry.hub:
        there = {name for name in there if entry.names(name)} | set(entry.holds)
    if not pinned and not told:
        pinned = _reported(folder)
        there |= set(pinned)
    names = sorted(set(told) or there)
    checks = []
    for number, name in enumerate(names, 1):
        file = told.get(name)
        digest = pinned.get(name) or (file.sha256 if file is not None else "") or blob_name(folder / name)
        state = state_of(folder / name, file.bytes if file is not None else None, digest)
        checks.append(Check(path=name, state=state))
        on_step(number, len(names))
    return tuple(checks)


def _reported(folder: Path) -> dict[str, str]:
    """The hashes that `layercli train export` wrote into training.json; none where there is no such file."""
    try:
        hashes = json.loads((folder / "training.json").read_text(encoding="utf-8"))["sha256"]
        return {str(name): str(digest) for name, digest in hashes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def state_of(path: Path, bytes_wanted: int | None = None, digest: str = "") -> str:
    """One of the states above for one file."""
    if not path.is_file():
        return MISSING
    if bytes_wanted is not None and path.stat().st_size != bytes_wanted:
        return CUT
    if digest:
        return OK if has_hash(path, digest) else OTHER
    if path.suffix == ".safetensors":
        try:
            read_header(path)
        except LayercliError:
            return CUT
    return UNKNOWN


def read_header(path: Path) -> dict[str, dict[str, object]]:
    """What a safetensors file says it holds: tensor name -> {"dtype", "shape", "data_offsets"}.

    Raises LayercliError for a file that is missing, no safetensors file, or not as long as it says.
    """
    hint = "Fetch or copy the file again."
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if not 2 <= header_bytes <= min(HEADER, length - 8):
                raise LayercliError(f"{path} is no safetensors file, or was cut off.", hint)
            header = json.loads(file.read(header_bytes))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except OSError as error:
        raise LayercliError(f"{path} cannot be read: {error.strerror}.", "Look at the spelling.") from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise LayercliError(f"{path} is no safetensors file.", hint) from error
    if length != 8 + header_bytes + end:
        raise LayercliError(f"{path} was cut off: it has {length} bytes of {8 + header_bytes + end}.", hint)
    return header
