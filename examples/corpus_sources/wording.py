"""Captions: what a picture's name becomes."""

from __future__ import annotations

import re
import unicodedata


def file_slug(name: str, longest: int = 48) -> str:
    """`piñata, big` -> `pi-ata-big`: what a name becomes in a file name, at most 48 characters."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:longest]


def squashed(label: str) -> str:
    """`Alarm clock` -> `alarmclock`: letters and digits only, for names written without spaces."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())
