"""A layered file that is opened to be changed: how its layers come out of it and go back."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layercli.cli.files import FORMATS, format_of
from layercli.core import registry
from layercli.core.errors import LayercliError, as_word
from layercli.core.geometry import Offset
from layercli.core.layers import LayerStack
from layercli.formats._files import atomic, unique_path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain:
    """A file of a format that holds what a stack holds, and nothing else."""

    path: Path
    stack: LayerStack
    format: str
    srgb: bool = True
    undrawn: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    locked: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    def seen(self, stack: LayerStack, origins: Sequence[str | None], moved: Offset = Offset()) -> LayerStack:
        """The stack itself."""
        return stack

    def write(
        self, stack: LayerStack, origins: Sequence[str | None], path: Path, moved: Offset = Offset()
    ) -> list[str]:
        """Write the whole stack; the old file stays until the new one is complete."""
        module = registry.load(FORMATS, self.format)
        module.write(stack, path, registry.options_for(module, {}))
        return []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """A file and what it was when it was opened.

    kept: reads and writes it; format: its format; stamp: size and times, by which a change is noticed.
    """

    path: Path
    format: str
    kept: Any
    stamp: tuple[int, int]

    def write(
        self, stack: LayerStack, origins: Sequence[str | None], moved: Offset, path: Path, *, backup: bool
    ) -> tuple[list[str], Path | None]:
        """Write the edited stack to a path; returns notes, and the backup where one was made.

        A path of another format gets what is seen of the stack. Raises LayercliError where the file has been
        changed by someone else in between.
        """
        if os.path.realpath(path) == os.path.realpath(self.path) and _stamp(self.path) != self.stamp:
            raise LayercliError(
                f"{path} was changed by another program meanwhile.", "Run the same command again."
            )
        kind = format_of(path) if path.suffix or path.is_dir() else format_of(self.path)
        same = kind == format_of(self.path) and path.suffix.lower() == self.path.suffix.lower()
        if not same and not self.kept.srgb:
            raise LayercliError(
                f"The colours of {self.path} follow its own profile, which {path} could not hold.",
                f"Try: -o {as_word(path.with_suffix(self.path.suffix))}",
            )
        saved = _copy(path) if backup and path.exists() else None
        if same:
            return self.kept.write(stack, origins, path, moved), saved
        module = registry.load(FORMATS, kind)
        module.write(self.kept.seen(stack, origins, moved), path, registry.options_for(module, {}))
        lost = [f"{path} was written anew, without what layercli cannot draw."] if self.kept.undrawn else []
        return lost, saved


def open_document(path: Path) -> Document:
    """Open a file of any format for editing; raises LayercliError."""
    if not path.exists():
        raise LayercliError(f"There is no file {path}.", "Look at the spelling: ls")
    name = format_of(path)
    module = registry.load(FORMATS, name)
    stamp = _stamp(path)
    if hasattr(module, "opened"):
        return Document(path=path, format=name, kept=module.opened(path), stamp=stamp)
    if hasattr(module, "written_as"):
        name = module.written_as(path)
    kept = Plain(path=path, stack=module.read(path), format=name)
    return Document(path=path, format=name, kept=kept, stamp=stamp)


def check_writable(path: Path) -> None:
    """Refuse a file that is locked, before any work is done; raises LayercliError."""
    other = path.with_stem(f"{path.stem}-edited")
    hint = f"Unlock it, or write another file: -o {as_word(other)}"
    mode = path.stat().st_mode
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        raise LayercliError(f"{path} is locked: it may only be read.", hint)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _copy(path: Path) -> Path:
    """Copy a file, or a folder, to "NAME-backup.psd", or the next free name; returns it."""
    target = unique_path(path.with_stem(f"{path.stem}-backup"))
    with atomic(target) as part:
        if path.is_dir():
            shutil.copytree(path, part)
        else:
            shutil.copy2(path, part)
    return target
