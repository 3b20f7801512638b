"""Which file is read or written in which format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layercli.cli.sentences import explain
from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.formats._files import atomic, unique_path

if TYPE_CHECKING:
    import numpy as np

    from layercli.core.layers import LayerStack

FORMATS = "layercli.formats"
DEFAULT_FORMAT = "psd"
FOLDER_FORMAT = "png"
"""The format that writes a folder of pictures."""
FOLDER_SUFFIX = ".layers"
"""The ending of such a folder, which is one output, as a file is."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One file to write: its format, that format's Options, and its path."""

    format: str
    options: Any
    path: Path

    def write(self, stack: LayerStack) -> Path:
        """Write the stack; returns the path that was written."""
        written: Path = registry.load(FORMATS, self.format).write(stack, self.path, self.options)
        return written


def write_all(stack: LayerStack, targets: Iterable[Target]) -> tuple[Path, ...]:
    """Write the stack into every file; where one cannot be written, the error names those that are."""
    written: list[Path] = []
    for target in targets:
        try:
            written.append(target.write(stack))
        except Exception as error:
            known = explain(error)
            if known is None or not written:
                raise
            done = ", ".join(map(str, written))
            raise LayercliError(known.message, f"{known.hint} Written already: {done}".strip()) from error
    return tuple(written)


def read_stack(path: Path, format_name: str | None = None) -> LayerStack:
    """Read a layered file by its extension, or as the format that is named."""
    if not path.exists():
        raise LayercliError(f"There is no file {path}.", "Look at the spelling: ls")
    name = format_name or format_of(path)
    stack: LayerStack = registry.load(FORMATS, name).read(path)
    return stack


def write_picture(path: Path, pixels: np.ndarray, *, force: bool) -> Path:
    """Write (H, W, 4) in [0, 1] as a PNG; without `force` under the next free name. Returns the path."""
    from layercli.core.pixels import save_png

    path = path if force else unique_path(path)
    with atomic(path) as part:
        save_png(part, pixels)
    return path


def format_of(path: Path) -> str:
    """The plainest format with this file's extension; a folder is a folder of pictures."""
    extensions = registry.constants(FORMATS, "EXTENSIONS")
    suffix = path.suffix.lower()
    found = [name for name, known in extensions.items() if suffix in known]
    if path.is_dir():
        return FOLDER_FORMAT
    if not found:
        listed = ", ".join(f"{name} ({' '.join(known)})" for name, known in extensions.items())
        raise LayercliError(f'No format has the extension "{suffix}" of {path}.', f"There are: {listed}.")
    # The plainest name wins: .psd is psd before psd-pytoshop, .tiff is tiff before tiff-photoshop.
    return min(found, key=len)


def split_formats(texts: Iterable[str]) -> list[str]:
    """Read "--format png,tiff --format psd" as names, each once, each one known."""
    known = registry.plugins(FORMATS)
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in known:
            raise LayercliError(f'There is no format "{name}".', registry.suggest(name, known))
    return list(dict.fromkeys(names))


def split_options(texts: Mapping[str, str], formats: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort KEY=VALUE options: "png.key" belongs to the format png, a key without a dot to "" (the verb)."""
    sorted_: dict[str, dict[str, str]] = {name: {} for name in ("", *formats)}
    for key, value in texts.items():
        owner, dot, rest = key.partition(".")
        if not dot:
            sorted_[""][key] = value
        elif owner in formats:
            sorted_[owner][rest] = value
        else:
            raise LayercliError(
                f'The option "{key}" is for the format "{owner}", which is not written.',
                f"Written: {', '.join(formats)}.",
            )
    return sorted_


def formats_for(out: str | None, named: Sequence[str]) -> list[str]:
    """The formats to write: those that are named, or the one of the output's extension, or psd."""
    if named:
        return list(named)
    if out and Path(out).suffix and not is_folder(out):
        return [format_of(Path(out))]
    return [DEFAULT_FORMAT]


def is_folder(out: str) -> bool:
    """Whether -o names a folder to write into, and not a file or a folder of layers of its own."""
    if Path(out).suffix.lower() == FOLDER_SUFFIX:
        return False
    return out.endswith(("/", "\\")) or Path(out).is_dir()
