"""Layered pictures of a list of prompts, drawn where they are missing, in a folder held to one setting."""

from __future__ import annotations

import json
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


def draw_missing(talk: Output, pictures: Sequence[Picture]) -> int:
    """Draw the pictures whose file is not there, and say how many those were."""
    missing = [picture for picture in pictures if not picture.targets[0].path.is_file()]
    for _ in make(talk, missing) if missing else ():
        continue
    return len(missing)
