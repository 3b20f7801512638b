"""Shards: tar files of WebP pictures with one manifest row each, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from .packages import Packages
from .pictures import Picture
from .wording import file_slug

# Objects keep a little more detail than scenes: their outlines are what is learned first.
_QUALITY = {"fg": 85, "bg": 80}


@dataclass(frozen=True)
class Shard:
    """One tar file of the corpus. draw: its pictures, in order, the same on every machine."""

    name: str
    about: str
    draw: Callable[[Packages], Iterator[Picture]]


def webp(image: Image.Image, quality: int) -> bytes:
    """Lossy WebP with a lossless alpha channel."""
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def manifest_row(picture: Picture, shard: str) -> dict[str, Any]:
    """The manifest's line for a picture; what is not known is left out."""
    row: dict[str, Any] = {
        "shard": shard,
        "member": f"{picture.kind}/{file_slug(picture.name)}-{picture.number:05}.webp",
        "caption": picture.caption,
        "kind": picture.kind,
        "width": picture.image.width,
        "height": picture.image.height,
        "style": picture.style,
        "source": picture.source,
        "licence": picture.licence,
    }
    known = {
        "tags": list(picture.tags),
        "group": picture.group,
        "model": picture.model,
        "view": picture.view,
        "orig": picture.orig,
    }
    return row | {key: value for key, value in known.items() if value not in ([], "", None)}


def distinct(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The pictures without those whose pixels an earlier one has."""
    seen: set[bytes] = set()
    for picture in pictures:
        key = hashlib.sha256(repr(picture.image.size).encode() + picture.image.tobytes()).digest()
        if key not in seen:
            seen.add(key)
            yield picture


def _rows_file(out: Path, shard: str) -> Path:
    return out / "rows" / f"{shard}.json"


def build_shard(shard: Shard, packages: Packages, out: Path, limit: int | None = None) -> int:
    """Write `<name>.tar` and its rows into the folder `out`, unless they are there; the number of pictures.

    limit: so many pictures only. A shard made with another limit is made again.
    """
    rows_file, tar_file = _rows_file(out, shard.name), out / f"{shard.name}.tar"
    if rows_file.is_file() and tar_file.is_file():
        made = json.loads(rows_file.read_text(encoding="utf-8"))
        if made["limit"] == limit:
            return len(made["rows"])
    rows_file.parent.mkdir(parents=True, exist_ok=True)
    rows_file.unlink(missing_ok=True)
    rows = []
    part = tar_file.with_suffix(".tar.part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for picture in islice(distinct(shard.draw(packages)), limit):
            row = manifest_row(picture, tar_file.name)
            data = webp(picture.image, _QUALITY[picture.kind])
            # A TarInfo made by hand has no owner and no time: the same pictures give the same bytes.
            member = tarfile.TarInfo(row["member"])
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            rows.append(row)
    os.replace(part, tar_file)
    rows_part = rows_file.with_suffix(".part")
    rows_part.write_text(json.dumps({"limit": limit, "rows": rows}, ensure_ascii=False), encoding="utf-8")
    os.replace(rows_part, rows_file)
    return len(rows)


def write_manifest(out: Path) -> int:
    """`manifest.jsonl` from all shards that lie in the folder; the number of rows."""
    part, count = out / "manifest.jsonl.part", 0
    with part.open("w", encoding="utf-8") as lines:
        for rows_file in sorted((out / "rows").glob("*.json")):
            for row in json.loads(rows_file.read_text(encoding="utf-8"))["rows"]:
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    os.replace(part, out / "manifest.jsonl")
    return count
