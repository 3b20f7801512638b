"""Tell what this machine has, which models are at hand, what is slow, and why."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from layercli import __version__
from layercli.cli._base import new_app
from layercli.cli.files import FORMATS
from layercli.cli.making import METHODS
from layercli.cli.output import Output
from layercli.core import registry

app = new_app()

GIB = 2**30
PACKAGES = ("torch", "diffusers", "transformers", "numpy", "pillow", "psd-tools", "tifffile")
ENOUGH_MEMORY, ENOUGH_DISK = 3 * GIB, GIB
"""What a picture of the embedded model takes at most, and room for some layered files."""
SLOW_IMPORT, SLOW_PSD, SLOW_GFLOPS = 5.0, 3.0, 20.0


class Finding(NamedTuple):
    """One thing that was looked at; advice is empty where all is well."""

    what: str
    found: str
    advice: str = ""


@app.command()
def doctor(
    ctx: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out what needs torch to be loaded.")] = False,
) -> None:
    """Tell what this machine has, which models are at hand, what is slow, and why."""
    talk: Output = ctx.obj
    findings = [finding for look in (_LOOKS if fast else (*_LOOKS, _torch)) for finding in look()]
    data = {"layercli": __version__, "findings": [finding._asdict() for finding in findings]}
    talk.table(data, ("", "found", "advice"), findings)


def _system() -> list[Finding]:
    return [
        Finding("layercli", __version__),
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
    ]


def _versions() -> list[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(Finding(name, version(name)))
        except PackageNotFoundError:
            found.append(Finding(name, "missing", "pip install layercli --force-reinstall"))
    return found


def _memory() -> list[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    few = memory.available < ENOUGH_MEMORY
    return [Finding("memory", found, "A picture may not fit: close other programs." if few else "")]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(os.curdir).free
    return [Finding("disk here", f"{free / GIB:.1f} GiB free", "Nearly full." if free < ENOUGH_DISK else "")]


def _plugins() -> list[Finding]:
    return [
        Finding("methods", ", ".join(registry.plugins(METHODS))),
        Finding("formats", ", ".join(registry.plugins(FORMATS))),
    ]


def _models() -> list[Finding]:
    from layercli.models.catalog import MODELS, fetch_command, missing_parts

    missing = {name: missing_parts(name) for name in MODELS}
    return [
        Finding(
            f"model {name}",
            "at hand" if not parts else f"lacks {parts[0]}" if name not in parts else "not here",
            fetch_command(name) if parts else "",
        )
        for name, parts in missing.items()
    ]


def _psd_speed() -> list[Finding]:
    """Write a megapixel of noise, the worst case, as a PSD."""
    import numpy as np

    from layercli.core.layers import Layer, LayerStack, Size
    from layercli.formats import psd

    rgba = np.random.default_rng(0).random((1024, 1024, 4), dtype=np.float32)
    stack = LayerStack(canvas=Size(1024, 1024), layers=(Layer(name="noise", rgba=rgba),))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        psd.write(stack, Path(folder) / "noise.psd", psd.Options())
        seconds = time.perf_counter() - began
    slow = "psd-tools runs without its compiled part: pip install --force-reinstall psd-tools"
    return [Finding("writing a PSD", f"{seconds:.1f} s a megapixel", slow if seconds > SLOW_PSD else "")]


def _torch() -> list[Finding]:
    began = time.monotonic()
    import torch

    seconds = time.monotonic() - began
    slow = "The first command after a restart waits for the disk." if seconds > SLOW_IMPORT else ""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    idle = f"{cores - threads} cores stand idle: unset OMP_NUM_THREADS" if threads < cores // 2 else ""
    return [
        Finding("loading torch", f"{seconds:.1f} s", slow),
        Finding("threads", f"{threads} of {cores} cores", idle),
        *_devices(torch),
        _arithmetic(torch),
    ]


def _devices(torch: Any) -> list[Finding]:
    if torch.cuda.is_available():
        return [_card(torch, index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        return [Finding("device", "mps (Apple GPU)")]
    why = "torch was built without CUDA" if torch.version.cuda is None else "torch finds no NVIDIA card"
    return [
        Finding("device", f"cpu; {why}", "Fine for the embedded model; large ones take minutes a picture.")
    ]


def _card(torch: Any, index: int) -> Finding:
    free, total = torch.cuda.mem_get_info(index)
    name = torch.cuda.get_device_name(index)
    full = "Most of its memory is taken by other programs." if free < total / 2 else ""
    return Finding(f"device cuda:{index}", f"{name}; {free / GIB:.1f} of {total / GIB:.1f} GiB free", full)


def _arithmetic(torch: Any) -> Finding:
    """Multiply two 1024 x 1024 matrices of float32 on the CPU a few times, and take the best."""
    matrix = torch.ones(1024, 1024)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - began)
    speed = 2 * 1024**3 / min(times) / 1e9
    slow = "Slow: other programs use this machine, or it is an old one." if speed < SLOW_GFLOPS else ""
    return Finding("cpu arithmetic", f"{speed:.0f} GFLOP/s in float32", slow)


_LOOKS: tuple[Callable[[], list[Finding]], ...] = (
    _system,
    _versions,
    _memory,
    _disk,
    _plugins,
    _models,
    _psd_speed,
)
