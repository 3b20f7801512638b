"""Sets of layered pictures as folders: shards, rows, a manifest; written by any source, resumed, read again.

The folder holds `layered-<seed>-<start>.tar` (one lossless WebP a frame, `<number>/<frame>.webp`: background,
foregrounds back to front, the whole picture), `index-<shard>.json` and `index.jsonl` (one row a picture), and
`manifest.json`: what was asked, statistics, sources, licences and checksums.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data._layered_source import Layered, Limits, Source, fingerprint
from layercli.data._shards import add_frames, held_to, write_text

SHARD = 128
ALIKE = 3
"""Pictures whose fingerprints differ in so few of 64 bits are near-duplicates; the later one is left out."""


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """How many layered pictures, and what each must keep to, whatever they are made of.

    counts: how often a picture has one, two, three… foregrounds; smallest, largest, visible: see Limits.
    """

    samples: int
    counts: tuple[float, ...] = (0.5, 0.32, 0.18)
    smallest: float = 0.01
    largest: float = 0.8
    visible: float = 0.3
    seed: int = 0
    workers: int = 0

    @property
    def limits(self) -> Limits:
        """What every picture is held to."""
        return Limits(smallest=self.smallest, largest=self.largest, visible=self.visible)

    def asked(self, *places: str) -> dict[str, Any]:
        """What decides the pixels, as JSON has it: all but how many, by how many, and these places."""
        values = asdict(self) | {"counts": list(self.counts)}
        return {key: value for key, value in values.items() if key not in ("samples", "workers", *places)}


def write_set(
    out: Path,
    asked: dict[str, Any],
    samples: int,
    seed: int,
    open_source: Callable[[], Source],
    workers: int,
    on_step: Callable[[int, int], None],
) -> Path:
    """Write the data set and return its folder; shards already there are kept.

    asked: what decides the pixels, fit for JSON; open_source: makes the source, once in every process.
    Raises LayercliError when the folder holds a set that was asked for in other words.
    """
    shards = [
        (f"layered-{seed}-{start:06d}", start, min(SHARD, samples - start))
        for start in range(0, samples, SHARD)
    ]
    with held_to(out, asked, "layered pictures"):
        missing = [shard for shard in shards if _pictures_in(out, shard[0]) != shard[2]]
        on_step(len(shards) - len(missing), len(shards))
        for done, _ in enumerate(_made(out, missing, open_source, workers), len(shards) - len(missing) + 1):
            on_step(done, len(shards))
    rows: list[dict[str, Any]] = []
    for name, _, _ in shards:
        rows.extend(json.loads((out / f"index-{name}.json").read_text(encoding="utf-8")))
    left_out = [row["left_out"] for row in rows if "left_out" in row]
    rows = [row for row in rows if "left_out" not in row]
    if not rows:
        raise LayercliError(f"None of {len(left_out)} pictures fits: {left_out[0]}.", "Look at its layers.")
    kept = without_duplicates(rows)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    write_text(out / "index.jsonl", lines)
    manifest = {
        "asked": asked,
        **statistics(kept),
        **({"left_out": left_out} if left_out else {}),
        "near_duplicates_left_out": len(rows) - len(kept),
        "rejected_while_drawing": dict(sum((Counter(row["rejected"]) for row in rows), Counter())),
        "sha256": {f"{name}.tar": _sha256(out / f"{name}.tar") for name, _, _ in shards},
    }
    write_text(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return out


def summary(folder: Path) -> str:
    """What a finished set holds, in a few lines."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    told = {key: value for key, value in manifest.items() if key not in ("asked", "sha256", "sources")}
    return "\n".join(f"{key.replace('_', ' ')}: {_told(value)}" for key, value in told.items())


