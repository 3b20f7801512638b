"""Change single layers of a file and keep everything else as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layercli.cli._base import new_app
from layercli.cli.chaining import BOXES, EDITS, usage
from layercli.core.registry import plugins

app = new_app()


@app.command(
    context_settings={"ignore_unknown_options": True},
    epilog="\n\n".join(
        ["Edits:", *(f"{usage(name)}: {text}" for name, text in plugins(EDITS).items()), "Boxes:", *BOXES]
    ),
)
def edit(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A layered file, or a folder of layers.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="EDIT LAYER… [then EDIT LAYER…]", help="What to do.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write this file instead of FILE.", show_default=False),
    ] = None,
    backup: Annotated[bool, typer.Option("--backup", help="Keep the old file as NAME-backup.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and stop.")] = False,
    script: Annotated[
        Path | None,
        typer.Option("--script", help="Read the edits from a JSON or YAML file.", show_default=False),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay", help="Do what was done to this file, to FILE (or: onto FILE).", show_default=False
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="For edits that draw; see: layercli models.")
    ] = "embedded",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cuda, mps or cpu.")] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="NAME", help="auto, float32, float16 or bfloat16.")
    ] = "auto",
    offload: Annotated[
        str, typer.Option("--offload", metavar="HOW", help="model, sequential: less memory on the device.")
    ] = "none",
    locked: Annotated[bool, typer.Option("--locked", help="Edit layers that are locked, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite -o instead of numbering.")] = False,
) -> None:
    """Change single layers of a file and keep everything else as it is.

    Example: layercli edit cat.psd move cat --by 40,0 then opacity shadows 60%
    """
    from layercli.cli.editing import edit_file

    edit_file(ctx.obj, file, words or [], ctx.params)
