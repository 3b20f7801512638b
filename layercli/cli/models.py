"""List the models and which of them are at hand."""

import typer

app = typer.Typer(add_completion=False)


@app.command()
def models(ctx: typer.Context) -> None:
    """List the models and which of them are at hand."""
