"""Layered pictures of a list of prompts, drawn where they are missing, in a folder held to one setting."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layercli.cli.files import FORMATS, Target
from layercli.cli.making import Picture, make
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest
from layercli.formats._files import atomic

Prompts = Sequence[tuple[tuple[str, ...], str]]
"""(foregrounds back to front, background) of each picture."""


def hold_to(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder whose pictures were made by other weights or settings; else note these in it."""
    file = folder / "settings.json"
    if not file.is_file():
        with atomic(file) as part:
            part.write_text(json.dumps(dict(settings), indent=1) + "\n", encoding="utf-8")
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        before = {}
    other = [key for key, value in settings.items() if before.get(key) != value]
    if other:
        raise LayercliError(
            f"The pictures in {folder} were made with another {other[0]}.",
            "Name another folder with -o, or remove this one.",
        )


def model_weights(name: str) -> dict[str, str]:
    """SHA-256 of every weight file of a model, without opening it; raises LayercliError for none."""
    from layercli.models.catalog import MODELS, folder_of
    from layercli.vision._digest import file_digest

    folder = folder_of(name) if name in MODELS else Path(name)
    if folder is None or not folder.is_dir():
        raise LayercliError(f'There is no model "{name}" on this machine.', "Try: layercli models")
    files = sorted(folder.rglob("*.safetensors"))
    return {file.relative_to(folder).as_posix(): file_digest(file) for file in files}


def planned(prompts: Prompts, seeds: Sequence[int], folder: Path, **fields: Any) -> Iterator[Picture]:
    """One PSD a seed and prompt; fields: of the request. The number of a prompt is in its file's name."""
    options = registry.options_for(registry.load(FORMATS, "psd"), {})
    for seed in seeds:
        for number, (things, ground) in enumerate(prompts, 1):
            request = GenerateRequest(foregrounds=things, background=ground, seed=seed, **fields)
            path = folder / f"{number:03d}-seed{seed}.psd"
            yield Picture(request=request, targets=(Target(format="psd", options=options, path=path),))


def draw_and_note(talk: Output, pictures: Sequence[Picture], folder: Path) -> tuple[int, float | None]:
    """Draw what is missing; how many those were, and the most memory in MiB that drawing took, by a note kept
    in the folder.
    """
    notes = folder / "memory.json"
    began = time.monotonic()
    drawn = draw_missing(talk, pictures)
    if drawn:
        told = {"memory_mib": peak_memory(), "seconds": time.monotonic() - began, "pictures": drawn}
        with atomic(notes) as part:
            part.write_text(json.dumps(told) + "\n", encoding="utf-8")
    try:
        memory = json.loads(notes.read_text(encoding="utf-8"))["memory_mib"]
    except (OSError, ValueError, KeyError, TypeError):
        return drawn, None
    return drawn, float(memory)


def peak_memory() -> float:
    """The most memory that this process has taken, in MiB."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(getattr(psutil.Process().memory_info(), "peak_wset", 0)) / 2**20
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def draw_missing(talk: Output, pictures: Sequence[Picture]) -> int:
    """Draw the pictures whose file is not there, and say how many those were."""
    missing = [picture for picture in pictures if not picture.targets[0].path.is_file()]
    for _ in make(talk, missing) if missing else ():
        continue
    return len(missing)
