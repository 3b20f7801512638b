"""A command group whose commands are the plug-ins of a package, listed without importing any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from layercli.cli._base import new_app, with_output_flags
from layercli.cli.asking import pairs
from layercli.cli.output import Output
from layercli.core import registry


def plugin_group(
    package: str,
    make_command: Callable[[str], Callable[..., None]],
    help: str,
    more: Mapping[str, Callable[..., None]] | None = None,
) -> typer.Typer:
    """Build a group with one command per plug-in; make_command(name) gives the function it runs.

    more: commands beside them, which stand first; their docstrings are their help.
    """
    beside = more or {}

    class PluginGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [*beside, *registry.plugins(package)]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in beside:
                alone = new_app()
                alone.command(cmd_name)(beside[cmd_name])
                return with_output_flags(typer.main.get_command(alone))
            fields = registry.outline(package, cmd_name)
            listed = "\n\n".join(f"{name}: {text}" for name, text in fields.items())
            one_line = registry.plugins(package)[cmd_name]
            single = new_app()
            command = single.command(
                cmd_name, help=f"{one_line}\n\nOptions for -O:\n\n{listed}", short_help=one_line
            )
            command(make_command(cmd_name))
            return with_output_flags(typer.main.get_command(single))

    group = new_app(cls=PluginGroup, help=help, invoke_without_command=True)
    group.callback()(_show_help)
    return group


def run_plugin(
    talk: Output,
    package: str,
    name: str,
    verb: str,
    options: list[str] | None,
    tools: Mapping[str, Any] | None = None,
    /,
    **flags: str | int | bool | None,
) -> None:
    """Check `-O key=value` and the flags that were given against the plug-in's Options, run it, report.

    tools: what the verb needs of floors that it may not import, by the names of its parameters.
    """
    given = {key: _text(value) for key, value in flags.items() if value is not None}
    module = registry.load(package, name)
    checked = registry.options_for(module, given | pairs(options or [], "-O"))
    with talk.progress(name) as on_step:
        made = getattr(module, verb)(checked, on_step, **(tools or {}))
    if hasattr(module, "summary"):
        talk.say(module.summary(made))
    talk.line(str(made))
    talk.answer({"made": str(made)})


def _text(value: str | int | bool) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _show_help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
