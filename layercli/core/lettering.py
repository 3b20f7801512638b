"""Write short captions in any language with the fonts that pillow and the machine already have."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font knows plain English only. For other names these are tried in order; pillow looks them up
# in the system's font folders, and a machine that has none of them still gets a caption (see `spell`).
SYSTEM_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf",
    "segoeui.ttf", "Helvetica.ttc", "NotoSansCJK-Regular.ttc", "msgothic.ttc", "PingFang.ttc",
    "Hiragino Sans GB.ttc", "wqy-microhei.ttc", "NotoEmoji-Regular.ttf", "seguisym.ttf",
)  # fmt: skip


@functools.cache
def _font(name: str, size: int) -> Font | None:
    """Load a font by file name, "" for pillow's own; None when the machine does not have it."""
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size=size)
    except OSError:
        return None


@functools.cache
def _has_glyph(name: str, char: str) -> bool:
    font = _font(name, 24)
    if font is None:
        return False
    if char.isspace():
        return True
    # A font draws the same box for every character it lacks; U+FFFF is never assigned, so it always gets it.
    drawn, lacking = font.getmask(char), font.getmask("\uffff")
    return (drawn.size, bytes(drawn)) != (lacking.size, bytes(lacking))


def spell(text: str, name: str = "") -> str:
    """Rewrite text with only the characters that a font has.

    Accents go first (é to e), then symbols become their Unicode name (a cat face to "(cat face)"), and what
    is left becomes a middle dot. Joiners and variation selectors, which draw nothing, are dropped.
    """
    written = []
    for char in unicodedata.normalize("NFC", text):
        category = unicodedata.category(char)
        if category in ("Mn", "Me", "Cf", "Cc", "Cs"):
            continue
        if _has_glyph(name, char):
            written.append(char)
            continue
        plain = [c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c) != "Mn"]
        if plain and all(_has_glyph(name, c) for c in plain):
            written.extend(plain)
        elif category in ("So", "Sm", "Sc", "Sk") and unicodedata.name(char, "") != "":
            written.append(f"({unicodedata.name(char).lower()})")
        else:
            written.append("·")
    return "".join(written)


@functools.cache
def choose_font(text: str) -> str:
    """Name the first font that has every character of a text, or the one that lacks fewest.

    The name is a font's file name; "" is pillow's own.
    """
    best, fewest = "", len(text) + 1
    for name in ("", *SYSTEM_FONTS):
        if _font(name, 24) is None:
            continue
        lacking = sum(
            not _has_glyph(name, c) for c in text if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Cc")
        )
        if lacking == 0:
            return name
        if lacking < fewest:
            best, fewest = name, lacking
    return best


def lettering(text: str, size: int, room: float = float("inf")) -> np.ndarray:
    """Draw one line of text, shortened with an ellipsis when it is wider than its room.

    size: height of the type in pixels, room: pixels -> coverage (H, W) float32 in [0, 1]. H depends on the
    font and the size alone, so lines of one font share a baseline.
    """
    name = choose_font(text)
    font = _font(name, size)
    assert font is not None  # choose_font only names fonts that load
    line = spell(text, name)
    if font.getlength(line) > room:
        while line and font.getlength(line + "…") > room:
            line = line[:-1]
        line = line.rstrip() + "…"
    width = max(1, round(font.getlength(line)) + 2)
    height = round(size * 1.45)
    picture = Image.new("L", (width, height), 0)
    # One baseline for every font: ascents differ, so the text hangs from its baseline, not from its top.
    ImageDraw.Draw(picture).text((1, round(size * 1.05)), line, fill=255, font=font, anchor="ls")
    return np.asarray(picture.convert("F"), dtype=np.float32) / np.float32(255)
