"""Redo the papers' ablations on a model without adapters: pieces off, or set otherwise, on the same seeds.

    python examples/ablations.py ablations --prompts 12 --seeds 2

Pictures and scores that are there are kept, so an interrupted run goes on; --estimate tells how long it
takes. A number's interval is a 95% bootstrap over pictures. It is marked + (better) or - (worse) where the
interval of its difference, picture by picture, to the first variant of its group leaves zero out. What needs
a trained adapter is not here: T_G and the levels of context maps (DreamLayer), prompt enhancer and SMG
(LayerDiff).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from layercli.cli.drawing import draw_missing, hold_to, model_weights, planned
from layercli.cli.gathering import gather
from layercli.cli.output import Output
from layercli.core.errors import LayercliError
from layercli.evaluate._board import layered_prompts
from layercli.evaluate._run import evaluate, load_metrics
from layercli.evaluate._statistics import bootstrap, paired
from layercli.formats._files import atomic

METRICS = ("recognition", "leakage", "recomposition", "seam")
# number -> whether more of it is better; differences across a seam are as good as they are small.
NUMBERS = {
    "recognition.top1": True,
    "recognition.top5": True,
    "leakage.copied": False,
    "leakage.echo": False,
    "recomposition.mean": False,
    "seam.light": False,
    "seam.colour": False,
    "seam.sharpness": False,
}


@dataclass(frozen=True)
class Variant:
    """A request with something off or otherwise. fields: of the request; options: of the method."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    fields: dict[str, object] = field(default_factory=dict)


# The paper's own harmonising: the whole fused picture, and not its light alone, is what is seen.
_PLAIN = {"fuse": "latents", "transfer": "all", "against": "no"}
GROUPS = {
    "irh": [
        Variant("400-600 (paper)", {**_PLAIN, "window": "400-600"}),
        Variant("200-400", {**_PLAIN, "window": "200-400"}),
        Variant("600-800", {**_PLAIN, "window": "600-800"}),
        Variant("100-900", {**_PLAIN, "window": "100-900"}),
        Variant("off", {}, {"harmonize": "over"}),
        Variant("light alone (ours)", {}),
    ],
    "prior": [
        Variant("structure x content (paper)", {"prior": "both"}),
        Variant("structure", {"prior": "structure"}),
        Variant("content", {"prior": "content"}),
        Variant("the model's alpha (ours)", {"prior": "alpha"}),
        Variant("none", {"blend": "no", "feedback": "no"}),
    ],
    "d": [Variant("10 (paper)", {"d": "10"})] + [Variant(d, {"d": d}) for d in ("1", "5", "30")],
    "exchange": [
        Variant("all", {}),
        Variant("no feedback (Eq 2)", {"feedback": "no"}),
        Variant("no sharing (Alg 3)", {"share": "no"}),
        Variant("no shield (Alg 3)", {"shield": "no"}),
        Variant("background's text (paper)", {"blended_text": "background"}),
        Variant("frames apart", {}, {"harmonize": "none"}),
    ],
    "cfg": [
        Variant("4 (default)", {}, {"guidance": 4.0}),
        *(Variant(f"{g:g}", {}, {"guidance": g}) for g in (1.0, 2.5, 7.5)),
    ],
}


def main() -> None:
    """Draw, score and compare; tables on stdout, all of it in OUT/ablations.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("ablations"))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"some of {', '.join(GROUPS)}")
    parser.add_argument("--estimate", action="store_true", help="draw one picture and tell how long all take")
    asked = parser.parse_args()
    unknown = [name for name in asked.groups.split(",") if name not in GROUPS]
    if unknown:
        parser.error(f'there is no group "{unknown[0]}"; there are {", ".join(GROUPS)}')
    try:
        run(asked)
    except LayercliError as error:
        parser.exit(2, f"{error.message}\n{error.hint}\n")


def run(asked: argparse.Namespace) -> None:
    """Every variant of the groups asked for, and the tables."""
    asked.out.mkdir(parents=True, exist_ok=True)
    hold_to(asked.out, {"model": asked.model, "steps": asked.steps, "weights": model_weights(asked.model)})
    groups = {name: GROUPS[name] for name in asked.groups.split(",")}
    if asked.estimate:
        estimate(asked, sum(map(len, groups.values())))
        return
    told = {}
    for name, variants in groups.items():
        values = {variant.name: scores(asked, name, variant) for variant in variants}
        told[name] = compared(values)
        print(table(name, told[name]))
        with atomic(asked.out / "ablations.json") as part:
            part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def chosen_prompts(count: int) -> list[tuple[tuple[str, ...], str]]:
    """As many of the scoreboard's layered prompts, from all over its list."""
    prompts = layered_prompts()
    return [prompts[round(i * (len(prompts) - 1) / max(1, count - 1))] for i in range(count)]


