"""The one exception and the one warning that people may see, and how its hints write what a shell reads."""

from __future__ import annotations

import shlex


class LayercliError(Exception):
    """Something a person can put right: what went wrong with which thing, and what to type next.

    message: one sentence that names the thing. hint: the next command or option to type, may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class Note(UserWarning):
    """What a person should know although nothing failed, in one sentence."""


def as_word(named: object) -> str:
    """A name or a path as one word of a command that can be typed."""
    return shlex.quote(str(named))
