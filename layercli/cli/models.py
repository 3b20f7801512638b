"""List the models, fetch and check and remove them, with their licences."""

from __future__ import annotations

from typing import Annotated

import typer

from layercli.cli._base import new_app
from layercli.cli.cataloguing import count_architectures, show_model, show_table, verify_models
from layercli.cli.fetching import pull_model, remove_model
from layercli.core.errors import LayercliError

app = new_app(invoke_without_command=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.callback()
def models(ctx: typer.Context) -> None:
    """List the models, fetch and check and remove them, with their licences."""
    if ctx.invoked_subcommand is None:
        show_table(ctx.obj)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the models, their licences, where they come from, and which of them are at hand."""
    show_table(ctx.obj)


@app.command()
def info(ctx: typer.Context, name: _Name) -> None:
    """Tell all about one model, or a folder or file of one: licence, origin, files, memory, where it lies.

    Example: layercli models info sdxl
    """
    show_model(ctx.obj, name)


@app.command()
def pull(
    ctx: typer.Context,
    name: _Name,
    revision: Annotated[
        str, typer.Option(metavar="COMMIT", help="A commit, branch or tag instead of the newest.")
    ] = "",
    precision: Annotated[
        str, typer.Option(metavar="TYPE", help="float16, or float32: twice as large.")
    ] = "float16",
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept its licence without being asked.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Check what is there, and fetch anew what is not right.")
    ] = False,
) -> None:
    """Fetch a model from its hub into Hugging Face's cache; goes on where it was interrupted.

    Example: layercli models pull sdxl
    """
    pull_model(ctx.obj, name, revision=revision, precision=precision, accepted=accept_licence, again=again)


@app.command()
def verify(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    meta: Annotated[
        bool, typer.Option("--meta", help="Count the parameters of architectures, without weights.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Verify everything there is.")] = False,
) -> None:
    """Check the files of models by size and hash, or with --meta architectures against what was published.

    Example: layercli models verify --meta sdxl
    """
    if bool(names) == every:
        way = " --meta" if meta else ""
        raise LayercliError("Say which to verify, or --all.", f"Try: layercli models verify{way} --all")
    if meta:
        count_architectures(ctx.obj, names or [])
    else:
        verify_models(ctx.obj, names or [])


@app.command()
def remove(
    ctx: typer.Context,
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model from Hugging Face's cache, and free its disk space.

    Example: layercli models remove sdxl --yes
    """
    remove_model(ctx.obj, name, yes=yes)
