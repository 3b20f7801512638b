"""Draw foregrounds on transparency over a complete background, from words."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from layercli.cli._base import new_app
from layercli.cli._layering import DryRun, Force, Formats, Repeat, Settings
from layercli.cli.asking import default_of
from layercli.cli.making import METHODS, make, plan_pictures, report
from layercli.cli.output import Output
from layercli.cli.splitting import with_split
from layercli.core.registry import outline
from layercli.models.entries import default_steps

app = new_app()


def _option(*names: str, help: str, field: str = "", **extra: Any) -> Any:
    """An option whose help shows the default that the request holds."""
    if field and default_of(field) != "":
        default = default_of(field)
        help = (
            f"{help} (Default: {default:g}.)"
            if isinstance(default, float)
            else f"{help} (Default: {default}.)"
        )
    return typer.Option(*names, help=help, show_default=False, **extra)


_METHOD = default_of("method")


@app.command(
    epilog=f"-O for {_METHOD}: {'; '.join(f'{key}: {is_}' for key, is_ in outline(METHODS, _METHOD).items())}"
)
def generate(
    ctx: typer.Context,
    foregrounds: Annotated[
        list[str] | None,
        _option("--fg", metavar="PROMPT", help="A foreground; give it again for the next one in front."),
    ] = None,
    background: Annotated[str | None, _option("--bg", metavar="PROMPT", help="What lies behind.")] = None,
    prompt: Annotated[
        str | None,
        _option(
            "--prompt",
            metavar="TEXT",
            help="The whole picture in words; what --fg and --bg leave out is split from it.",
        ),
    ] = None,
    planner: Annotated[
        str | None,
        _option("--planner", metavar="FOLDER", help="A language model to split --prompt. (Default: rules.)"),
    ] = None,
    negative: Annotated[
        str | None, _option("--negative", metavar="TEXT", help="What no layer shall show.")
    ] = None,
    style: Annotated[
        str | None,
        _option("--style", metavar="WORDS", help="A style for all layers: 3d render, flat, photo…"),
    ] = None,
    output: Annotated[
        str | None,
        _option(
            "--output",
            "-o",
            metavar="PATH",
            help="The file, or a folder for it. (Default: named by the prompts.)",
        ),
    ] = None,
    formats: Formats = None,
    size: Annotated[
        str | None, _option("--size", metavar="WxH", help="WIDTHxHEIGHT in pixels.", field="size")
    ] = None,
    seed: Annotated[
        int | None, _option("--seed", metavar="N", help="The same seed, the same pixels.", field="seed")
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Pictures, with seeds from --seed on.")
    ] = 1,
    steps: Annotated[
        int | None,
        _option(
            "--steps",
            metavar="N",
            help=f"Denoising steps. (Default: {default_steps('embedded')} of embedded, "
            f"{default_of('steps')} of others.)",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        _option("--guidance", metavar="X", help="How closely to follow the words.", field="guidance"),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        _option("--box", metavar="KEY=L,T,R,B", help='Where a foreground stands: "cat=0.1,0.4,0.5,0.9".'),
    ] = None,
    masks: Annotated[
        list[str] | None,
        _option(
            "--mask", metavar="KEY=FILE", help='A picture, white where a foreground stands: "cat=m.png".'
        ),
    ] = None,
    given: Annotated[
        str | None,
        _option(
            "--given",
            metavar="FILE",
            help="A picture that is there: the background, or with transparency the foreground.",
        ),
    ] = None,
    harmonize: Annotated[
        str | None,
        _option(
            "--harmonize",
            metavar="HOW",
            help="irh: shadow and light as layers; over: without; none: layers on their own.",
            field="harmonize",
        ),
    ] = None,
    model: Annotated[
        str | None, _option("--model", metavar="NAME", help="See: layercli models.", field="model")
    ] = None,
    method: Annotated[
        str | None, _option("--method", metavar="NAME", help="How layers are made.", field="method")
    ] = None,
    options: Settings = None,
    device: Annotated[
        str | None, _option("--device", metavar="NAME", help="auto, cuda, mps or cpu.", field="device")
    ] = None,
    dtype: Annotated[
        str | None,
        _option("--dtype", metavar="NAME", help="auto, float32, float16 or bfloat16.", field="dtype"),
    ] = None,
    offload: Annotated[
        str | None,
        _option(
            "--offload",
            metavar="HOW",
            help="model, sequential: less memory on the device, slower, the same picture.",
            field="offload",
        ),
    ] = None,
    repeat: Repeat = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Draw foregrounds on transparency over a complete background, from words.

    Example: layercli generate --fg "a cat" --bg "a sofa" -o cat.psd --seed 7
    """
    talk: Output = ctx.obj
    asked, split = with_split(talk, ctx.params)
    pictures = plan_pictures(asked, split)
    report(talk, pictures, [] if dry_run else make(talk, pictures))
