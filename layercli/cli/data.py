"""Build the data sets that training reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from layercli.cli._plugin_group import plugin_group, run_plugin
from layercli.cli.files import read_stack
from layercli.core import registry
from layercli.core.errors import LayercliError

PACKAGE = "layercli.data"


def _command(name: str) -> Callable[..., None]:
    return _photos if name == "photos" else _plain(name)


def _photos(
    ctx: typer.Context,
    photos: Annotated[str | None, typer.Option("--from-photos", metavar="DIR", help="Photos.")] = None,
    prompts: Annotated[
        str | None,
        typer.Option("--from-prompts", metavar="FILE", help="Descriptions, a line each, to draw first."),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="The folder to write.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="What draws: see layercli models.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cuda, mps or cpu.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="KEY=VALUE for the data set.")
    ] = None,
) -> None:
    flags = {"photos": photos, "prompts": prompts, "out": out, "model": model, "device": device}
    run_plugin(ctx.obj, PACKAGE, "photos", "build", options, workers=jobs, **flags)


def _plain(name: str) -> Callable[..., None]:
    def build(
        ctx: typer.Context,
        corpus: Annotated[str | None, typer.Option("--corpus", help="The folder of the corpus.")] = None,
        data: Annotated[str | None, typer.Option("--data", help="The data set to start from.")] = None,
        out: Annotated[str | None, typer.Option("--out", help="The folder to write.")] = None,
        device: Annotated[str | None, typer.Option("--device", help="auto, cuda, mps or cpu.")] = None,
        options: Annotated[
            list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="KEY=VALUE for the data set.")
        ] = None,
    ) -> None:
        flags = {"corpus": corpus, "data": data, "out": out, "device": device}
        run_plugin(ctx.obj, PACKAGE, name, "build", options, _tools(name), **flags)

    return build


def _tools(name: str) -> dict[str, Any]:
    """What a data set's command needs of floors that it may not import."""
    return {"read_stack": read_stack} if name in registry.constants(PACKAGE, "READS_FILES") else {}


def _build(
    ctx: typer.Context,
    data: Annotated[
        str | None, typer.Option("--from-data", metavar="DIR", help="A prepared data set, composed anew.")
    ] = None,
    models: Annotated[
        str | None, typer.Option("--from-models", metavar="DIR", help="Catalogues of 3D models, rendered.")
    ] = None,
    photos: Annotated[
        str | None, typer.Option("--from-photos", metavar="DIR", help="Photos, taken apart.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            "--from-prompts", metavar="FILE", help="Descriptions, a line each, drawn and taken apart."
        ),
    ] = None,
    files: Annotated[
        str | None, typer.Option("--from-files", metavar="DIR", help="Your own layered files.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="The folder to write.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="KEY=VALUE for the source's command.")
    ] = None,
) -> None:
    """Layered training pictures from one source: a prepared data set, 3D models, photos, descriptions, files.

    What the command of that source does (layered, rooms, photos, files), whose -O options go here too; with
    no source named, runs/data is composed.
    """
    found = {"data": data, "models": models, "photos": photos, "prompts": prompts, "files": files}
    named = {key: value for key, value in found.items() if value is not None}
    if len(named) > 1:
        raise LayercliError(
            f"Pictures come from one source, not from {' and '.join(f'--from-{key}' for key in named)}.",
            "Run the command once for each, with --out for each; training takes several: --data A,B",
        )
    key, value = next(iter(named.items()), ("data", None))
    name = {"data": "layered", "models": "rooms", "files": "files"}.get(key, "photos")
    flags = {"data" if key == "files" else key: value, "out": out}
    run_plugin(ctx.obj, PACKAGE, name, "build", options, _tools(name), workers=jobs, **flags)


app = plugin_group(PACKAGE, _command, help="Build the data sets that training reads.", more={"build": _build})
