"""How much memory a picture needs, by arithmetic on the architecture, before anything is loaded.

The numbers that are alive at once were counted on torch's meta device, for the published shapes. What
libraries take beside them (workspaces of convolutions, gaps between blocks) is taken to be as much again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from layercli.core.geometry import Size
from layercli.models.structures import STRUCTURES

SLACK = 2.0
"""What is taken for work, in units of what is counted."""

SHRUNK = {"nf4": 0.6, "int8": 1.1, "torchao": 1.1}
"""Bytes of a weight that is stored in fewer bits, with its share of scales and of what is left as it was."""
SHRUNK_PARTS = ("transformer", "text_encoder")
"""The parts of a model whose weights are stored so."""


CANVAS = 48
"""Bytes of main memory for each pixel of a canvas: a layer as four numbers, and two copies in the making."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to make something: what is typed for it, "" for as it was asked for, and what it needs.

    bytes: on the device; weights: bytes of those, or beside those, that pass through main memory.
    """

    words: str
    bytes: int
    weights: int = 0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a model counts for memory, in numbers; those of its family where it is as published.

    parts: rows of models.structures, the network and the autoencoder first; native: the side it is made for,
    in pixels; layer: of its largest layer; frame: alive at once in the network, for each pixel of each frame;
    picture: alive at once in the autoencoder, for each pixel; wide_vae: whether that computes in float32
    anyway; width, vae_width: of the features next to their inputs; counts: parameters of parts that have
    others than were published.
    """

    parts: tuple[str, ...]
    native: int
    layer: int
    frame: float
    picture: float = 768
    wide_vae: bool = False
    width: int = 320
    vae_width: int = 128
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Of all parts together."""
        return sum(self.counts.get(part, STRUCTURES[part].parameters) for part in self.parts)

    def numbers(self, name: str) -> int:
        """Parameters of a part, by the last of its name."""
        part = next(part for part in self.parts if part.partition(".")[2] == name)
        return self.counts.get(part, STRUCTURES[part].parameters)

    def stored(self, bytes_each: int, fewer: Mapping[str, float] = MappingProxyType({})) -> dict[str, int]:
        """Bytes of each part's weights; fewer: of one, in parts stored in fewer bits, by their last name."""
        plain = {"vae": 4} if self.wide_vae else {}
        names = {part: part.partition(".")[2] for part in self.parts}
        each = dict.fromkeys(names.values(), bytes_each) | plain | dict(fewer)
        return {part: int(self.numbers(name) * each[name]) for part, name in names.items()}


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
        width=3072,
        vae_width=96,
    ),
}


def need(shape: Shape, *, bytes_each: int, offload: str, size: Size, frames: int) -> int:
    """Bytes on the device for a picture: weights, and work on so many frames at once; size: of the canvas."""
    pixels = drawn_pixels(shape, size)
    return need_of(shape, bytes_each=bytes_each, offload=offload, pixels=pixels, frames=frames)


def need_of(
    shape: Shape,
    *,
    bytes_each: int,
    offload: str,
    pixels: int,
    frames: int,
    fewer: Mapping[str, float] = MappingProxyType({}),
) -> int:
    """The same for so many pixels that are drawn; fewer: as in Shape.stored."""
    sizes = shape.stored(bytes_each, fewer)
    vae_bytes = 4 if shape.wide_vae else bytes_each
    drawing = int(SLACK * shape.frame * bytes_each * pixels * frames)
    decoding = int(SLACK * shape.picture * vae_bytes * pixels)
    if offload == "sequential":
        return shape.layer * 4 + max(drawing, decoding)
    unet, vae, *texts = sizes.values()
    if offload == "model":
        return max(unet + drawing, vae + decoding, *texts)
    return sum(sizes.values()) + max(drawing, decoding)


def canvas_bytes(canvas: Size) -> int:
    """Bytes that one layer takes at least which fills a canvas, however small it was drawn."""
    return CANVAS * canvas.width * canvas.height


def canvas_within(canvas: Size, memory: int) -> Size:
    """The largest canvas of about the same shape that takes half of so many bytes, in steps of 64 pixels."""
    scale = (memory / 2 / canvas_bytes(canvas)) ** 0.5
    width, height = (max(64, int(side * scale) // 64 * 64) for side in (canvas.width, canvas.height))
    return Size(width, height)


def drawn_pixels(shape: Shape, canvas: Size) -> int:
    """Pixels that are drawn for a canvas: its own, or those of the native area where it is far from that."""
    native = shape.native**2
    own = canvas.width * canvas.height
    return own if 0.5 <= own / native <= 2.25 else native


def smaller(shape: Shape, canvas: Size) -> Size | None:
    """The canvas' shape at little more than half the native area, the least that is drawn; None if it is."""
    native = shape.native**2
    scale = (0.5625 * native / (canvas.width * canvas.height)) ** 0.5
    width, height = (max(64, round(side * scale / 64) * 64) for side in (canvas.width, canvas.height))
    size = Size(width, height)
    return size if drawn_pixels(shape, size) < drawn_pixels(shape, canvas) else None