def statistics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts and quantiles over the rows of a set."""
    areas = [area for row in rows for area in row["areas"]]
    visible = [share for row in rows for share in row["visible"]]
    nouns = Counter(noun for row in rows for noun in row["nouns"][1:] if noun)
    return {
        "pictures": len(rows),
        "foregrounds": dict(sorted(Counter(str(len(row["areas"])) for row in rows).items())),
        "styles": dict(Counter(row["style"] for row in rows).most_common()),
        "area": _quantiles(areas),
        "visible": _quantiles(visible),
        "common_nouns": dict(nouns.most_common(10)),
        "works": len({work for row in rows for work in row["works"]}),
        "licences": dict(Counter(name for row in rows for name in row["licences"]).most_common()),
        "sources": dict(Counter(name for row in rows for name in row["sources"]).most_common()),
    }


def without_duplicates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out every picture that looks like an earlier one with as many foregrounds."""
    kept: list[dict[str, Any]] = []
    ones = np.unpackbits(np.arange(2**16, dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1)
    seen = {len(row["areas"]): np.zeros(len(rows), np.uint64) for row in rows}
    counts: Counter[int] = Counter()
    for row in rows:
        group, mark = len(row["areas"]), np.uint64(int(row["fingerprint"], 16))
        earlier = seen[group][: counts[group]]
        if earlier.size:
            differing = ones[(earlier ^ mark).view(np.uint16)].reshape(-1, 4).sum(axis=1)
            if int(differing.min()) <= ALIKE:
                continue
        seen[group][counts[group]] = mark
        counts[group] += 1
        kept.append(row)
    return kept


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a layered data set; raises LayercliError where there is none."""
    index = folder / "index.jsonl"
    if not index.is_file():
        raise LayercliError(
            f"No layered pictures in {folder}.", f"Make them: layercli data layered --out {folder}"
        )
    with index.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_shards(folder: Path) -> Iterator[tuple[str, list[Layered]]]:
    """The pictures of a set, shard by shard, in the order of its rows."""
    by_shard: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(folder):
        by_shard.setdefault(row["shard"], []).append(row)
    for name, rows in by_shard.items():
        with tarfile.open(folder / f"{name}.tar") as tar:
            yield name, [Layered(frames=_frames(tar, row), row=row) for row in rows]


def read_one(folder: Path, row: dict[str, Any]) -> Layered:
    """One picture of a set, by its row."""
    with tarfile.open(folder / f"{row['shard']}.tar") as tar:
        return Layered(frames=_frames(tar, row), row=row)


def _frames(tar: tarfile.TarFile, row: dict[str, Any]) -> np.ndarray:
    pictures = []
    for frame in range(len(row["areas"]) + 2):
        member = tar.extractfile(f"{row['number']:06d}/{frame}.webp")
        if member is None:
            raise LayercliError(f"Picture {row['number']} is missing from {tar.name!s}.", "Build it again.")
        with Image.open(io.BytesIO(member.read())) as picture:
            pictures.append(np.asarray(picture.convert("RGBA")))
    return np.stack(pictures)


def _made(
    out: Path, missing: list[tuple[str, int, int]], open_source: Callable[[], Source], workers: int
) -> Iterator[str]:
    """Make shards, in processes of their own where there are several workers; 0 for as many as cores."""
    workers = workers or os.cpu_count() or 1
    if workers <= 1 or len(missing) <= 1:
        source = open_source() if missing else None
        for name, start, count in missing:
            assert source is not None
            yield _make_shard(out, source, name, start, count)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(missing)), context, _open, (open_source,)) as pool:
        jobs = [pool.submit(_make_here, out, *shard) for shard in missing]
        for job in as_completed(jobs):
            yield job.result()


_opened: list[Source | LayercliError] = []
"""The source of this process, where it is one of several, or why there is none."""


def _open(open_source: Callable[[], Source]) -> None:
    try:
        _opened.append(open_source())
    except LayercliError as error:  # raised here it would break the pool, and its sentence would be lost
        _opened.append(error)


def _make_here(out: Path, name: str, start: int, count: int) -> str:
    source = _opened[0]
    if isinstance(source, LayercliError):
        raise source
    return _make_shard(out, source, name, start, count)


def _make_shard(out: Path, source: Source, name: str, start: int, count: int) -> str:
    """Write one tar file and, last, its rows, which say that it is whole."""
    rows: list[dict[str, Any]] = []
    part = out / f".{name}.tar"
    with tarfile.open(part, "w") as tar:
        for number in range(start, start + count):
            picture = source.draw(number)
            if isinstance(picture, str):
                rows.append({"number": number, "left_out": picture})
                continue
            add_frames(tar, number, picture.frames)
            mark = f"{fingerprint(picture.frames[-1]):016x}"
            rows.append({"shard": name, "number": number, "fingerprint": mark, **picture.row})
    part.replace(out / f"{name}.tar")
    write_text(out / f"index-{name}.json", json.dumps(rows, ensure_ascii=False))
    return name


def _pictures_in(out: Path, shard: str) -> int:
    """How many pictures a finished shard holds; 0 for one that is not there."""
    rows = out / f"index-{shard}.json"
    return len(json.loads(rows.read_text(encoding="utf-8"))) if rows.is_file() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quantiles(values: list[float]) -> list[float]:
    return [round(float(q), 3) for q in np.quantile(values, (0, 0.1, 0.5, 0.9, 1))] if values else []


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return "\n  ".join(["", *value]) if value and isinstance(value[0], str) else " ".join(map(str, value))
    return str(value)
