"""How long a run will take and how much memory it needs, measured on this machine before it begins."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layercli.core.requests import GenerateRequest
from layercli.models.memory import canvas_bytes

if TYPE_CHECKING:
    from layercli.models.family import Model

GIB = 2**30
LONG = 90
"""Steps of a 256 x 256 picture, from which on a person should know what to expect."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds for one picture and for all, and bytes of memory in use and free."""

    one: float
    all: float
    used: int
    free: int

    def __str__(self) -> str:
        each = (
            f"{duration(self.one)} a picture, {duration(self.all)} in all"
            if self.all > self.one
            else duration(self.one)
        )
        return f"About {each}, with {self.used / GIB:.1f} GiB ({self.free / GIB:.1f} GiB are free)."


def estimate(model: Model, request: GenerateRequest, count: int) -> Estimate:
    """Run the network twice at the real size and multiply: about a thirtieth of one picture's time.

    The first call sets up what later ones reuse, so only the second is counted. Harmonising denoises one
    frame further, which this leaves out, as it does decoding and writing: it is an estimate.
    """
    import torch

    size = model.working_size(request.size).made
    prompts = [*request.foregrounds, request.background, request.global_prompt]
    kinds = ["foreground"] * len(request.foregrounds) + ["background", "global"]
    if request.alone:
        prompts, kinds = prompts[-1:], ["foreground" if request.foregrounds else "background"]
    guided = 1 if request.guidance == 1 else 2
    with torch.inference_mode():
        frames = model.encode_text(prompts * guided, kinds * guided, size)  # type: ignore[arg-type]
        denoise = model.denoiser(frames)
        x = torch.zeros((len(frames), *model.latent_shape(size)), device=model.device)
        t = torch.full((len(frames),), 500, device=model.device)
        for _ in range(2):
            began = time.perf_counter()
            denoise(x, t).sum().item()  # asking for a number waits for the device
            seconds = time.perf_counter() - began
    one = seconds * request.steps
    used, free = memory(model)
    if model.device.type != "cuda":  # there the canvas lies in main memory, and what is told is the device's
        used += canvas_bytes(request.size)
    return Estimate(one=one, all=one * count, used=used, free=free)


def is_long(request: GenerateRequest, count: int) -> bool:
    """Whether a run is worth an estimate: many steps, many pictures, large ones, or a large model."""
    pictures = count * request.size.width * request.size.height / 256**2
    return request.model != GenerateRequest.model or request.steps * pictures > LONG


def memory(model: Model) -> tuple[int, int]:
    """(bytes this process has taken on the model's device, bytes that are still free there)."""
    import torch

    if model.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(model.device)
        return torch.cuda.max_memory_allocated(model.device), free
    import psutil

    return psutil.Process().memory_info().rss, psutil.virtual_memory().available


def duration(seconds: float) -> str:
    """ "8 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
