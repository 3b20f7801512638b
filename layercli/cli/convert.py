"""Turn a layered file into another format, by its extension."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layercli.cli._base import new_app
from layercli.cli.asking import pairs
from layercli.cli.files import formats_for, read_stack, split_formats, split_options, write_all
from layercli.cli.naming import plan
from layercli.cli.output import Output

app = new_app()


@app.command()
def convert(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="IN", help="A layered file, or a folder of layers.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The file to write, or a folder for it.")],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAMES",
            help="The format to write; several with commas. (Default: by extension.)",
            show_default=False,
        ),
    ] = None,
    source_format: Annotated[
        str | None,
        typer.Option(
            "--from-format",
            metavar="NAME",
            help="Read as this format. (Default: by extension.)",
            show_default=False,
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "-O",
            metavar="KEY=VALUE",
            help="KEY=VALUE for the format, or FORMAT.KEY=VALUE.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite instead of numbering.")] = False,
) -> None:
    """Turn a layered file into another format, by its extension.

    Example: layercli convert cat.psd cat.ora
    """
    talk: Output = ctx.obj
    names = formats_for(target, split_formats(formats or []))
    kinds = split_options(pairs(options or [], "-O"), names)
    own = {name: kinds[""] | kinds[name] for name in names}
    [targets] = plan(source.stem, 1, target, names, own, force=force)
    stack = read_stack(source, source_format)
    written = write_all(stack, targets)
    talk.line(*map(str, written))
    talk.answer(
        {
            "files": [
                {"path": str(path), "format": file.format}
                for path, file in zip(written, targets, strict=True)
            ]
        }
    )