def scores(asked: argparse.Namespace, group: str, variant: Variant) -> dict[str, dict[str, float]]:
    """The numbers of every picture of a variant; drawn and measured where they are not there yet."""
    folder = asked.out / group / "".join(c if c.isalnum() or c in "-." else "_" for c in variant.name)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "scores.json"
    prompts, seeds = chosen_prompts(asked.prompts), range(asked.seeds)
    fields = {"model": asked.model, "steps": asked.steps, **variant.fields}
    pictures = list(planned(prompts, seeds, folder, options=variant.options, **fields))
    names = {picture.targets[0].path.stem for picture in pictures}
    if kept.is_file() and (found := json.loads(kept.read_text(encoding="utf-8"))).keys() == names:
        return found
    draw_missing(Output(), pictures)
    measured = evaluate(gather(folder, "files")[0], None, load_metrics(METRICS, {})).values
    found = {
        name: {key: value for key, value in values.items() if key in NUMBERS}
        for name, values in measured.items()
        if name in names
    }
    with atomic(kept) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def compared(values: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """variant -> number -> its mean and interval, and its difference to the first variant, paired."""
    first = next(iter(values.values()))
    told: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, found in values.items():
        told[name] = {}
        for number, more in NUMBERS.items():
            both = [s for s in found if number in found[s] and number in first.get(s, {})]
            size = abs if number.startswith("seam.") else float
            mine, theirs = ([float(size(run[s][number])) for s in both] for run in (found, first))
            if len(both) < 2:
                continue
            low, high = bootstrap(mine)
            told[name][number] = {"n": len(both), "mean": sum(mine) / len(mine), "low": low, "high": high}
            if found is not first:
                difference = asdict(paired(theirs, mine, higher_is_better=more))
                told[name][number] |= {f"paired_{key}": value for key, value in difference.items()}
    return told


def table(group: str, told: dict[str, dict[str, dict[str, float | None]]]) -> str:
    """A Markdown table; a difference whose interval leaves zero out is marked + (better) or - (worse)."""
    rows = [f"| {group} | " + " | ".join(NUMBERS) + " |", "|---" * (len(NUMBERS) + 1) + "|"]
    for name, numbers in told.items():
        cells = []
        for number, more in NUMBERS.items():
            entry = numbers.get(number)
            if entry is None:
                cells.append("")
                continue
            mark = ""
            low, high = entry.get("paired_low"), entry.get("paired_high")
            if low is not None and high is not None and (low > 0 or high < 0):
                mark = " +" if (low > 0) == more else " -"
            cells.append(f"{entry['mean']:.3g} ({entry['low']:.3g} – {entry['high']:.3g}){mark}")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def estimate(asked: argparse.Namespace, variants: int) -> None:
    """Draw one picture and tell how long all of them take."""
    (picture,) = planned(chosen_prompts(1), [0], asked.out, model=asked.model, steps=asked.steps)
    picture.targets[0].path.unlink(missing_ok=True)
    began = time.monotonic()
    draw_missing(Output(), [picture])
    seconds = time.monotonic() - began
    picture.targets[0].path.unlink()
    count = variants * asked.prompts * asked.seeds
    print(
        f"{variants} variants, {count} pictures of {seconds:.0f} s: about {count * seconds / 60:.0f} minutes"
    )


if __name__ == "__main__":
    main()
