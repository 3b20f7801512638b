"""Build the data sets that training reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from layercli.cli._plugin_group import plugin_group, run_plugin
from layercli.cli.files import read_stack
from layercli.core import registry

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
        tools = {"read_stack": read_stack} if name in registry.constants(PACKAGE, "READS_FILES") else {}
        run_plugin(ctx.obj, PACKAGE, name, "build", options, tools, **flags)

    return build


app = plugin_group(PACKAGE, _command, help="Build the data sets that training reads.")
