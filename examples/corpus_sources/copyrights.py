"""Debian's machine-readable copyright files: which licence a file of a package has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

# https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/


@dataclass(frozen=True)
class Copyrights:
    """The text of a `copyright` file."""

    text: str

    @cached_property
    def _stanzas(self) -> list[tuple[re.Pattern[str], str]]:
        found = []
        for paragraph in re.split(r"\n\s*\n", self.text):
            files = re.search(r"^Files:(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
            licence = re.search(r"^License:[ \t]*(.*)$", paragraph, re.MULTILINE)
            if files and licence:
                patterns = "|".join(_as_regex(glob) for glob in files[1].split())
                found.append((re.compile(patterns), licence[1].strip()))
        return found

    def licence(self, path: str) -> str:
        """The short name of a file's licence, by the last stanza that fits it; empty without one."""
        fitting = [licence for pattern, licence in self._stanzas if pattern.fullmatch(path)]
        return fitting[-1] if fitting else ""


def _as_regex(glob: str) -> str:
    """In these files `*` and `?` stand for any characters, slashes too."""
    return "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in glob)
