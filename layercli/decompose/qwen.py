"""Let Qwen-Image-Layered draw the layers of a photo, and solve their colours so that they are the photo.

arXiv 2512.15603. The model draws small layers with alpha of their own; they are brought to the photo's size
along its edges. What they show is a guess; unless asked not to, the 8-bit colours are then solved.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer, LayerStack
from layercli.decompose._exact import cleared
from layercli.decompose._stack import solved_from
from layercli.vision.grids import resized, window_around
from layercli.vision.matting import enlarged_alpha

if TYPE_CHECKING:
    import torch

    from layercli.models.memory import Way
    from layercli.models.qwen import Asked, QwenLayered

ALONE: bool = True
"""One photo at a time: the model fills a device."""
LAYERS, MOST = 4, 20
"""Drawn where no number is asked for, as in the paper's examples, and the most that it was trained on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """model: its row of the table, or a folder; prompt: the photo in words (without, the model describes it
    itself, in english or chinese words); negative, steps, guidance, normalize (guidance keeps predictions as
    long as they were), resolution: of drawing. exact: colours are solved so that the layers are the photo;
    no keeps the model's own. least: alpha below which nothing is kept, and as much below 1 all is.
    device, dtype, offload: as in generate. quantize: weights in fewer bits, nf4 and int8 by bitsandbytes,
    torchao by torchao; gguf: a file with the transformer.
    """

    model: str = "qwen-image-layered"
    prompt: str = ""
    words: Literal["english", "chinese"] = "english"
    negative: str = ""
    steps: int = 50
    guidance: float = 4.0
    normalize: bool = True
    resolution: Literal[640, 1024] = 640
    exact: bool = True
    least: float = 0.02
    device: str = "auto"
    dtype: str = "auto"
    offload: Literal["none", "model", "sequential"] = "none"
    quantize: Literal["none", "nf4", "int8", "torchao"] = "none"
    gguf: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise LayercliError(f"steps={self.steps} is not from 1 to 1000.", "Try: -O steps=50")
        if not 0 <= self.guidance <= 100:
            raise LayercliError(f"guidance={self.guidance:g} is not from 0 to 100.", "Try: -O guidance=4")
        if not 0 <= self.least < 0.5:
            raise LayercliError(f"least={self.least:g} is not from 0 to 0.5.", "Try: -O least=0.02")


def check(request: DecomposeRequest) -> None:
    """Raise LayercliError for what the model cannot be told: places, and more layers than it knows."""
    if request.objects:
        raise LayercliError(
            f'qwen finds layers by itself, and cannot be told of "{request.objects[0]}".',
            "Leave the places out, say what the photo shows with -O prompt=…, or take --method matte.",
        )
    if request.layers > MOST:
        raise LayercliError(f"qwen draws {MOST} layers at most.", f"Try: --layers {MOST}")


@functools.lru_cache(maxsize=1)
def opened(options: Options) -> QwenLayered:
    """The model of some options; the last one is kept for the next photo."""
    from layercli.models.qwen import load_qwen

    return load_qwen(
        options.model,
        options.device,
        options.dtype,
        options.offload,
        options.quantize,
        options.gguf,
    )


def ways(request: DecomposeRequest, options: Options, photo: Size, device: torch.device) -> list[Way]:
    """Bytes that a photo needs as it is asked for, and then with the gentlest changes that need less."""
    from layercli.models.memory import SHAPES, SHRUNK, SHRUNK_PARTS, Way, need_of
    from layercli.models.own_shape import shape_of
    from layercli.models.qwen import drawn_size

    shape, published = shape_of(options.model), SHAPES["qwen"]
    if shape is None or shape.parts != published.parts:
        shape = published  # that there is no such model is told when it is opened

    file = Path(options.gguf).expanduser()
    read = file.stat().st_size / shape.numbers("transformer") if options.gguf and file.is_file() else 0.0

    def way(words: str, offload: str, quantize: str, resolution: int = options.resolution) -> Way:
        drawn = drawn_size(photo, resolution)
        wide = options.dtype == "float32" or (options.dtype == "auto" and device.type == "cpu")
        each = 4 if wide else 2
        fewer = {"transformer": read} if read else dict.fromkeys(SHRUNK_PARTS, SHRUNK.get(quantize, each))
        bytes_needed = need_of(
            shape,
            bytes_each=each,
            offload=offload if device.type == "cuda" else "none",
            pixels=drawn.width * drawn.height,
            frames=(request.layers or LAYERS) + 2,  # those drawn, the whole, and the photo they are drawn to
            fewer=fewer,
        )
        return Way(words=words, bytes=bytes_needed, weights=sum(shape.stored(each, fewer).values()))

    found = [way("", options.offload, options.quantize)]
    if options.resolution == 1024:
        found.append(way("-O resolution=640", options.offload, options.quantize, 640))
    plain = options.quantize == "none" and not options.gguf
    if device.type != "cuda":  # offloaded weights lie in the same memory
        return (
            [*found, way("-O quantize=torchao", "none", "torchao")]
            if plain and device.type == "mps"
            else found
        )
    if options.offload == "none":
        found.append(way("--offload model", "model", options.quantize))
    if plain and options.offload != "sequential":
        found.append(way("--offload model -O quantize=nf4", "model", "nf4"))
        found.append(way("--offload sequential", "sequential", "none"))
    return found


def notes(request: DecomposeRequest, options: Options, photo: Size) -> list[str]:
    """What will be done, for a person who waits."""
    from layercli.models.qwen import drawn_size

    drawn = drawn_size(photo, options.resolution)
    number = request.layers or LAYERS
    then = "colours are then solved so that they are the photo" if options.exact else "kept as they are drawn"
    told = [f"{number} layers are drawn at {drawn} and brought to {photo} along the photo's edges; {then}."]
    if not options.prompt.strip():
        told.append("The model describes the photo to itself first; -O prompt=… says it for it.")
    return told


def seconds(request: DecomposeRequest, options: Options, photo: np.ndarray) -> float | None:
    """How long drawing takes, measured on two steps; None where that would be much of the whole."""
    return opened(options).seconds(photo, _asked(request, options)) if options.steps >= 20 else None


def decompose(
    request: DecomposeRequest,
    photo: np.ndarray,
    options: Options,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LayerStack:
    """Take a photo apart into as many layers as are asked for: photo (H, W, 3) float32 in [0, 1], in levels.

    Raises LayercliError for a model that is not there, and where nothing but a background came out.
    """
    check(request)
    drawn = opened(options).layers_of(photo, _asked(request, options), on_step)
    small = resized(photo, *drawn.shape[1:3])
    layers = [brought_to(photo, small, rgba, options.least) for rgba in drawn]
    names = [f"layer {number}" for number in range(1, len(layers))]
    stack = solved_from(photo, names, layers) if options.exact else _as_drawn(layers, names)
    if stack is None:
        raise LayercliError(
            f"All layers of {request.photo} but its background came out empty.",
            f"Try: --seed {request.seed + 1}, or -O prompt=…",
        )
    return stack


def brought_to(photo: np.ndarray, small: np.ndarray, rgba: np.ndarray, least: float) -> np.ndarray:
    """A layer (h, w, 4) at the photo's size (H, W, 4), straight alpha; small: the photo (h, w, 3).

    Colours are enlarged by how much they show; alpha follows the photo's edges.
    """
    height, width = photo.shape[:2]
    alpha = np.clip((rgba[..., 3] - least) / (1 - 2 * least), 0, 1)
    weight = np.maximum(alpha, np.float32(1e-3))[..., None]  # also where nothing shows
    colour = resized(rgba[..., :3] * weight, height, width) / resized(weight, height, width)
    fine = cleared(enlarged_alpha(alpha, small, photo))
    return np.concatenate([np.clip(colour, 0, 1), fine[..., None]], axis=-1).astype(np.float32)


def _asked(request: DecomposeRequest, options: Options) -> Asked:
    from layercli.models.qwen import Asked

    return Asked(
        layers=request.layers or LAYERS,
        prompt=options.prompt,
        english=options.words == "english",
        negative=options.negative,
        steps=options.steps,
        guidance=options.guidance,
        normalize=options.normalize,
        resolution=options.resolution,
        seed=request.seed,
    )


def _as_drawn(drawn: list[np.ndarray], names: list[str]) -> LayerStack | None:
    """The model's own layers, each cut to what shows of it; None where nothing but the first does."""
    layers = [Layer(name="background", rgba=drawn[0])]
    for name, rgba in zip(names, drawn[1:], strict=True):
        if rgba[..., 3].any():
            rows, columns = window_around(rgba[..., 3] > 0, 0)
            offset = Offset(int(columns.start), int(rows.start))
            layers.append(Layer(name=name, rgba=rgba[rows, columns].copy(), offset=offset))
    height, width = drawn[0].shape[:2]
    return LayerStack(canvas=Size(width, height), layers=tuple(layers)) if layers[1:] else None
