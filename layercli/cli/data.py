"""Build the data sets that training reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from layercli.cli._plugin_group import plugin_group, run_plugin

PACKAGE = "layercli.data"


def _command(name: str) -> Callable[..., None]:
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
        run_plugin(ctx.obj, PACKAGE, name, "build", options, **flags)

    return build


app = plugin_group(PACKAGE, _command, help="Build the data sets that training reads.")
