"""What was fetched, from where, at which commit and under which licence: one small file a model."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layercli.core.errors import LayercliError
from layercli.models.hub import HubFile


@dataclass(frozen=True, kw_only=True)
class Record:
    """One fetch of one row of the table: files with their sizes and hashes as the hub told them.

    accepted: the licence as it was shown and accepted, "" where none had to be.
    """

    name: str
    hub: str
    revision: str
    commit: str
    accepted: str
    when: str
    files: tuple[HubFile, ...]


def records_folder() -> Path:
    """Where records lie: layercli's own cache."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "layercli" / "models"


def ready_records() -> None:
    """Make the folder of records, before anything is fetched; raises LayercliError where that cannot be."""
    folder = records_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LayercliError(
            f"What is fetched cannot be recorded in {folder}: {error.strerror}.",
            "Set XDG_CACHE_HOME to a folder of your own.",
        ) from error


def read_record(name: str, hub: str) -> Record | None:
    """What is known of the last fetch of a model from this repository; None where there is no record."""
    try:
        values: dict[str, Any] = json.loads((records_folder() / f"{name}.json").read_text(encoding="utf-8"))
        values["files"] = tuple(HubFile(**file) for file in values["files"])
        record = Record(**values)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if record.hub == hub else None


def write_record(record: Record) -> None:
    """Keep a record, whole or not at all."""
    path = records_folder() / f"{record.name}.json"
    ready_records()
    part = path.with_suffix(".part")
    part.write_text(json.dumps(dataclasses.asdict(record), indent=1), encoding="utf-8")
    os.replace(part, path)


def forget_record(name: str) -> None:
    """Drop a record, if there is one."""
    (records_folder() / f"{name}.json").unlink(missing_ok=True)
