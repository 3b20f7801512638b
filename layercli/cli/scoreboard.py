"""The scoreboard of a model with alpha of its own: draw what is missing, measure all of it, tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layercli.cli.board_methods import Asked, layered_by, methods_for
from layercli.cli.drawing import hold_to, model_weights
from layercli.cli.evaluating import versions
from layercli.cli.frames import Frame, draw, frames_of, load_frame, rows_of, run_of
from layercli.cli.naming import check_folder
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest
from layercli.evaluate import _board as board
from layercli.evaluate._board_methods import compare_methods
from layercli.evaluate._document import SCHEMA, figure
from layercli.evaluate._run import Evaluation, evaluate, load_metrics
from layercli.formats._files import atomic
from layercli.models.entries import default_steps

OBJECT_METRICS = ("recognition", "health", "variety")
CLASSIFIER_NOTE = "trained on real objects alone; it has seen no generated picture"


_QUICK = {"nouns": 20, "seeds": 2, "stacks": 4, "steps": 12}
_FULL = {"nouns": 100, "seeds": 4, "stacks": 50}


def asked_for(
    *,
    out: Path,
    model: str,
    nouns: str | None,
    seeds: int | None,
    stacks: int | None,
    methods: str | None,
    steps: int | None,
    guidance: float,
    quick: bool,
) -> Asked:
    """What was typed over the sizes of the full board, or of the quick one; raises LayercliError."""
    sizes = _QUICK if quick else _FULL
    many = sizes["stacks"] if stacks is None else stacks
    return Asked(
        model=model,
        nouns=_nouns(nouns or str(sizes["nouns"])),
        seeds=seeds or sizes["seeds"],
        stacks=many,
        scenes=len(board.SCENES) if many else 0,
        methods=methods_for(methods, model),
        steps=steps or sizes.get("steps") or default_steps(model),
        guidance=guidance,
        out=out,
    )


def _nouns(text: str) -> tuple[str, ...]:
    """The first N nouns of the classifier's list, or those that are named."""
    from layercli.vision.object_net import embedded_net

    known = embedded_net().nouns
    if text.strip().isdecimal():
        if not 1 <= int(text) <= len(known):
            raise LayercliError(f"There are {len(known)} nouns, not {text}.", "Try: --nouns 20")
        return known[: int(text)]
    named = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    for word in named:
        if word not in known:
            raise LayercliError(f'The classifier does not know "{word}".', registry.suggest(word, known))
    return named


