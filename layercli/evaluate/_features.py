"""Features of a whole run, part by part, kept under the hash of what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from layercli.core.errors import LayercliError
from layercli.evaluate._rows import Rows
from layercli.evaluate._sample import PARTS, Entry, Sample
from layercli.vision.features import FeatureNet

_VERSION = 1


def features_of(
    entries: Sequence[Entry],
    digest: str,
    net: FeatureNet,
    cache: Path | None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Rows]:
    """The rows of every part over the samples that can be read, from the cache where they are there.

    digest: of the run's content; cache: a folder, None for none.
    """
    key = hashlib.sha256(f"{_VERSION} {digest} {net.digest} {json.dumps(net.settings)}".encode()).hexdigest()
    file = None if cache is None else cache / f"{key[:32]}.npz"
    if file is not None and file.is_file():
        try:
            return _read(file)
        except (OSError, ValueError, KeyError, LayercliError):
            file.unlink(missing_ok=True)
    found: dict[str, list[tuple[np.ndarray, str, str]]] = {part: [] for part in PARTS}
    for done, entry in enumerate(entries):
        on_step(done, len(entries))
        try:
            sample = entry.load()
        except LayercliError:
            continue  # the pass over the metrics has counted it as skipped
        for part in PARTS:
            pictures = list(sample.pictures(part))
            prompts = prompts_of(sample, part)
            for features, prompt in zip(net.look(pictures, part), prompts, strict=True):
                found[part].append((features, sample.name, prompt))
    on_step(len(entries), len(entries))
    rows = {part: _rows(entries_) for part, entries_ in found.items() if entries_}
    if file is not None:
        _write(file, rows)
    return rows


def prompts_of(sample: Sample, part: str) -> list[str]:
    """What each picture of a part was asked to show; samples with the same text are seeds of one prompt."""
    whole = sample.prompt or " / ".join(layer.prompt or layer.name for layer in sample.layers)
    if part == "foreground":
        return [layer.prompt or layer.name for layer in sample.foregrounds]
    if part == "background":
        return [] if sample.background is None else [sample.background.prompt or whole]
    return [whole]


def cache_folder() -> Path:
    """Where features are kept for the next time."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache")
    return Path(home) / "layercli" / "features"


def _rows(found: list[tuple[np.ndarray, str, str]]) -> Rows:
    return Rows(
        features=np.array([features for features, _, _ in found], np.float64),
        samples=np.array([name for _, name, _ in found]),
        prompts=np.array([prompt for _, _, prompt in found]),
    )


def _read(file: Path) -> dict[str, Rows]:
    with np.load(file, allow_pickle=False) as arrays:
        parts = sorted({name.partition(".")[0] for name in arrays.files})
        return {
            part: Rows(**{name: arrays[f"{part}.{name}"] for name in ("features", "samples", "prompts")})
            for part in parts
        }


def _write(file: Path, rows: dict[str, Rows]) -> None:
    """A cache that cannot be written is no reason to fail."""
    part_file = file.with_name(f"{secrets.token_hex(6)}.part.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{part}.{name}": getattr(of, name)
            for part, of in rows.items()
            for name in ("features", "samples", "prompts")
        }
        np.savez(part_file, **arrays)
        part_file.replace(file)
    except OSError:
        part_file.unlink(missing_ok=True)
