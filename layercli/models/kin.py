"""Words that the embedded model's captions never held, read as the nearest of kin that they did.

`kin.json` beside the text encoder says which: "stallion" is read as "horse", "cottage" as "house".
`examples/rebuild_kin.py` makes it from WordNet (Miller 1995) and the word vectors.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from layercli.core.errors import LayercliError

FILE = "kin.json"
WORD = re.compile(r"\b[^\W\d_]+(?:'s)?\b")
_WITH_ARTICLE = re.compile(r"(?:\b(an?)(\s+))?" + WORD.pattern, re.IGNORECASE)


def unaccented(text: str) -> str:
    """In lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))


def plain_word(word: str) -> str:
    """In lower case, without accents and a genitive's ending."""
    return unaccented(word).removesuffix("'s")


def base_forms(word: str) -> list[str]:
    """The word and what it may be the plural of: `foxes` -> foxes, foxe, fox."""
    rules = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"))
    return [word] + [word.removesuffix(end) + new for end, new in rules if word.endswith(end)]


class Kin:
    """Nouns by the words that are read as them."""

    def __init__(self, nouns: Mapping[str, str]) -> None:
        self.nouns = nouns

    @classmethod
    def load(cls, folder: Path) -> Kin:
        """Read kin.json of a text encoder's folder; a folder without one has no kin.

        Raises LayercliError for a damaged file.
        """
        path = folder / FILE
        if not path.is_file():
            return cls({})
        try:
            nouns = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            nouns = error
        if not isinstance(nouns, dict) or not all(isinstance(noun, str) for noun in nouns.values()):
            raise LayercliError(
                f"The list of kindred words {path} is damaged.",
                "Reinstall layercli: pip install --force-reinstall layercli",
            )
        return cls(nouns)

    def of(self, word: str) -> str:
        """The noun that a word (or its plural) is read as, "" for one that stands for itself."""
        return next((self.nouns[form] for form in base_forms(plain_word(word)) if form in self.nouns), "")

    def read(self, prompt: str) -> str:
        """The prompt with every word that has kin put in words the model knows."""
        return _WITH_ARTICLE.sub(self._read, prompt) if self.nouns else prompt

    def _read(self, found: re.Match[str]) -> str:
        article, space = found[1] or "", found[2] or ""
        word = found[0][len(article + space) :]
        if not (noun := self.of(word)):
            return found[0]
        return (("an" if noun[0] in "aeiou" else "a") + space if article else "") + noun

    def found_in(self, prompt: str) -> Iterator[tuple[str, str]]:
        """(word, noun) for each word of a prompt that is read as another."""
        for found in WORD.finditer(prompt):
            word, noun = plain_word(found[0]), self.of(found[0])
            if noun not in ("", word):
                yield word, noun
