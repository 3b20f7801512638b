"""Photos taken apart by a model: whether it fits is said, then it is opened, and what it will do is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from layercli.cli.output import Output
from layercli.core.decompose_request import DecomposeRequest
from layercli.core.geometry import Size
from layercli.core.requests import GenerateRequest

if TYPE_CHECKING:
    import numpy as np

    from layercli.cli.fitting import Fit


@contextmanager
def model_of(
    talk: Output, method: ModuleType, request: DecomposeRequest, options: Any, photo: np.ndarray
) -> Iterator[Any]:
    """The model of a method that has one, ready to work on a photo (H, W, 3); None for one that has none.

    What runs out of memory in the body is told with what would fit.
    """
    if not hasattr(method, "opened"):
        yield None
        return
    from layercli.models.family import resolve_device

    device, size = resolve_device(options.device), Size(photo.shape[1], photo.shape[0])
    fit = _fit(method, request, options, size, device)
    first = method.opened.cache_info().currsize == 0
    if first and (unsure := fit.doubt()):
        talk.warn(unsure)
    with fit.told_when_full():
        if first:
            talk.say(f"Loading {options.model}…")
        model = method.opened(options)
        for note in method.notes(request, options, size) if hasattr(method, "notes") else ():
            talk.say(note)
        seconds = method.seconds(request, options, photo) if hasattr(method, "seconds") else None
        if seconds is not None:
            from layercli.cli.estimate import Estimate, memory

            used, free = memory(model)
            talk.say(str(Estimate(one=seconds, all=seconds, used=used, free=free)))
        yield model


def _fit(method: ModuleType, request: DecomposeRequest, options: Any, size: Size, device: Any) -> Fit:
    """What a photo needs: what the method says, or as much as a picture of as many frames."""
    from layercli.cli.fitting import Fit, fit_of, free_on

    free = free_on(device)
    if hasattr(method, "ways"):
        ways = method.ways(request, options, size, device)
    else:
        picture = GenerateRequest(
            foregrounds=options.foregrounds,
            background=options.background,
            size=size,
            guidance=options.guidance,
            model=options.model,
            dtype=options.dtype,
            offload=options.offload,
        )
        ways = list(fit_of(picture, device, free, resizable=False).ways)
    gpu = "--device cpu, " if device.type != "cpu" else ""
    otherwise = f"Try fewer layers, {gpu}or --method matte"
    return Fit(model=options.model, device=device, free=free, ways=ways, otherwise=otherwise)
