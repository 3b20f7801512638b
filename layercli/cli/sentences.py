"""One table from the exceptions that machines and disks raise to a sentence and what to type next."""

from __future__ import annotations

import errno
from collections.abc import Callable

from layercli.core.errors import LayercliError

USAGE, STOPPED, BROKEN_PIPE, BUG = 2, 130, 141, 1
"""Exit codes: what a person can put right; Ctrl-C; the reader of our output left; our own mistake."""

_SMALLER = "Close other programs, or make the picture smaller."
_OFF_THE_GPU = "Make the picture smaller, or try --device cpu."

_ELSEWHERE = "Choose another place with -o."

_OS_ERRORS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("The disk is full: {file} was not written.", "Free some space, or choose another disk."),
    errno.EDQUOT: ("Your disk quota is used up: {file} was not written.", _ELSEWHERE),
    errno.EACCES: ("There is no permission to open {file}.", _ELSEWHERE),
    errno.EPERM: ("There is no permission to change {file}.", _ELSEWHERE),
    errno.EROFS: ("{file} lies on a disk that can only be read.", _ELSEWHERE),
    errno.ENOENT: ("There is no file {file}.", "Look at the spelling: ls"),
    errno.ENOTDIR: ("A part of the path {file} is a file, not a folder.", _ELSEWHERE),
    errno.EISDIR: ("{file} is a folder, not a file.", "Name a file."),
    errno.ENAMETOOLONG: ("The name {file} is too long for this disk.", "Choose a shorter one with -o."),
    errno.EMFILE: ("Too many files are open.", "Try: ulimit -n 4096"),
    errno.ELOOP: ("{file} is a link that leads back to itself.", "Try: ls -l"),
    errno.EIO: ("The disk failed while {file} was read or written.", _ELSEWHERE),
}

Sentence = tuple[str, str]
"""What went wrong, and what to type next."""


def _os_error(error: BaseException) -> Sentence | None:
    if not isinstance(error, OSError) or error.errno not in _OS_ERRORS:
        return None
    message, hint = _OS_ERRORS[error.errno]
    return message.format(file=_short(str(error.filename or "the file"))), hint


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, torch or a device means that memory ran out."""
    # torch is known by the name of its exception, so that nothing imports it to ask.
    names = {cls.__name__ for cls in type(error).__mro__}
    text = str(error).lower()
    words = (
        "out of memory",
        "not enough memory",
        "can't allocate memory",
        "cannot allocate memory",
        "invalid buffer size",  # of Apple's GPUs
        "status_alloc_failed",  # of NVIDIA's libraries
    )
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
        return True
    return isinstance(error, RuntimeError | OSError) and any(word in text for word in words)


def _out_of_memory(error: BaseException) -> Sentence | None:
    if not is_out_of_memory(error):
        return None
    gpu = any(word in str(error).lower() for word in ("cuda", "mps", "cublas", "invalid buffer size"))
    return "There is not enough memory for this picture.", _OFF_THE_GPU if gpu else _SMALLER


def _number_type(error: BaseException) -> Sentence | None:
    if not isinstance(error, TypeError | RuntimeError) or "bfloat16" not in (told := str(error).lower()):
        return None
    if "mps" not in told:
        return None
    return "This system computes no bfloat16 on its GPU; macOS 14 does.", "Try: --dtype float32"


def _missing_package(error: BaseException) -> Sentence | None:
    if not isinstance(error, ModuleNotFoundError) or not error.name or error.name.startswith("layercli"):
        return None
    package = error.name.partition(".")[0]
    return f'The Python package "{package}" is not installed.', f"Try: pip install {package}"


_TABLE: tuple[Callable[[BaseException], Sentence | None], ...] = (
    _out_of_memory,
    _os_error,
    _number_type,
    _missing_package,
)


def explain(error: BaseException) -> LayercliError | None:
    """Say in a sentence what a known exception means; None for one that is our own mistake."""
    if isinstance(error, LayercliError):
        return error
    found = (rule(error) for rule in _TABLE)
    sentence = next((sentence for sentence in found if sentence is not None), None)
    return LayercliError(*sentence) if sentence is not None else None


def confess(error: BaseException) -> LayercliError:
    """Say that an exception is a mistake of layercli's own, and how to show it."""
    text = _short(str(error).strip().partition("\n")[0], 200)
    return LayercliError(
        f"layercli made a mistake: {type(error).__name__}: {text}".rstrip(": "),
        "Please report it, with what the same command prints with --debug.",
    )


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
