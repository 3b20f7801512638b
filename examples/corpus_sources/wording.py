"""Captions: what a picture's name becomes."""

from __future__ import annotations

import re
import unicodedata

# Singular words with an s at the end, and pairs that English treats as one thing.
_SINGULAR = re.compile(r"(ss|bus|glasses|scissors|cactus|octopus)$")
_WITHOUT_ARTICLE = re.compile(r"(a|an|the|two|three) ")


def with_article(name: str) -> str:
    """`apple` -> `an apple`; a plural word, and a name with its own article or number, stays as it is."""
    plural = " " not in name and name.endswith("s") and not _SINGULAR.search(name)
    if plural or _WITHOUT_ARTICLE.match(name):
        return name
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def words_of(identifier: str) -> str:
    """`hot-dog_2`, `PlayStation`, `iMac` -> `hot dog`, `play station`, `i mac`.

    Lower case, without the numbers at the end of words, which count variants.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", identifier.replace("-", " ").replace("_", " "))
    numberless = re.sub(r"[0-9]+\b°?", " ", parted)
    return re.sub(r"\s+", " ", numberless).strip().lower()


def file_slug(name: str, longest: int = 48) -> str:
    """`piñata, big` -> `pi-ata-big`: what a name becomes in a file name, at most 48 characters."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:longest]


def squashed(label: str) -> str:
    """`Alarm clock` -> `alarmclock`: letters and digits only, for names written without spaces."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())