def run_board(talk: Output, asked: Asked) -> dict[str, Any]:
    """The scoreboard as plain values, written into its folder; pictures that are there are kept."""
    from layercli.vision.object_net import FOLDER, load_object_net

    asked.out.mkdir(parents=True, exist_ok=True)
    check_folder(asked.out)
    net, config = load_object_net()
    wrong = [noun for noun in asked.nouns if noun not in net.nouns]
    if wrong:
        raise LayercliError(
            f'The classifier does not know "{wrong[0]}".', registry.suggest(wrong[0], net.nouns)
        )
    ceiling = board.ceiling_of(config, asked.nouns)
    reference = board.reference_rows(FOLDER)
    words = [word for word, noun in board.SYNONYMS.items() if noun in asked.nouns]
    objects = frames_of(asked.out / "objects", asked.nouns, asked.seeds, article=True)
    others = frames_of(asked.out / "objects", words, asked.seeds, article=True)
    scenes = frames_of(asked.out / "scenes", board.SCENES[: asked.scenes], asked.seeds, article=False)
    settings = {"model": asked.model, "steps": asked.steps, "guidance": asked.guidance}
    weights = model_weights(asked.model)
    # Adapters are held to by method, so that a new one leaves objects and other methods' pictures standing.
    base = {name: digest for name, digest in weights.items() if "adapter" not in name}
    hold_to(asked.out, {**settings, "weights": base})
    draw(talk, asked.model, [*objects, *others], "foreground", steps=asked.steps, guidance=asked.guidance)
    draw(talk, asked.model, scenes, "background", steps=asked.steps, guidance=asked.guidance)
    layered = {name: layered_by(talk, asked, name) for name in asked.methods} if asked.stacks else {}
    methods = {name: told for name, (told, _) in layered.items()}
    found = _measured(talk, "objects", objects, OBJECT_METRICS)
    heard = _measured(talk, "synonyms", others, ("recognition",)) if others else Evaluation()
    nouns = {str(frame.file): frame.word for frame in objects}
    top = {name: board.by_noun(found, nouns, f"recognition.{name}") for name in ("top1", "top5")}
    rates = {name: board.rate(values) for name, values in top.items()}
    drawn = board.by_noun(heard, {str(frame.file): frame.word for frame in others}, "recognition.top1")
    compared = board.synonyms(top["top1"], drawn)
    usual = methods.get(GenerateRequest.method) or next(iter(methods.values()), None)
    seconds = usual["shell"]["seconds"] if usual else None
    made = {
        "layercli_board": SCHEMA,
        "versions": versions(),
        "model": {"name": asked.model, **settings, "weights": weights},
        "seeds": list(range(asked.seeds)),
        "objects": len(objects),
        "classifier": {"note": CLASSIFIER_NOTE, "steps": config.get("steps")},
        "recognition": {
            **{name: asdict(one) for name, one in rates.items()},
            "ceiling": ceiling,
            "by_noun": {noun: {name: top[name][noun] for name in top} for noun in asked.nouns},
        },
        "synonyms": compared,
        "kid": {
            "objects": board.distance(rows_of(objects, "foreground"), reference["foreground"]),
            "scenes": board.distance(rows_of(scenes, "composite"), reference["background"]),
        },
        "object_scores": [score.to_dict() for score in found.scores],
        "methods": methods,
        "compared": compare_methods({name: values.values for name, (_, values) in layered.items()}),
        "goals": board.goals(rates, ceiling, compared, seconds),
    }
    _write(asked, made, objects)
    return made


def _write(asked: Asked, made: dict[str, Any], objects: Sequence[Frame]) -> None:
    from layercli.evaluate._board_page import as_page

    thumbnails: dict[str, list[Any]] = {}
    for frame in objects:
        thumbnails.setdefault(frame.word, []).append(load_frame(frame).composite)
    texts = {
        "scoreboard.json": json.dumps(made, indent=1, ensure_ascii=False) + "\n",
        "scoreboard.html": as_page(made, thumbnails),
    }
    for name, text in texts.items():
        with atomic(asked.out / name) as part:
            part.write_text(text, encoding="utf-8")


def report(talk: Output, made: dict[str, Any], out: Path) -> None:
    """Every number on stdout, the goals last."""
    from layercli.evaluate._board_page import lines, shell_rows

    rows = [
        (name, f"{figure(value)} {unit}".strip(), _between(*ends)) for name, value, *ends, unit in lines(made)
    ]
    for method, found in made["methods"].items():
        for score in found["scores"]:
            if score["layers"] == "all":
                value = f"{figure(score['value'])} {score['unit']}".strip()
                rows.append((f"{method}: {score['metric']}", value, _between(score["low"], score["high"])))
        rows += [(f"{method}: {name}", value, "") for name, value in shell_rows(found["shell"])]
    if made["compared"]:
        rows += [
            (f"best by {row['number']}", row["best"], row["told"]) for row in made["compared"]["numbers"]
        ]
        rows.append(("best method", made["compared"]["best"], made["compared"]["told"]))
    for goal in made["goals"]:
        met = f"{'met' if goal['met'] else 'not met'}: at {goal['at']} {goal['wanted']:g}"
        rows.append((f"goal: {goal['goal']}", figure(goal["value"]), met))
    talk.table(made, ("", "value", "95% interval"), rows)
    for name in ("scoreboard.json", "scoreboard.html"):
        talk.say(f"Wrote {out / name}")


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{figure(low)} – {figure(high)}"


def _measured(talk: Output, name: str, frames: Sequence[Frame], metrics: Sequence[str]) -> Evaluation:
    several = len({frame.seed for frame in frames}) > 1
    chosen = [metric for metric in metrics if metric != "variety" or several]
    with talk.progress(f"measuring {name}") as on_step:
        return evaluate(
            run_of(name, frames),
            None,
            load_metrics(chosen, {}),
            on_step=lambda what, done, total: on_step(done, total),
        )
