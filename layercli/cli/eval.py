"""Score a folder of layered pictures, alone or against a reference: layercli eval DIR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from layercli.cli._base import new_app, with_output_flags
from layercli.cli._layering import Force
from layercli.core import registry
from layercli.core.errors import LayercliError

if TYPE_CHECKING:
    from layercli.cli.output import Output

PACKAGE = "layercli.evaluate"
WITHOUT_TRUTH = ("recomposition", "leakage", "layers", "health", "seam", "recognition", "variety", "speed")
WITH_REFERENCE = ("alpha", "decomposition", "harmony", "locality", "kid", "fid")


class DefaultGroup(TyperGroup):
    """A group whose first word may also be a folder, for the command called `default`."""

    default = ""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = args and args[0] in self.list_commands(ctx)
        return super().resolve_command(ctx, args if known else [self.default, *args])


class EvalGroup(DefaultGroup):
    """`layercli eval DIR` is `layercli eval run DIR`; `study` is a group of its own."""

    default = "run"

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), "study"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name != "study":
            return super().get_command(ctx, cmd_name)
        command = typer.main.get_command(study)
        command.name = cmd_name
        return with_output_flags(command)


class StudyGroup(DefaultGroup):
    """`layercli eval study A B` is `layercli eval study make A B`."""

    default = "make"


app = new_app(
    cls=EvalGroup,
    help="Score a folder of layered pictures, alone or against a reference: layercli eval DIR.",
    invoke_without_command=True,
    subcommand_metavar="[DIR | COMMAND] …",
)


study = new_app(
    cls=StudyGroup,
    help="Make a blind study of one or two runs, and score what raters say.",
    invoke_without_command=True,
    subcommand_metavar="[DIR [DIR] | COMMAND] …",
)


@app.callback()
@study.callback()
def _help(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command()
def run(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of samples.")],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="DIR", help="Real pictures or true layers to compare with."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="NAMES", help="Which, with commas. See: layercli eval metrics."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="As a paper: dreamlayer, layerdiff, layerfusion or layerd."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="DIR", help="Another run, or a baseline of this one: flat, cutout."
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="auto, files, parts, numbered, single, layerdiffuse or pictures.")
    ] = "auto",
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A report: .json, .html, .csv or .tex; repeatable."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("-O", metavar="METRIC.KEY=VALUE", help="An option of a metric: kid.net=inception."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the intervals.")] = 0,
    cache: Annotated[bool, typer.Option(help="Keep features for the next time.")] = True,
    force: Force = False,
) -> None:
    """Score a folder of layered pictures: `layercli eval DIR` for short.

    Example: layercli eval pictures --reference photos -o report.html
    """
    from layercli.cli.evaluating import Asked, by_protocol, evaluate_folder, report, write_reports

    talk: Output = ctx.obj
    asked = Asked(
        folder=folder, reference=reference, layout=layout, seed=seed, cache=cache,
        metrics=_names(metrics, reference is not None), named=metrics is not None,
        against="" if against is None else str(against), options=_options(options or []),
    )  # fmt: skip
    if protocol is not None:
        asked = by_protocol(ctx.obj, asked, protocol)
    paths = _checked(output or [])
    found = evaluate_folder(talk, asked)
    other = None
    if against is not None:
        other = evaluate_folder(talk, asked.of(against))
    report(talk, found, other, write_reports(talk, found, other, paths, force=force))


@app.command()
def compare(
    ctx: typer.Context,
    first: Annotated[Path, typer.Argument(metavar="A.json", help="A report that eval wrote.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Another one.")],
) -> None:
    """Compare two JSON reports, and refuse where their settings differ.

    Example: layercli eval compare before.json after.json
    """
    from layercli.cli.evaluating import report_comparison
    from layercli.evaluate._document import compared, read_document

    report_comparison(ctx.obj, compared(read_document(first), read_document(second)))


@app.command()
def metrics(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one's options.")] = None,
) -> None:
    """List the metrics, what each needs, and the options of one.

    Example: layercli eval metrics kid
    """
    known = registry.plugins(PACKAGE)
    if name is not None:
        fields = registry.outline(PACKAGE, name)
        rows = [(key, is_) for key, is_ in fields.items()]
        ctx.obj.table({"metric": name, "options": fields}, ("option", "default"), rows)
        return
    needs, numbers = (registry.constants(PACKAGE, constant) for constant in ("NEEDS", "NUMBERS"))
    listed = [
        {"metric": key, "needs": needs[key], "numbers": list(numbers[key]), "help": text}
        for key, text in known.items()
    ]
    ctx.obj.table(
        {"metrics": listed},
        ("metric", "needs", "numbers", ""),
        [(one["metric"], one["needs"], ", ".join(one["numbers"]), one["help"]) for one in listed],
    )


@app.command()
def embedded(
    ctx: typer.Context,
    out: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="For pictures and reports; resumed if there."),
    ] = Path("scoreboard"),
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A model with its own alpha, or its folder.")
    ] = "embedded",
    nouns: Annotated[
        str | None, typer.Option(metavar="N|NAMES", help="How many nouns, or which. (Default: all 100.)")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="Seeds a noun. (Default: 4.)")] = None,
    stacks: Annotated[
        int | None, typer.Option(min=0, help="Layered prompts, of 50; 0 for none. (Default: 50.)")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Methods for them, with commas, or all.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Denoising steps. (Default: the model's.)")
    ] = None,
    guidance: Annotated[float, typer.Option(help="How closely to follow the words.")] = 4.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="20 nouns, 2 seeds, 4 layered prompts, 12 steps.")
    ] = False,
) -> None:
    """Score the embedded model: recognition, KID, alpha, layers, variety, synonyms, seconds.

    Example: layercli eval embedded --quick -o scoreboard
    """
    from layercli.cli.scoreboard import asked_for, report, run_board

    asked = asked_for(
        out=out, model=model, nouns=nouns, seeds=seeds, stacks=stacks, methods=methods, steps=steps,
        guidance=guidance, quick=quick,
    )  # fmt: skip
    report(ctx.obj, run_board(ctx.obj, asked), out)


@app.command()
def bench(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="DIR", help="For pictures and reports; resumed if there.")],
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Lines of "a thing + a thing / a ground".')
    ] = None,
    most: Annotated[int, typer.Option(min=0, help="Only so many prompts, evenly spread; 0 for all.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds a prompt.")] = 3,
    model: Annotated[str, typer.Option(metavar="NAME", help="See: layercli models.")] = "embedded",
    method: Annotated[str | None, typer.Option(metavar="NAME", help="How layers are made.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("-O", metavar="KEY=VALUE", help="An option of the method.")
    ] = None,
    harmonize: Annotated[str | None, typer.Option(metavar="WAY", help="irh, over or none.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="In pixels. (Default: the protocol's, or 256x256.)")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the words.")] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help="dreamlayer, layerdiff, layerfusion or layerd.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(metavar="DIR", help="What to compare with.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another bench or run, or a baseline: flat, cutout.")
    ] = None,
) -> None:
    """Draw prompts with seeds, evaluate and report, in one folder that resumes after an interrupt.

    Example: layercli eval bench bench --most 4 --seeds 3
    """
    from layercli.cli.asking import pairs
    from layercli.cli.bench import Bench, run_bench
    from layercli.cli.evaluating import report
    from layercli.core.geometry import Size
    from layercli.core.requests import GenerateRequest as Defaults
    from layercli.models.entries import default_steps

    asked = Bench(
        out=out, prompts=prompts, most=most, seeds=seeds, model=model, method=method or Defaults.method,
        steps=steps or default_steps(model), guidance=Defaults.guidance if guidance is None else guidance,
        protocol=protocol, reference=reference, against=against, options=pairs(options or [], "-O"),
        harmonize=harmonize or Defaults.harmonize, size=None if size is None else Size.parse(size),
    )  # fmt: skip
    report(ctx.obj, *run_bench(ctx.obj, asked))


@study.command()
def make(
    ctx: typer.Context,
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="One run to rate, or two to compare.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.html", help="The page; its key is written beside it."),
    ] = Path("study.html"),
    mode: Annotated[str, typer.Option(help="pairs or rating. (Default: pairs for two runs.)")] = "",
    most: Annotated[int, typer.Option(min=1, help="The most samples.")] = 40,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the shuffling.")] = 0,
    force: Force = False,
) -> None:
    """Make one page that shows pictures blind and shuffled: `layercli eval study A B` for short.

    Example: layercli eval study before after -o study.html
    """
    from layercli.cli.studying import make_study

    make_study(ctx.obj, folders, _checked([output])[0], mode, most, seed, force=force)


@study.command()
def score(
    ctx: typer.Context,
    key: Annotated[
        Path, typer.Argument(metavar="KEY.json", help="The key that was written beside the page.")
    ],
    ratings: Annotated[list[Path], typer.Argument(metavar="RATINGS.json…", help="What raters saved.")],
) -> None:
    """Turn ratings into means or preferences with intervals.

    Example: layercli eval study score study.key.json ratings.json
    """
    from layercli.cli.studying import report_study

    report_study(ctx.obj, key, ratings)


def _names(given: str | None, with_reference: bool) -> tuple[str, ...]:
    if given is None:
        return WITHOUT_TRUTH + (WITH_REFERENCE if with_reference else ())
    known = registry.plugins(PACKAGE)
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise LayercliError(f'There is no metric "{name}".', registry.suggest(name, known))
    if not names:
        raise LayercliError("No metric is named.", registry.suggest("", known))
    return names


def _options(texts: list[str]) -> dict[str, dict[str, str]]:
    from layercli.cli.asking import pairs

    sorted_: dict[str, dict[str, str]] = {}
    for key, value in pairs(texts, "-O").items():
        metric, dot, option = key.partition(".")
        if not dot:
            raise LayercliError(f'"-O {key}={value}" names no metric.', f"Try: -O kid.{key}={value}")
        sorted_.setdefault(metric, {})[option] = value
    return sorted_


def _checked(paths: list[Path]) -> list[Path]:
    from layercli.cli.naming import check_folder

    for path in paths:
        if path.suffix.lower() not in (".json", ".html", ".csv", ".tex"):
            raise LayercliError(f"A report cannot be {path}.", "Try: -o report.html (or .json, .csv, .tex)")
        check_folder(path.parent)
    return paths
