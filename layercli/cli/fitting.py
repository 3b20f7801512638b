"""Whether a picture fits into memory: said before the run, and with what would fit when it did not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layercli.cli.sentences import is_out_of_memory
from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest
from layercli.models.catalog import MODELS, family_of
from layercli.models.memory import SHAPES, need, smaller

GIB = 2**30


def needed(request: GenerateRequest, device: Any) -> int | None:
    """Bytes that a picture needs on a torch device; None where the model is too small to ask."""
    family = _family(request.model)
    if family not in SHAPES:
        return None
    frames = len(request.foregrounds) + 2
    return need(
        family,
        bytes_each=2 if _is_half(request, device) else 4,
        offload=request.offload,
        size=request.size,
        frames=frames * (1 if request.guidance == 1 else 2),
    )


def _is_half(request: GenerateRequest, device: Any) -> bool:
    return request.dtype in ("float16", "bfloat16") or (request.dtype == "auto" and device.type == "cuda")


def _family(model: str) -> str:
    path = Path(model).expanduser()
    try:
        family = MODELS[model].family if model in MODELS else family_of(path) if path.exists() else ""
    except LayercliError:  # what is wrong with it is said when it is opened
        return ""
    return family.partition(":")[0]


def free_on(device: Any) -> int:
    """Bytes that are free on a torch device; the GPU of a Mac shares the machine's memory."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def what_fits(request: GenerateRequest, device: Any, free: int) -> str:
    """The gentlest change by which a picture fits into so many bytes, as the option to type."""
    gpu, family = device.type in ("cuda", "mps"), _family(request.model)
    asked = [request]
    if gpu and not _is_half(request, device):
        asked.append(request.replace(dtype="float16"))
    if gpu:
        levels = ("none", "model", "sequential")
        asked += [asked[-1].replace(offload=how) for how in levels[levels.index(request.offload) + 1 :]]
    if family in SHAPES and (size := smaller(family, request.size)) is not None:
        asked.append(asked[-1].replace(size=size))
    for change in asked[1:]:
        bytes_needed = needed(change, device)
        if bytes_needed is not None and bytes_needed <= free:
            return f"Try: {_flags(request, change)}"
    return "Try: --device cpu" if gpu else "Try fewer foregrounds, or a smaller model: layercli models"


def _flags(before: GenerateRequest, after: GenerateRequest) -> str:
    changed = [
        (name, getattr(after, name))
        for name in ("dtype", "offload", "size")
        if getattr(after, name) != getattr(before, name)
    ]
    return " ".join(f"--{name} {value}" for name, value in changed)


def doubt(request: GenerateRequest, device: Any, free: int) -> str:
    """What a person should know before a run that may not fit; "" where it should."""
    wanted = needed(request, device)
    if wanted is None or wanted <= free:
        return ""
    return (
        f"{request.model} needs about {wanted / GIB:.1f} GiB for this picture, and {free / GIB:.1f} GiB are "
        f"free on {device}. {what_fits(request, device, free)}"
    )


@contextmanager
def told_when_full(request: GenerateRequest, device: Any, free: int) -> Iterator[None]:
    """Turn what torch raises when memory runs out into a LayercliError that names what would fit.

    free: bytes that were free before the model was loaded.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise LayercliError(
            f"There is not enough memory on {device} for this picture: {free / GIB:.1f} GiB were free.",
            what_fits(request, device, free),
        ) from error
