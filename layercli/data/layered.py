"""Layered pictures: a background, complete foregrounds in their places, and the whole with light and shadow.

The folder holds `layered-<seed>-<start>.tar` (one lossless WebP a frame, `<number>/<frame>.webp`: background,
foregrounds back to front, the whole picture), `index-<shard>.json` and `index.jsonl` (one row a picture), and
`manifest.json`: what was asked, statistics, sources, licences and checksums. Same seed, same pictures.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data._layered_source import ComposedSource, Layered, Limits, Source, fingerprint
from layercli.data._shards import add_frames, hold_to, write_text

SHARD = 128
ALIKE = 3
"""Pictures whose fingerprints differ in so few of 64 bits are near-duplicates; the later one is left out."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The prepared data set to draw from, where to write, and how many layered pictures.

    counts: how often a picture has one, two, three… foregrounds; smallest, largest: share of the canvas an
    object covers; visible: share of it that others leave uncovered; workers: processes.
    """

    data: str = "runs/data"
    out: str = "runs/layered"
    source: Literal["composed"] = "composed"
    samples: int = 20_000
    counts: tuple[float, ...] = (0.5, 0.32, 0.18)
    smallest: float = 0.01
    largest: float = 0.8
    visible: float = 0.3
    seed: int = 0
    workers: int = 1


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the data set and return its folder; shards already there are kept.

    Raises LayercliError when the folder holds a set that was asked for in other words.
    """
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    hold_to(out, _asked(options), "layered pictures")
    shards = [(f"layered-{options.seed}-{start:06d}", start) for start in range(0, options.samples, SHARD)]
    missing = [(name, start) for name, start in shards if not (out / f"index-{name}.json").is_file()]
    on_step(len(shards) - len(missing), len(shards))
    for done, _ in enumerate(_made(options, missing), len(shards) - len(missing) + 1):
        on_step(done, len(shards))
    rows: list[dict[str, Any]] = []
    for name, _ in shards:
        rows.extend(json.loads((out / f"index-{name}.json").read_text(encoding="utf-8")))
    kept = without_duplicates(rows)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    write_text(out / "index.jsonl", lines)
    manifest = {
        "asked": _asked(options),
        **statistics(kept),
        "near_duplicates_left_out": len(rows) - len(kept),
        "rejected_while_drawing": dict(sum((Counter(row["rejected"]) for row in rows), Counter())),
        "sha256": {f"{name}.tar": _sha256(out / f"{name}.tar") for name, _ in shards},
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


def _frames(tar: tarfile.TarFile, row: dict[str, Any]) -> np.ndarray:
    pictures = []
    for frame in range(len(row["areas"]) + 2):
        member = tar.extractfile(f"{row['number']:06d}/{frame}.webp")
        if member is None:
            raise LayercliError(f"Picture {row['number']} is missing from {tar.name!s}.", "Build it again.")
        with Image.open(io.BytesIO(member.read())) as picture:
            pictures.append(np.asarray(picture.convert("RGBA")))
    return np.stack(pictures)


def _made(options: Options, missing: list[tuple[str, int]]) -> Iterator[str]:
    """Make shards, in processes of their own where there are several workers."""
    if options.workers <= 1 or len(missing) <= 1:
        source = _source(options) if missing else None
        for name, start in missing:
            assert source is not None
            yield _make_shard(options, source, name, start)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(options.workers, len(missing)), mp_context=context) as pool:
        parts = [missing[worker :: options.workers] for worker in range(options.workers)]
        jobs = [pool.submit(_make_shards, options, part) for part in parts if part]
        for job in as_completed(jobs):
            yield from job.result()


def _make_shards(options: Options, part: list[tuple[str, int]]) -> list[str]:
    source = _source(options)
    return [_make_shard(options, source, name, start) for name, start in part]


def _source(options: Options) -> Source:
    limits = Limits(smallest=options.smallest, largest=options.largest, visible=options.visible)
    return ComposedSource(Path(options.data), options.seed, options.counts, limits)


def _make_shard(options: Options, source: Source, name: str, start: int) -> str:
    """Write one tar file and, last, its rows, which say that it is whole."""
    out, rows = Path(options.out), []
    part = out / f".{name}.tar"
    with tarfile.open(part, "w") as tar:
        for number in range(start, min(start + SHARD, options.samples)):
            picture = source.draw(number)
            add_frames(tar, number, picture.frames)
            mark = f"{fingerprint(picture.frames[-1]):016x}"
            rows.append({"shard": name, "number": number, "fingerprint": mark, **picture.row})
    part.replace(out / f"{name}.tar")
    write_text(out / f"index-{name}.json", json.dumps(rows, ensure_ascii=False))
    return name


def _asked(options: Options) -> dict[str, Any]:
    """What decides the pixels; tuples as JSON has them."""
    asked = asdict(options) | {"counts": list(options.counts)}
    return {key: value for key, value in asked.items() if key not in ("out", "workers", "samples")}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quantiles(values: list[float]) -> list[float]:
    return [round(float(q), 3) for q in np.quantile(values, (0, 0.1, 0.5, 0.9, 1))] if values else []


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
