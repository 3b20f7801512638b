"""Writing that is whole or not at all, and names that are safe in files and folders."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from layercli.core.errors import LayercliError

#: Names that Windows keeps for devices, whatever their ending.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)
_ELSEWHERE = "Name another file with -o."
_FORBIDDEN = '<>:"/\\|?*'


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary sibling to write to, as a file or a folder, and put it in place at the end.

    When the body raises, Ctrl-C included, nothing is left behind and what was at `path` is as it was.
    Raises LayercliError, naming the path, for any OSError of the body or of the move.
    """
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))  # write through the link instead of replacing it
    part = target.parent / f".layercli-{secrets.token_hex(6)}.part"
    try:
        yield part
        _replace(part, target)
    except OSError as error:
        raise writing_error(path, error) from error
    finally:
        _remove(part)


def writing_error(path: str | os.PathLike[str], error: OSError) -> LayercliError:
    """The sentence for a file that could not be written."""
    parent = Path(path).parent
    if isinstance(error, FileNotFoundError) and not parent.exists():
        return LayercliError(f'There is no folder "{parent}" to write in.', f'Try: mkdir -p "{parent}"')
    why = error.strerror or str(error) or type(error).__name__
    full = "Free some space, or write to another disk with -o."
    hint = full if error.errno in (errno.ENOSPC, errno.EDQUOT) else _ELSEWHERE
    return LayercliError(f'"{path}" cannot be written: {why}.', hint)


def _replace(part: Path, target: Path) -> None:
    """Move a finished file or folder to its place; an old one there gives way only to a whole new one."""
    if target.is_dir() != part.is_dir() and target.exists():
        kind = "folder" if target.is_dir() else "file"
        raise LayercliError(f'"{target}" is a {kind} already.', _ELSEWHERE)
    if not part.is_dir():
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
        return
    if not target.exists():
        os.rename(part, target)
        return
    # A folder with files in it cannot be replaced in one step: move it aside, and back if need be.
    aside = target.parent / f".layercli-{secrets.token_hex(6)}.part"
    os.rename(target, aside)
    try:
        os.rename(part, target)
    except BaseException:
        os.rename(aside, target)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def unique_path(path: str | os.PathLike[str], beside: Iterable[str] = ()) -> Path:
    """The path itself where nothing is there yet, else the first free "name-2.psd", "name-3.psd", …

    beside: endings of files that go with it under the same number: ".key.json" of a study's page.
    """
    first = path = Path(path)
    endings = tuple(beside)
    number = 1
    while any(os.path.lexists(one) for one in (path, *(path.with_suffix(ending) for ending in endings))):
        number += 1
        path = first.with_name(f"{first.stem}-{number}{first.suffix}")
    return path


def clean_name(name: str, limit: int = 255, fallback: str = "layer") -> str:
    """A layer's name without control characters and lone surrogates, at most `limit` UTF-16 units long."""
    kept = "".join(c if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") else " " for c in name)
    return _cut(kept.strip(), limit, _utf16_length) or fallback


def safe_file_name(name: str, limit: int = 120, fallback: str = "layer") -> str:
    """A layer's name as one file name, without ending, that every system takes; never a path.

    limit: the most UTF-8 bytes.
    """
    cleaned = unicodedata.normalize("NFC", clean_name(name, fallback=fallback))
    cleaned = "".join("_" if c in _FORBIDDEN else c for c in cleaned)
    cleaned = _cut(cleaned.lstrip(". "), limit, lambda text: len(text.encode())).rstrip(". ")
    if cleaned.partition(".")[0].strip().casefold() in _DEVICES:
        cleaned = f"_{cleaned}"
    return cleaned or fallback


def ascii_name(name: str, limit: int = 255, fallback: str = "layer") -> str:
    """A layer's name in printable ASCII, for readers that know no other: accents dropped, others left out."""
    plain = unicodedata.normalize("NFKD", clean_name(name)).encode("ascii", "ignore").decode()
    plain = " ".join("".join(c for c in plain if c.isprintable()).split())
    return plain[:limit].strip() or fallback


def unique_names(
    names: Iterable[str], *, fold: bool = False, limit: int = 255, measure: Callable[[str], int] | None = None
) -> tuple[str, ...]:
    """The same names, each once: later ones of a kind get " 2", " 3", … within the limit.

    fold: names that differ in upper and lower case only count as the same, as they do in many file systems.
    limit, measure: the longest a name may be, in UTF-16 units where no other measure is given.
    """
    measure = measure or _utf16_length
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while (candidate.casefold() if fold else candidate) in taken:
            number += 1
            ending = f" {number}"
            candidate = _cut(name, limit - len(ending), measure).rstrip() + ending
        taken.add(candidate.casefold() if fold else candidate)
        result.append(candidate)
    return tuple(result)


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cut(text: str, limit: int, measure: Callable[[str], int]) -> str:
    """The longest beginning of a text that measures at most `limit`."""
    while measure(text) > limit:
        text = text[: max(0, len(text) - max(1, (measure(text) - limit) // 4))]
    return text.strip()
