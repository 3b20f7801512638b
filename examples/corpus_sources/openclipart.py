"""Clip art: drawings of Debian's openclipart-svg, chosen and named one by one in `openclipart.tsv`.

Titles in this package are Italian, French, a file format or somebody's name as often as they are the thing
shown, so the list beside this file says which drawings are worth learning and what each one shows: number,
file, name.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from layercli.core.errors import LayercliError
from layercli.data.captions import with_article

from .packages import Packages
from .pictures import OBJECT_SIDE, Picture, framed_object
from .shards import Shard
from .svg import render

PACKAGE = ("openclipart-svg", "1:0.18+dfsg-19")
_LIST = Path(__file__).with_name("openclipart.tsv")


def chosen(listed: str) -> Iterator[tuple[int, str, str]]:
    """Number, file and name of each line of the list."""
    for line in listed.splitlines():
        number, file, name = line.split("\t")
        yield int(number), file, name


def is_free(svg: str) -> bool:
    """Whether a drawing names no licence but the public domain; the package itself is dedicated to it."""
    named = re.findall(r"<(?:cc:)?license[^>]*resource\s*=\s*[\"']([^\"']+)", svg)
    return all("publicdomain" in licence.lower() for licence in named)


def keywords(svg: str) -> tuple[str, ...]:
    """The words under which a drawing was filed, in lower case, each once."""
    found = [
        html.unescape(word).strip().lower()
        for word in re.findall(r"<rdf:li[^>]*>(.*?)</rdf:li>", svg, re.DOTALL)
    ]
    return tuple(dict.fromkeys(word for word in found if word))


def pictures(packages: Packages) -> Iterator[Picture]:
    """The drawings of the list, cropped to what is drawn."""
    root = packages.debian(*PACKAGE)
    folder = root / "usr/share/openclipart/svg"
    for number, file, name in chosen(_LIST.read_text(encoding="utf-8")):
        svg = (folder / file).read_text(encoding="utf-8", errors="replace")
        if not is_free(svg):
            continue
        try:
            image = framed_object(render(svg, OBJECT_SIDE))
        except LayercliError:
            continue
        if image is not None:
            yield Picture(
                image=image,
                number=number,
                name=name,
                caption=with_article(name),
                style="clip art vector",
                source=f"deb:{PACKAGE[0]}",
                licence="CC0 / public domain",
                tags=keywords(svg),
                group=file.rsplit("/", 1)[0],
                orig=f"{PACKAGE[0]}/{(folder / file).relative_to(root).as_posix()}",
            )


def shards() -> list[Shard]:
    """One shard."""
    return [Shard(PACKAGE[0], "clip art, public domain", pictures)]
