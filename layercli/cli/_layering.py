"""The options that every command has which makes layers: formats, settings, a stored request, and care."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAMES",
        help="psd, png, tiff, tiff-photoshop, ora…; several with commas.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-O",
        metavar="KEY=VALUE",
        help="KEY=VALUE for the method, or FORMAT.KEY=VALUE for a format.",
        show_default=False,
    ),
]
Repeat = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Repeat the request stored in this file; other options change it.",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite instead of numbering.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the request and stop.")]
