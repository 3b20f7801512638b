"""Captions of a photo and of its layers: from a text beside it, a captioner, or the words of its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layercli.core.errors import LayercliError
from layercli.core.splitting import Split, split_prompt

Caption = Callable[[np.ndarray], str]
"""(H, W, 4) in [0, 1] -> what it shows; may be empty."""

_CAMERA = re.compile(
    r"(img|dsc[fn]?|pxl|dcim|gopr|mvi|image|photo|picture|screenshot|scan|p)?\d*", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is known of a photo in words; empty where nothing is. by: "text", "name" or ""."""

    whole: str = ""
    foregrounds: tuple[str, ...] = ()
    background: str = ""
    by: str = ""


def told_of(photo: Path) -> Told:
    """What a text beside a photo says (cat.jpg, cat.txt), or the words of its name (red-car_02.jpg).

    The text's first line describes the whole; lines "foreground: …", back to front, and "background: …" may
    follow, in any number.
    """
    beside = photo.with_suffix(".txt")
    if beside.is_file():
        lines = beside.read_text(encoding="utf-8", errors="replace").splitlines()
        found: dict[str, list[str]] = {"foreground": [], "background": [], "": []}
        for line in filter(None, map(str.strip, lines)):
            key, _, text = line.partition(":")
            marked = key.lower() if key.lower() in found else ""
            found[marked].append(text.strip() if marked else line)
        things, grounds, plain = (tuple(filter(None, texts)) for texts in found.values())
        if plain or things:
            whole = plain[0] if plain else ", ".join([*things, *grounds])
            return Told(whole=whole, foregrounds=things, background=" and ".join(grounds), by="text")
    words = [word for word in re.split(r"[\W_]+", photo.stem) if not _CAMERA.fullmatch(word)]
    return Told(whole=" ".join(words).lower(), by="name") if words else Told()


def written(split: Split) -> str:
    """A split as a text to lay beside its photo."""
    lines = [split.whole, *(f"foreground: {thing}" for thing in split.foregrounds)]
    return "\n".join([*lines, f"background: {split.background}"]) + "\n"


def captions_of(frames: np.ndarray, told: Told, names: list[str], caption: Caption | None) -> list[str]:
    """A caption for every frame: background, foregrounds back to front, the whole.

    frames: (k + 2, H, W, 4) in [0, 1]; names: of the foregrounds' layers. What a person told comes first,
    then what the captioner sees, then what the rules split off the whole.
    """
    count = len(names)
    whole = told.whole if told.by == "text" else (caption(frames[-1]) if caption else "") or told.whole
    things: tuple[str, ...] = told.foregrounds if len(told.foregrounds) == count else ()
    ground = told.background
    if caption is not None:
        things = things or tuple(caption(frame) for frame in frames[1:-1])
        ground = ground or caption(frames[0])
    if whole and not (things and ground):
        try:
            split = split_prompt(whole)
        except LayercliError:
            split = None
        if split is not None:
            things = things or (split.foregrounds if len(split.foregrounds) == count else ())
            ground = ground or split.background
    plain = [name if not name.startswith("object") else "an object" for name in names]
    named = [thing or name for thing, name in zip(things or plain, plain, strict=True)]
    ground = ground or "a scene"
    return [ground, *named, whole or f"{' and '.join(named)}, {ground}"]
