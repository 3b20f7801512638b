"""A corpus of a few drawn pictures in the real layout: manifest.jsonl and tar shards of WebP."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from PIL import Image, ImageDraw

NOUNS = ("cat", "sofa", "ball", "lantern")


def _object(noun: str, view: int) -> Image.Image:
    picture = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(picture)
    hue = (40 * NOUNS.index(noun) + 60, 90, 30 * view + 60, 255)
    if noun == "ball":
        draw.ellipse((14, 14, 50, 50), fill=hue)
    else:
        draw.rectangle((10 + 2 * view, 16, 52, 58), fill=hue)
    return picture


def _scene(i: int) -> Image.Image:
    picture = Image.linear_gradient("L").resize((128, 80)).convert("RGB")
    ImageDraw.Draw(picture).rectangle((0, 60, 128, 80), fill=(90 + 20 * i, 140, 60))
    return picture


def make_corpus(folder: Path, views: int = 4) -> Path:
    """Write the corpus and return its folder: 4 nouns x views objects, 3 scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = []
    shards: dict[str, list[tuple[str, Image.Image]]] = {"objects.tar": [], "scenes.tar": []}
    for noun in NOUNS:
        for view in range(views):
            member = f"fg/{noun}-{view}.webp"
            shards["objects.tar"].append((member, _object(noun, view)))
            manifest.append(
                {
                    "shard": "objects.tar",
                    "member": member,
                    "caption": f"a {noun}",
                    "kind": "fg",
                    "style": "3D render (textured)" if noun == "sofa" else "flat vector (Test)",
                    "source": "test",
                    "licence": "CC0-1.0",
                    **({"model": f"{noun}-model", "view": view} if noun == "sofa" else {}),
                }
            )
    for i in range(3):
        member = f"bg/scene-{i}.webp"
        shards["scenes.tar"].append((member, _scene(i)))
        manifest.append(
            {
                "shard": "scenes.tar",
                "member": member,
                "caption": "a meadow",
                "kind": "bg",
                "style": "photo",
                "source": "test",
                "licence": "CC0-1.0",
            }
        )
    for shard, members in shards.items():
        with tarfile.open(folder / shard, "w") as tar:
            for name, picture in members:
                data = io.BytesIO()
                picture.save(data, "WEBP", lossless=True)
                info = tarfile.TarInfo(name)
                info.size = data.tell()
                data.seek(0)
                tar.addfile(info, data)
    (folder / "manifest.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in manifest), encoding="utf-8"
    )
    return folder
