"""A corpus folder (manifest and tar shards of openly licensed pictures) as arrays ready for training.

A prepared data set is a folder: `pixels-<shard>.npy` (N, size, size, 4) uint8 straight-alpha sRGB, one
file a shard so that an interrupted build goes on with the next one, `index.jsonl` with one row a picture
(shard, row, caption, style, kind, split, weight, source, licence) and `dataset.json` with totals.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data.captions import plain_caption, sampling_weight, style_word

HELD_OUT_SHARE = 0.03

# Works whose own files state share-alike or GPL terms, whatever a manifest says of their package.
_NOT_OPEN_ENOUGH = (
    "povray/examples/previews/advanced/",
    "povray/examples/previews/camera/fisheye",
    "openclipart/svg/computer/firewall_denco_01",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where the corpus lies, where the prepared data set goes, and its side in pixels."""

    corpus: str
    out: str = "runs/data"
    size: int = 256
    scene_crops: int = 3


def is_held_out(row: dict[str, Any], share: float = HELD_OUT_SHARE) -> bool:
    """Split by model (all views of one 3D model together) or by picture, from a hash: stable for ever."""
    key = f"{row['source']}/{row.get('model') or row['member']}"
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 0x100000000 < share


def read_manifest(corpus: Path) -> list[dict[str, Any]]:
    """The rows of `manifest.jsonl`, in order, less the works whose own files do not allow this use."""
    manifest = corpus / "manifest.jsonl"
    if not manifest.is_file():
        raise LayercliError(
            f"No manifest.jsonl in {corpus}.",
            "Name the corpus folder: layercli data corpus -O corpus=DIR (examples/rebuild_corpus.py)",
        )
    with manifest.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [row for row in rows if not any(part in row.get("orig", "") for part in _NOT_OPEN_ENOUGH)]


def square_object(picture: Image.Image, size: int) -> np.ndarray:
    """An object on transparency, centred in a square -> (size, size, 4) uint8, straight alpha."""
    rgba = picture.convert("RGBA")
    side = max(rgba.size)
    if rgba.size != (side, side):
        canvas = Image.new("RGBA", (side, side))
        canvas.paste(rgba, ((side - rgba.width) // 2, (side - rgba.height) // 2))
        rgba = canvas
    return np.asarray(rgba if side == size else rgba.resize((size, size), Image.Resampling.LANCZOS))


def square_scenes(picture: Image.Image, size: int, crops: int) -> Iterator[np.ndarray]:
    """Evenly spaced square crops along the long side of a scene -> (size, size, 4) uint8, alpha 255."""
    rgba = picture.convert("RGB").convert("RGBA")
    scale = size / min(rgba.size)
    wide = rgba.resize(
        (max(size, round(rgba.width * scale)), max(size, round(rgba.height * scale))),
        Image.Resampling.LANCZOS,
    )
    slack_x, slack_y = wide.width - size, wide.height - size
    wanted = crops if max(slack_x, slack_y) > size // 16 else 1
    for i in range(wanted):
        part = 0.5 if wanted == 1 else i / (wanted - 1)
        left, top = round(slack_x * part), round(slack_y * part)
        yield np.asarray(wide.crop((left, top, left + size, top + size)))


def _shard_arrays(
    corpus: Path, shard: str, rows: list[dict[str, Any]], options: Options
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    pictures: list[np.ndarray] = []
    index: list[dict[str, Any]] = []
    with tarfile.open(corpus / shard) as tar:
        for row in rows:
            member = tar.extractfile(row["member"])
            if member is None:
                raise LayercliError(f"{row['member']} is missing from {shard}.", "Fetch the corpus again.")
            with Image.open(io.BytesIO(member.read())) as picture:
                if row["kind"] == "bg":
                    squares = list(square_scenes(picture, options.size, options.scene_crops))
                else:
                    squares = [square_object(picture, options.size)]
            for square in squares:
                index.append(_index_row(row, shard, len(pictures), len(squares)))
                pictures.append(square)
    return np.stack(pictures), index


def _index_row(row: dict[str, Any], shard: str, position: int, crops: int) -> dict[str, Any]:
    return {
        "shard": shard,
        "row": position,
        "member": row["member"],
        "caption": plain_caption(row["caption"]),
        "style": style_word(row["style"]),
        "kind": "background" if row["kind"] == "bg" else "foreground",
        "split": "held-out" if is_held_out(row) else "train",
        "weight": sampling_weight(row) / crops,
        "model": row.get("model") or row["member"],
        "source": row["source"],
        "licence": row["licence"],
    }


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the prepared data set and return its folder; shards already there are kept."""
    corpus, out = Path(options.corpus), Path(options.out)
    by_shard: dict[str, list[dict[str, Any]]] = {}
    for row in read_manifest(corpus):
        by_shard.setdefault(row["shard"], []).append(row)
    out.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    for done, (shard, rows) in enumerate(sorted(by_shard.items())):
        on_step(done, len(by_shard))
        stem = shard.removesuffix(".tar")
        pixels_file, rows_file = out / f"pixels-{stem}.npy", out / f"index-{stem}.json"
        if not rows_file.exists():
            pictures, shard_index = _shard_arrays(corpus, shard, rows, options)
            np.save(out / f".{stem}.npy", pictures)
            (out / f".{stem}.npy").replace(pixels_file)
            rows_file.write_text(json.dumps(shard_index), encoding="utf-8")
        index.extend(json.loads(rows_file.read_text(encoding="utf-8")))
    with (out / "index.jsonl").open("w", encoding="utf-8") as lines:
        for entry in index:
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
    totals = {
        "size": options.size,
        "pictures": len(index),
        "held_out": sum(entry["split"] == "held-out" for entry in index),
        "foregrounds": sum(entry["kind"] == "foreground" for entry in index),
        "backgrounds": sum(entry["kind"] == "background" for entry in index),
    }
    (out / "dataset.json").write_text(json.dumps(totals, indent=1), encoding="utf-8")
    on_step(len(by_shard), len(by_shard))
    return out
