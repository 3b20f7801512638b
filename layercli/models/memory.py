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


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a family counts for memory, in numbers.

    layer: of its largest layer; frame: alive at once in the UNet, for each pixel of each frame; picture:
    alive at once in the autoencoder, for each pixel; wide_vae: whether that computes in float32 anyway.
    """

    parts: tuple[str, ...]
    layer: int
    frame: int
    picture: int = 768
    wide_vae: bool = False


SHAPES = {
    "sd15": Shape(parts=("sd15.unet", "sd15.vae", "sd15.text_encoder"), layer=29_492_480, frame=130),
    "sdxl": Shape(
        parts=("sdxl.unet", "sdxl.vae", "sdxl.text_encoder", "sdxl.text_encoder_2"),
        layer=29_492_480,
        frame=80,
        wide_vae=True,
    ),
}


def need(family: str, *, bytes_each: int, offload: str, size: Size, frames: int) -> int:
    """Bytes on the device for a picture: weights, and work on so many frames of this size at once."""
    shape = SHAPES[family]
    pixels = size.width * size.height
    sizes = {
        part: STRUCTURES[part].parameters * (4 if shape.wide_vae and part.endswith(".vae") else bytes_each)
        for part in shape.parts
    }
    vae_bytes = 4 if shape.wide_vae else bytes_each
    drawing = int(SLACK * shape.frame * bytes_each * pixels * frames)
    decoding = int(SLACK * shape.picture * vae_bytes * pixels)
    if offload == "sequential":
        return shape.layer * 4 + max(drawing, decoding)
    unet, vae, *texts = (sizes[part] for part in shape.parts)
    if offload == "model":
        return max(unet + drawing, vae + decoding, *texts)
    return sum(sizes.values()) + max(drawing, decoding)
