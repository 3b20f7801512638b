"""What all commands share: how an app is made, and the flags of every command."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def new_app(**settings: Any) -> typer.Typer:
    """A typer app with plain help: drawing frames around it would take a third of the time of `--help`."""
    return typer.Typer(**{"add_completion": False, "rich_markup_mode": None, **settings})


def with_output_flags(command: Any) -> Any:
    """Give a command, and every command of a group, the flags that all commands share."""
    have = {param.name for param in command.params}
    flags = typer.main.get_command(_flags).params
    command.params += [param for param in flags if param.name not in have]
    for child in getattr(command, "commands", {}).values():
        with_output_flags(child)
    return command


def _set(ctx: typer.Context, param: typer.CallbackParam, value: bool) -> None:
    if value:
        setattr(ctx.obj, str(param.name), True)


def _flag(name: str, text: str) -> Any:
    return typer.Option(name, help=text, callback=_set, expose_value=False, is_eager=True, show_default=False)


_flags = new_app()


@_flags.command()
def _declare_flags(
    json: Annotated[bool, _flag("--json", "Answer with one JSON object on stdout.")] = False,
    quiet: Annotated[bool, _flag("--quiet", "Say nothing but the answer.")] = False,
    debug: Annotated[bool, _flag("--debug", "Show the traceback of an error.")] = False,
) -> None:
    """Never run: its parameters are given to every command."""
