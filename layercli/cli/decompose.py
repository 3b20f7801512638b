"""Take a photo apart into layers that put it together again exactly."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from layercli.cli._base import new_app
from layercli.cli._layering import DryRun, Force, Formats, Repeat, Settings
from layercli.cli.many_photos import take_apart
from layercli.cli.output import Output
from layercli.cli.taking_apart import METHODS, plan_photos, report
from layercli.core.decompose_request import DecomposeRequest
from layercli.core.registry import outline

app = new_app()


def _option(*names: str, help: str, **extra: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **extra)


_METHOD = DecomposeRequest.method


@app.command(
    epilog=f"-O for {_METHOD}: {'; '.join(f'{key}: {is_}' for key, is_ in outline(METHODS, _METHOD).items())}"
)
def decompose(
    ctx: typer.Context,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTO...", help="Photos, folders of photos, or patterns.", show_default=False
        ),
    ] = None,
    output: Annotated[
        str | None,
        _option("--output", "-o", metavar="PATH", help="The file, or a folder. (Default: the photo's name.)"),
    ] = None,
    formats: Formats = None,
    layers: Annotated[
        str | None,
        _option("--layers", metavar="N", help="Layers in all, shadows apart, or auto. (Default: auto.)"),
    ] = None,
    objects: Annotated[
        list[str] | None,
        _option("--objects", metavar="NAMES", help='What to look for, by name: "the cat; the cup".'),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        _option("--box", metavar="[NAME=]L,T,R,B", help="An object is in this box: fractions, or pixels."),
    ] = None,
    points: Annotated[
        list[str] | None,
        _option("--point", metavar="[NAME=]X,Y", help="An object is here: fractions, or pixels."),
    ] = None,
    masks: Annotated[
        list[str] | None,
        _option("--mask", metavar="[NAME=]FILE", help="A picture, white where an object is."),
    ] = None,
    method: Annotated[
        str | None, _option("--method", metavar="NAME", help=f"How to split. (Default: {_METHOD}.)")
    ] = None,
    net: Annotated[
        str | None,
        _option("--net", metavar="NAME", help="What finds objects: auto, u2netp, modnet, classical…"),
    ] = None,
    model: Annotated[
        str | None,
        _option("--model", metavar="NAME", help="The model of a method that has one, or a folder."),
    ] = None,
    options: Settings = None,
    device: Annotated[
        str | None, _option("--device", metavar="NAME", help="The model's: auto, cuda, mps or cpu.")
    ] = None,
    dtype: Annotated[
        str | None,
        _option("--dtype", metavar="NAME", help="The model's: auto, float32, float16 or bfloat16."),
    ] = None,
    offload: Annotated[
        str | None,
        _option("--offload", metavar="HOW", help="model, sequential: less memory on the device, slower."),
    ] = None,
    seed: Annotated[
        int | None, _option("--seed", metavar="N", help="The same seed, the same pixels.")
    ] = None,
    repeat: Repeat = None,
    offline: Annotated[
        bool, typer.Option("--offline", envvar="LAYERCLI_OFFLINE", help="Fetch nothing.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, max=256, help="Photos at a time, for many photos.")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on: keep what the same command made of the same photo.")
    ] = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Take a photo apart into layers that put it together again exactly.

    Example: layercli decompose photo.jpg --box "cup=0.1,0.2,0.6,0.9"
    """
    talk: Output = ctx.obj
    planned = plan_photos(ctx.params)
    report(talk, planned, None if dry_run else take_apart(talk, planned, offline=offline, jobs=jobs))
