"""How much memory a picture needs, by arithmetic on the architecture, before anything is loaded.

The numbers that are alive at once were counted on torch's meta device, for the published shapes. What
libraries take beside them (workspaces of convolutions, gaps between blocks) is taken to be as much again.
"""

from __future__ import annotations

from dataclasses import dataclass

from layercli.core.geometry import Size
from layercli.models.structures import STRUCTURES

SLACK = 2.0
"""What is taken for work, in units of what is counted."""

SHRUNK = {"nf4": 0.6, "int8": 1.1, "torchao": 1.1}
"""Bytes of a weight that is stored in fewer bits, with its share of scales and of what is left as it was."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to make something: what is typed for it, "" for as it was asked for, and the bytes it needs."""

    words: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a family counts for memory, in numbers.

    native: the side it is made for, in pixels; layer: of its largest layer; frame: alive at once in the UNet,
    for each pixel of each frame; picture: alive at once in the autoencoder, for each pixel; wide_vae: whether
    that computes in float32 anyway.
    """

    parts: tuple[str, ...]
    native: int
    layer: int
    frame: int
    picture: int = 768
    wide_vae: bool = False


_SDXL = ("sdxl.unet", "sdxl.vae", "sdxl.text_encoder", "sdxl.text_encoder_2")

SHAPES = {
    "sd15": Shape(
        parts=("sd15.unet", "sd15.vae", "sd15.text_encoder"), native=512, layer=29_492_480, frame=130
    ),
    "sdxl": Shape(parts=_SDXL, native=1024, layer=29_492_480, frame=80, wide_vae=True),
    "layerdiffuse": Shape(
        # the second UNet shares all but its attention with the first
        parts=(*_SDXL, "layerdiffuse.diffusers_sdxl_attn", "layerdiffuse.decoder", "layerdiffuse.encoder"),
        native=1024,
        layer=29_492_480,
        frame=80,
        wide_vae=True,
    ),
    "qwen": Shape(
        parts=("qwen.transformer", "qwen.vae", "qwen.text_encoder"),
        native=640,
        layer=544_997_376,
        frame=185,
        picture=1738,
    ),
}


def need(family: str, *, bytes_each: int, offload: str, size: Size, frames: int) -> int:
    """Bytes on the device for a picture: weights, and work on so many frames at once; size: of the canvas."""
    return need_of(
        family, bytes_each=bytes_each, offload=offload, pixels=drawn_pixels(family, size), frames=frames
    )


def need_of(
    family: str, *, bytes_each: int, offload: str, pixels: int, frames: int, weight: float = 0.0
) -> int:
    """The same for so many pixels that are drawn; weight: bytes of one in large networks, where fewer."""
    shape = SHAPES[family]

    def stored(part: str) -> float:
        if part.endswith(".vae"):
            return 4 if shape.wide_vae else bytes_each
        return weight or bytes_each

    sizes = {part: int(STRUCTURES[part].parameters * stored(part)) for part in shape.parts}
    vae_bytes = 4 if shape.wide_vae else bytes_each
    drawing = int(SLACK * shape.frame * bytes_each * pixels * frames)
    decoding = int(SLACK * shape.picture * vae_bytes * pixels)
    if offload == "sequential":
        return shape.layer * 4 + max(drawing, decoding)
    unet, vae, *texts = (sizes[part] for part in shape.parts)
    if offload == "model":
        return max(unet + drawing, vae + decoding, *texts)
    return sum(sizes.values()) + max(drawing, decoding)


def drawn_pixels(family: str, canvas: Size) -> int:
    """Pixels that are drawn for a canvas: its own, or those of the native area where it is far from that."""
    native = SHAPES[family].native ** 2
    own = canvas.width * canvas.height
    return own if 0.5 <= own / native <= 2.25 else native


def smaller(family: str, canvas: Size) -> Size | None:
    """The canvas' shape at little more than half the native area, the least that is drawn; None if it is."""
    native = SHAPES[family].native ** 2
    scale = (0.5625 * native / (canvas.width * canvas.height)) ** 0.5
    width, height = (max(64, round(side * scale / 64) * 64) for side in (canvas.width, canvas.height))
    size = Size(width, height)
    return size if drawn_pixels(family, size) < drawn_pixels(family, canvas) else None
