"""The one place that prints: answers go to stdout, talk goes to stderr."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import typer

from layercli.core.errors import LayercliError, Note

OnStep = Callable[[int, int], None]


@dataclass
class Output:
    """How to answer: for people (the default), as one JSON object (json), or without talk (quiet)."""

    json: bool = False
    quiet: bool = False
    debug: bool = False

    def say(self, text: str) -> None:
        """Tell what is going on, on stderr; nobody is told when quiet or json."""
        if not (self.quiet or self.json):
            typer.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Tell what a person should know although nothing failed; only quiet keeps it back."""
        if not self.quiet:
            typer.echo(f"{typer.style('Note:', fg='yellow')} {text}", err=True)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Tell every Note that is warned of while the body runs; other warnings stay what they are."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", Note)
            usual = warnings.showwarning

            def tell(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
                if issubclass(category, Note):
                    self.warn(str(message))
                else:
                    usual(message, category, *place, **more)

            warnings.showwarning = cast(Any, tell)
            yield

    def fail(self, error: LayercliError) -> None:
        """Tell what went wrong and what to type next, on stderr, always."""
        typer.echo(f"{typer.style('Error:', fg='red')} {error.message}", err=True)
        if error.hint:
            typer.echo(error.hint, err=True)

    def line(self, *texts: str) -> None:
        """Give a part of the answer on stdout, at once; json answers with everything at the end."""
        if not self.json:
            for text in texts:
                typer.echo(text)

    def answer(self, data: Mapping[str, Any]) -> None:
        """Give the whole answer as one JSON object on stdout, where json is asked for."""
        if self.json:
            typer.echo(json.dumps(data, ensure_ascii=False, indent=2))

    def table(self, data: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Give an answer that is a table, on stdout; with json the data as one JSON object."""
        if self.json:
            self.answer(data)
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        # A pipe has no width; a table folded at 80 columns would break what the next program looks for.
        console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 10_000)
        with console.capture() as drawn:
            console.print(table)
        for line in filter(str.strip, drawn.get().splitlines()):
            typer.echo(line.rstrip())

    @contextmanager
    def progress(self, label: str, *, of_bytes: bool = False) -> Iterator[OnStep]:
        """Draw a progress bar on stderr while the body runs; the body calls on_step(done, total)."""
        if self.quiet or self.json or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn() if of_bytes else MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
