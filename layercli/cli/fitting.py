"""Whether a picture fits into memory: said before the run, and with what would fit when it did not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from layercli.cli.sentences import is_out_of_memory
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.requests import GenerateRequest
from layercli.models.memory import Shape, Way, canvas_bytes, canvas_within, need, smaller
from layercli.models.own_shape import shape_of

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a run needs, beside what there is.

    model: its name; device: of torch; free: bytes there, before the model is loaded; ways: the one asked for,
    then others, the gentlest change first, none where the model is too small to ask; canvas: what the
    picture takes in main memory at the least, whatever draws it; otherwise: what to type where none of the
    ways fits.
    """

    model: str
    device: Any
    free: int
    ways: Sequence[Way]
    otherwise: str
    canvas: int = 0

    def what_fits(self) -> str:
        """The gentlest change by which it fits, as the option to type."""
        fitting = (way.words for way in self.ways[1:] if way.bytes <= self.free)
        return next((f"Try: {words}" for words in fitting), self.otherwise)

    def doubt(self) -> str:
        """What a person should know before a run that may not fit; "" where it should."""
        if self.ways and self.ways[0].bytes > self.free:
            return (
                f"{self.model} needs about {self.ways[0].bytes / GIB:.1f} GiB for this picture, and "
                f"{self.free / GIB:.1f} GiB are free on {self.device}. {self.what_fits()}"
            )
        if self.device.type != "cuda" and self.canvas > max(self.free, GIB):
            return (
                f"A canvas of this size needs about {self.canvas / GIB:.1f} GiB, and "
                f"{self.free / GIB:.1f} GiB are free. {self.otherwise}"
            )
        weights = self.ways[0].weights if self.ways and self.device.type == "cuda" else 0
        if weights > (main := main_memory()):
            return (
                f"The weights of {self.model}, {weights / GIB:.1f} GiB, pass through main memory, where "
                f"{main / GIB:.1f} GiB are free. Close other programs, or the system may end this one."
            )
        return ""

    @contextmanager
    def told_when_full(self) -> Iterator[None]:
        """Turn what torch raises when memory runs out into a LayercliError that names what would fit."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise LayercliError(
                f"There is not enough memory on {self.device} for this picture: "
                f"{self.free / GIB:.1f} GiB were free.",
                self.what_fits(),
            ) from error


def fit_of(request: GenerateRequest, device: Any, free: int, *, resizable: bool = True) -> Fit:
    """What a picture needs, and what would need less; resizable: whether it may have another size."""
    canvas = canvas_bytes(request.size)
    otherwise = "Try fewer foregrounds, or a smaller model: layercli models"
    if device.type in ("cuda", "mps"):
        otherwise = "Try: --device cpu"
    if resizable and device.type != "cuda" and canvas > max(free // 4, GIB):
        otherwise = f"Try: --size {canvas_within(request.size, free)}"
    shape = shape_of(request.model)
    return Fit(
        model=request.model,
        device=device,
        free=free,
        ways=[way for way in _ways(shape, request, device) if resizable or "--size" not in way.words],
        otherwise=otherwise,
        canvas=canvas,
    )


def check_canvas(size: Size) -> None:
    """Refuse a canvas that no layer of would fit into the memory of this machine, however it is drawn."""
    import psutil

    there = int(psutil.virtual_memory().total)
    if canvas_bytes(size) > there:
        raise LayercliError(
            f"A picture of {size} needs about {canvas_bytes(size) / GIB:.0f} GiB of memory, and this machine "
            f"has {there / GIB:.0f} GiB.",
            f"Try: --size {canvas_within(size, there)}",
        )


def needed(shape: Shape, request: GenerateRequest, device: Any) -> int:
    """Bytes that a picture needs on a torch device; shape: of its model."""
    frames = 1 if request.alone else len(request.foregrounds) + 2
    return need(
        shape,
        bytes_each=_bytes_each(request, device),
        offload=request.offload if device.type == "cuda" else "none",
        size=request.size,
        frames=frames * (1 if request.guidance == 1 else 2),
    )


def _is_half(request: GenerateRequest, device: Any) -> bool:
    return request.dtype in ("float16", "bfloat16") or (request.dtype == "auto" and device.type == "cuda")


def _bytes_each(request: GenerateRequest, device: Any) -> int:
    return 2 if _is_half(request, device) else 4


def free_on(device: Any) -> int:
    """Bytes that are free on a torch device; the GPU of a Mac shares the machine's memory."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return main_memory()


def main_memory() -> int:
    """Bytes of main memory that are free."""
    import psutil

    return int(psutil.virtual_memory().available)


def _ways(shape: Shape | None, request: GenerateRequest, device: Any) -> list[Way]:
    if shape is None:
        return []
    gpu = device.type in ("cuda", "mps")
    asked = [request]
    if gpu and not _is_half(request, device):
        asked.append(request.replace(dtype="float16"))
    if device.type == "cuda":  # a Mac's GPU shares the machine's memory: what leaves it is still there
        levels = ("none", "model", "sequential")
        asked += [asked[-1].replace(offload=how) for how in levels[levels.index(request.offload) + 1 :]]
    if (size := smaller(shape, request.size)) is not None:
        asked.append(asked[-1].replace(size=size))
    return [
        Way(
            words=_flags(request, change),
            bytes=needed(shape, change, device),
            weights=sum(shape.stored(_bytes_each(change, device)).values()),
        )
        for change in asked
    ]


def _flags(before: GenerateRequest, after: GenerateRequest) -> str:
    changed = [
        (name, getattr(after, name))
        for name in ("dtype", "offload", "size")
        if getattr(after, name) != getattr(before, name)
    ]
    return " ".join(f"--{name} {value}" for name, value in changed)
