"""List the layers of a file and draw them side by side as a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layercli.cli._base import new_app
from layercli.cli.files import read_stack, write_picture
from layercli.cli.naming import check_folder
from layercli.cli.output import Output

if TYPE_CHECKING:
    from layercli.core.layers import Layer, LayerStack

app = new_app()

COLUMNS = ("", "layer", "blend", "opacity", "size", "at", "group", "prompt")


@app.command()
def show(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A layered file, or a folder of layers.")],
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet", "-o", help="The contact sheet. (Default: FILE-sheet.png.)", show_default=False
        ),
    ] = None,
    no_sheet: Annotated[bool, typer.Option("--no-sheet", help="List only.")] = False,
    page: Annotated[
        bool, typer.Option("--html", help="Write FILE.html too: one page to switch, drag and fade layers on.")
    ] = False,
    width: Annotated[int, typer.Option(help="Width of the sheet in pixels.")] = 1600,
    background: Annotated[str, typer.Option(help="Paper of the sheet: light or dark.")] = "light",
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Read as this format. (Default: by extension.)",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the sheet instead of numbering.")] = False,
) -> None:
    """List the layers of a file and draw them side by side as a contact sheet.

    Example: layercli show cat.psd
    """
    talk: Output = ctx.obj
    target = None if no_sheet else sheet or file.with_name(f"{file.stem}-sheet.png")
    if target is not None:
        check_folder(target.parent)
    stack = read_stack(file, format)
    made = _page(file, stack, force=force) if page else None
    if made is not None:
        talk.say(f"Wrote {made}")
    if target is not None:
        from layercli.core.sheet import draw_sheet

        pixels = draw_sheet(stack, width, background)  # type: ignore[arg-type]
        target = write_picture(target, pixels, force=force)
        talk.say(f"Drew {target}")
    talk.table(
        {**describe(file, stack, target), "page": str(made) if made else None},
        COLUMNS,
        [_row(number, layer) for number, layer in enumerate(stack.layers)],
    )


def _page(file: Path, stack: LayerStack, *, force: bool) -> Path:
    """Write the page of a file beside it, things with their shadow and light; returns its path."""
    from layercli.core.page import draw_page
    from layercli.edit._effects import owned
    from layercli.formats._files import atomic, unique_path

    path = file.with_suffix(".html")
    path = path if force else unique_path(path)
    together = {}
    for name in stack.names:
        parted, effects = owned(stack, name)
        if parted is stack:  # what several things share stays where it is
            together[name] = effects
    with atomic(path) as part:
        part.write_text(draw_page(stack, file.name, together), encoding="utf-8")
    return path


def describe(file: Path, stack: LayerStack, sheet: Path | None = None) -> dict[str, Any]:
    """What a stack holds, in plain values."""
    return {
        "file": str(file),
        "canvas": [stack.canvas.width, stack.canvas.height],
        "layers": [_layer(layer) for layer in stack.layers],
        "receipt": stack.receipt.request if stack.receipt else None,
        "sheet": str(sheet) if sheet else None,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "size": [layer.size.width, layer.size.height],
        "offset": [layer.offset.left, layer.offset.top],
        "opacity": layer.opacity,
        "blend": layer.blend,
        "visible": layer.visible,
        "mask": layer.mask is not None,
        "group": list(layer.group),
        "prompt": layer.prompt,
    }


def _row(number: int, layer: Layer) -> list[str]:
    shown = layer.name if layer.visible else f"{layer.name} (hidden)"
    place = f"{layer.offset.left},{layer.offset.top}"
    group = "/".join(layer.group)
    return [
        str(number),
        shown,
        layer.blend,
        f"{layer.opacity:.0%}",
        str(layer.size),
        place,
        group,
        layer.prompt,
    ]
