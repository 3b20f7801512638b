"""The program: finds the command, runs it, and turns every failure into one sentence and an exit code."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from layercli import __version__
from layercli.cli._base import new_app, with_output_flags
from layercli.cli.output import Output
from layercli.cli.sentences import BROKEN_PIPE, BUG, STOPPED, USAGE, confess, explain
from layercli.core.errors import LayercliError
from layercli.core.registry import suggest

COMMANDS = ("generate", "decompose", "edit", "show", "convert", "eval", "models", "doctor", "data", "train")
"""In the order of the help; each is the file of its name, which holds a typer app called `app`."""


class CommandGroup(TyperGroup):
    """A group whose commands are files: only the one that is asked for is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands by the first line of their files, so that the help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name)) for name in COMMANDS])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            raise LayercliError(f'There is no command "{cmd_name}".', suggest(cmd_name, COMMANDS))
        command = typer.main.get_command(importlib.import_module(f"layercli.cli.{cmd_name}").app)
        command.name = cmd_name
        return with_output_flags(command)

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run one command line and leave the process with its exit code: the only error boundary."""
        output = Output()
        extra |= {"prog_name": "layercli", "standalone_mode": False, "obj": output}
        try:
            with output.noting():
                code = super().main(args, **extra)
            sys.stdout.flush()
        except BaseException as error:
            sys.exit(_leave(error, output))
        if code == STOPPED:
            output.say("Stopped. No file was left half-written.")
        sys.exit(code if isinstance(code, int) else 0)


def _summary(command: str) -> str:
    tree = ast.parse(Path(__file__).with_name(f"{command}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def _leave(error: BaseException, output: Output) -> int:
    if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
        return error.code if isinstance(error.code, int) else BUG
    if isinstance(error, BrokenPipeError | SystemExit):
        # The reader is gone; without this the interpreter complains once more while it closes stdout.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        output.say("Stopped. No file was left half-written.")
        return STOPPED
    if output.debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, typer.TyperException):
        output.fail(_usage(error))
        return USAGE
    known = explain(error)
    output.fail(known or confess(error))
    return USAGE if known else BUG


def _usage(error: typer.TyperException) -> LayercliError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "layercli"
    message = error.format_message().strip().rstrip(".")
    return LayercliError(f"{message}.", f"Try: {path} --help")


app = new_app(
    cls=CommandGroup,
    add_completion=True,
    help="Make, change, look at and convert layered pictures.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"layercli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """Run the command line of this process."""
    # A stream that was closed from outside is none; what is said there is lost, and the work is done.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a "?" for it, not a crash.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
