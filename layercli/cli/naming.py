"""Under which name each file is written; decided, and found to be possible, before anything is made."""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from layercli.cli.files import FOLDER_FORMAT, FORMATS, Target, is_folder
from layercli.core import registry
from layercli.core.errors import LayercliError, as_word
from layercli.core.requests import GenerateRequest
from layercli.formats._files import safe_file_name

Finished = Callable[[int, Sequence[Target]], bool]
"""Whether these files, all there, are what picture number so-and-so from 0 would become."""

LONGEST_NAME = 100
"""In bytes of UTF-8; with a number and an ending it stays far below what file systems take."""


def plan(
    stem: str,
    count: int,
    out: str | None,
    formats: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    *,
    force: bool,
    finished: Finished | None = None,
) -> list[list[Target]]:
    """Name every file of `count` pictures, and see that each can be written, before any work is done.

    stem: the name where `out` says none; out: a file, or a folder to write into. Several pictures are
    numbered from 1. Without `force` a picture whose files exist gets the next free number, unless they are
    `finished`: then it keeps them.
    """
    folder, stem = _place(out, stem)
    stems = [stem] if count == 1 else [f"{stem}-{number}" for number in range(1, count + 1)]
    return _planned(folder, stems, out, formats, options, force=force, finished=finished)


def plan_each(
    stems: Sequence[str],
    out: str | None,
    formats: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    *,
    force: bool,
    finished: Finished | None = None,
) -> list[list[Target]]:
    """Name every file of pictures with stems of their own; a file named by `out` is numbered for several."""
    if out and not is_folder(out):
        return plan(stems[0], len(stems), out, formats, options, force=force, finished=finished)
    return _planned(Path(out or ""), stems, out, formats, options, force=force, finished=finished)


def _planned(
    folder: Path,
    stems: Sequence[str],
    out: str | None,
    formats: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    *,
    force: bool,
    finished: Finished | None,
) -> list[list[Target]]:
    check_folder(folder)
    extensions = registry.constants(FORMATS, "EXTENSIONS")
    typed = Path(out or "").suffix.lower()
    makers = [
        (
            name,
            registry.options_for(registry.load(FORMATS, name), options.get(name, {})),
            typed if typed in extensions[name] and name != FOLDER_FORMAT else extensions[name][0],
        )
        for name in formats
    ]
    taken: set[Path] = set()
    pictures = []
    for number, wanted in enumerate(stems):
        keep = partial(finished, number) if finished is not None else None
        targets = _free(folder, wanted, makers, taken, force, keep)
        taken |= {target.path for target in targets}
        pictures.append(targets)
    return pictures


def stem_for(request: GenerateRequest) -> str:
    """A file name made of the prompts: "a-dog-and-a-ball-on-a-beach", letters, digits and "-" only."""
    things = "-and-".join(slug(prompt) for prompt in request.foregrounds)
    ground = slug(request.background) if request.background else ""
    return safe_file_name("-on-".join(filter(None, (things, ground))), LONGEST_NAME).strip("-")


def slug(text: str) -> str:
    """The letters and digits of a text in any script, lower case, with "-" between the words."""
    plain = unicodedata.normalize("NFC", text).lower()
    return re.sub(r"[\W_]+", "-", plain).strip("-") or "picture"


def _place(out: str | None, stem: str) -> tuple[Path, str]:
    """Split what -o says into a folder and a stem; a folder alone keeps the stem there is."""
    if not out:
        return Path(), stem
    path = Path(out)
    if is_folder(out):
        return path, stem
    known = {suffix for suffixes in registry.constants(FORMATS, "EXTENSIONS").values() for suffix in suffixes}
    stem = path.name[: -len(path.suffix)] if path.suffix.lower() in known else path.name
    if not stem or stem in {".", ".."}:
        raise LayercliError(f'"{out}" is not a file name.', "Try: -o picture.psd")
    return path.parent, stem


def check_folder(folder: Path) -> None:
    """Find out whether files can be written to a folder; raises LayercliError where they cannot."""
    if not folder.exists():
        raise LayercliError(f"There is no folder {folder}.", f"Try: mkdir -p {as_word(folder)}")
    if not folder.is_dir():
        raise LayercliError(f"{folder} is a file, not a folder.", "Choose another place with -o.")
    try:
        # Asking for rights is not enough: full, read-only and virtual disks say no only to a real file.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LayercliError(
            f"Nothing can be written to {folder}: {reason}.", "Choose another place with -o."
        ) from error


def _free(
    folder: Path,
    stem: str,
    makers: Sequence[tuple[str, Any, str]],
    taken: set[Path],
    force: bool,
    keep: Callable[[Sequence[Target]], bool] | None,
) -> list[Target]:
    """The targets of one picture, under the first number at which none exists, or all are to be kept."""
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}-{number}"
        targets: list[Target] = []
        for format_name, options, suffix in makers:
            path = folder / f"{name}{suffix}"
            if path in {target.path for target in targets}:  # .tiff of tiff and of tiff-photoshop
                path = folder / f"{name}.{format_name}{suffix}"
            targets.append(Target(format=format_name, options=options, path=path))
        paths = {target.path for target in targets}
        if not paths & taken:
            there = [path.exists() or path.is_symlink() for path in paths]
            if force or not any(there) or (keep is not None and all(there) and keep(targets)):
                return targets
        number += 1
