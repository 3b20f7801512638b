"""A picture of the corpus, and how objects and scenes are framed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

OBJECT_SIDE = 256
OBJECT_MARGIN = 6
SCENE_SIDE = 320
# Below this, a pixel is the faint end of a blurred shadow: it must not decide where an object ends.
FAINT = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One picture with what the manifest says about it.

    image: an object, RGBA on transparency, or a scene, RGB. number: its place in the source, which becomes
    part of its file name. name: what the file is called; the caption without its article.
    """

    image: Image.Image
    number: int
    name: str
    caption: str
    style: str
    source: str
    licence: str
    tags: tuple[str, ...] = ()
    group: str = ""
    model: str = ""
    view: int | None = None
    orig: str = ""

    @property
    def kind(self) -> str:
        """`fg` for an object, `bg` for a scene."""
        return "fg" if self.image.mode == "RGBA" else "bg"


def solid_box(image: Image.Image, least: int = FAINT) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom around the pixels with alpha > least; None if there are none."""
    rows, columns = np.nonzero(np.asarray(image.getchannel("A")) > least)
    if not rows.size:
        return None
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def coverage(image: Image.Image) -> float:
    """How much of its own box an object fills, 0 to 1: near 1 for a picture with a background of its own."""
    box = solid_box(image)
    if box is None:
        return 0.0
    return float((np.asarray(image.crop(box).getchannel("A")) > FAINT).mean())


def framed_object(image: Image.Image) -> Image.Image | None:
    """The object of an RGBA image, cropped, scaled and centred in 256 × 256 pixels; None if there is none."""
    box = solid_box(image)
    if box is None:
        return None
    cropped = image.crop(box)
    scale = (OBJECT_SIDE - 2 * OBJECT_MARGIN) / max(cropped.size)
    size = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    fitted = cropped.resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (OBJECT_SIDE, OBJECT_SIDE))
    canvas.paste(fitted, ((OBJECT_SIDE - size[0]) // 2, (OBJECT_SIDE - size[1]) // 2))
    return canvas


def framed_scene(image: Image.Image, widest: float = 2.0) -> Image.Image:
    """A scene scaled to a short side of 320 pixels; what is wider than `widest` : 1 loses both ends."""
    left = max(0.0, (image.width - widest * image.height) / 2)
    top = max(0.0, (image.height - widest * image.width) / 2)
    box = (left, top, image.width - left, image.height - top)
    scale = SCENE_SIDE / min(box[2] - box[0], box[3] - box[1])
    size = (round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=box)


def inner_scene(image: Image.Image, inset: float = 0.08) -> Image.Image:
    """The scene inside an RGBA tile with rounded corners: the tile without 8 % at each edge."""
    left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, *image.size)
    dx, dy = inset * (right - left), inset * (bottom - top)
    return framed_scene(image.crop((int(left + dx), int(top + dy), int(right - dx), int(bottom - dy))))
