"""Train the embedded model, or an adapter on any model, one stage at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from layercli.cli._plugin_group import plugin_group, run_plugin
from layercli.core import registry
from layercli.core.errors import LayercliError

PACKAGE = "layercli.train"


def _command(stage: str) -> Callable[..., None]:
    def train(
        ctx: typer.Context,
        data: Annotated[str | None, typer.Option("--data", help="The data set's folder.")] = None,
        out: Annotated[
            str | None, typer.Option("--out", help="The folder for weights and checkpoints.")
        ] = None,
        steps: Annotated[int | None, typer.Option("--steps", help="How many steps in all.")] = None,
        resume: Annotated[
            bool | None, typer.Option("--resume/--no-resume", help="Go on from the checkpoint in --out.")
        ] = None,
        device: Annotated[str | None, typer.Option("--device", help="auto, cuda, mps or cpu.")] = None,
        base: Annotated[
            str | None,
            typer.Option(
                "--base", help="The model an adapter is for, which stays as it is: a name, or a folder."
            ),
        ] = None,
        options: Annotated[
            list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="KEY=VALUE for the stage.")
        ] = None,
    ) -> None:
        if base is not None and "model" not in registry.outline(PACKAGE, stage):
            raise LayercliError(
                f"{stage} trains a part of the embedded model, which has no base.",
                "Leave --base out, or: layercli train dreamlayer --base sd15",
            )
        flags = {"data": data, "out": out, "steps": steps, "resume": resume, "device": device, "model": base}
        run_plugin(ctx.obj, PACKAGE, stage, "train", options, **flags)

    return train


app = plugin_group(
    PACKAGE, _command, help="Train the embedded model, or an adapter on any model, one stage at a time."
)
