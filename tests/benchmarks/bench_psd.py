"""Time writing a PSD of four layers against packbits alone and against psd-tools' own save().

Run: python tests/benchmarks/bench_psd.py [SIDE …]   (default 1024 4096)

Packbits and ours are measured in turns in one process, 10 to 40 of them, and the best turn of each counts.
"Packbits" packs the rows of the very planes that our file holds, and does nothing else. Ours starts from
float layers: quantising, trimming, bleeding, flattening, the thumbnail and the file are all in it. psd-tools
gets the same layers, quantised and trimmed already, once. Files go to memory (/dev/shm) where there is one,
not to a disk.

The layers are photographs with grain, in which packbits finds nothing to save. "smooth" tells the same for
pictures without grain, where all of ours is packed by the same codec.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from psd_tools import PSDImage
from psd_tools.compression import rle_impl

from layercli.core.layers import Layer, LayerStack, Size
from layercli.formats import psd
from layercli.formats._psd_plan import Document, plan
from layercli.formats._psd_records import BLENDS

AIM = 1.5


def photo(side: int, seed: int, grain: float) -> np.ndarray:
    """Smooth shapes with fine grain, as photographs have: (side, side, 3) float32."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(3):
        coarse = Image.fromarray(rng.random((24, 24), dtype=np.float32))
        planes.append(np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)))
    noise = rng.normal(0, grain, (side, side, 1)).astype(np.float32) if grain else np.float32(0)
    return np.clip(np.stack(planes, axis=-1) + noise, 0, 1)


def four_layers(side: int, grain: float = 0.006) -> LayerStack:
    """An opaque background, two soft objects and a shadow, each given as a picture of the whole canvas."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side

    def disc(cx: float, cy: float, radius: float, soft: float) -> np.ndarray:
        return np.clip((radius - np.hypot(x - cx, y - cy)) / soft, 0, 1)[..., None]

    def layer(name: str, rgb: np.ndarray, alpha: np.ndarray, blend: str = "normal") -> Layer:
        return Layer(name=name, rgba=np.concatenate([rgb, alpha], axis=-1), blend=blend)

    return LayerStack(
        canvas=Size(side, side),
        layers=(
            layer("background", photo(side, 0, grain), np.ones((side, side, 1), dtype=np.float32)),
            layer("cat", photo(side, 1, grain), disc(0.4, 0.5, 0.32, 0.02)),
            layer("ball", photo(side, 2, grain), disc(0.72, 0.7, 0.2, 0.02)),
            layer("shadows", photo(side, 3, grain), disc(0.5, 0.75, 0.4, 0.3), "multiply"),
        ),
    )


def pack(document: Document) -> int:
    """Packbits over every plane of a file, and nothing else; returns the bytes."""
    planes = [*document.merged]
    for record in document.records:
        if record.pixels is not None:
            planes.extend(record.pixels.planes)
    return sum(len(rle_impl.encode(row)) for plane in planes for row in plane)


def save_with_psd_tools(document: Document, path: Path) -> None:
    """The same layers through psd-tools' own document, which renders the merged picture itself."""
    image = PSDImage.new("RGB", (document.width, document.height))
    for record in document.records:
        if record.pixels is not None:
            pixels = record.pixels
            image.create_pixel_layer_from_array(
                np.moveaxis(pixels.planes, 0, -1),
                top=pixels.top,
                left=pixels.left,
                opacity=pixels.opacity,
                blend_mode=BLENDS[pixels.blend],
            )
    image.save(path)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(side: int, kind: str, folder: Path) -> float:
    """Print one line for one size; returns ours as a multiple of packbits."""
    stack = four_layers(side, grain=0.006 if kind == "photo" else 0.0)
    document = plan(stack, psd.Options())
    ours, packbits = [], []
    for _ in range(max(5, 40960 // side)):
        packbits.append(seconds(lambda: pack(document)))
        ours.append(seconds(lambda: psd.write(stack, folder / "ours.psd")))
    theirs = seconds(lambda: save_with_psd_tools(document, folder / "theirs.psd"))
    ratio = min(ours) / min(packbits)
    theirs_ratio = theirs / min(packbits)
    size = (folder / "ours.psd").stat().st_size / 1e6
    print(
        f"{kind:6s} {side:5d} px, 4 layers, {size:6.1f} MB: packbits alone {min(packbits):7.3f} s, "
        f"ours {min(ours):7.3f} s = {ratio:.2f}x, psd-tools save() {theirs:7.3f} s = {theirs_ratio:.2f}x"
    )
    return ratio


def main() -> int:
    sides = [int(text) for text in sys.argv[1:]] or [1024, 4096]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        worst = max(measure(side, "photo", Path(folder)) for side in sides)
        for side in sides:
            measure(side, "smooth", Path(folder))
    print(f"photo: ours is at most {worst:.2f}x packbits; the aim is {AIM}x")
    return 0 if worst <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
