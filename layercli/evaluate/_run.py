"""The evaluation of a run: every metric over every sample, grouped by layer count, with intervals."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.score import Score
from layercli.evaluate._features import features_of
from layercli.evaluate._rows import Rows
from layercli.evaluate._sample import MATTE, PARTS, Entry, NotJudged, Sample, no_samples
from layercli.evaluate._statistics import interval, jackknife

PACKAGE = "layercli.evaluate"
ALL = "all"
OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric:
    """A metric with its options: per-sample (`measure`) or over sets of features (`distance`)."""

    name: str
    module: ModuleType
    options: Any

    @property
    def needs(self) -> str:
        """ "", "truth", "whole", "reference" or "seeds"."""
        return str(self.module.NEEDS)

    @property
    def over_sets(self) -> bool:
        """Whether it compares sets of features."""
        return hasattr(self.module, "distance")

    @property
    def numbers(self) -> Mapping[str, tuple[str, Any, str, float | None]]:
        """number -> (part, what is better, unit, what a failure counts)."""
        found: Mapping[str, tuple[str, Any, str, float | None]] = self.module.NUMBERS
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What is evaluated, or compared with: samples not yet read, a name, and a hash of their content."""

    name: str
    entries: Sequence[Entry]
    digest: str = ""


@dataclass(kw_only=True, eq=False)
class Evaluation:
    """All that was found.

    scores; values: sample -> "metric.number" -> value; counts: sample -> its number of layers; sizes: sample
    -> "WxH"; prompts: sample -> the text of the whole picture, or ""; unreadable: sample -> why;
    unjudged: metric -> sample -> why; notes: what a reader must know.
    """

    scores: list[Score] = field(default_factory=list)
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    seeds: set[int] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    unjudged: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def load_metrics(names: Sequence[str], options: Mapping[str, Mapping[str, str]]) -> list[Metric]:
    """Metrics by name with their options; an unknown one raises LayercliError that lists those there are."""
    known = registry.plugins(PACKAGE)
    for name in [*names, *options]:
        if name not in known:
            raise LayercliError(f'There is no metric "{name}".', registry.suggest(name, known))
    return [
        Metric(name=name, module=module, options=registry.options_for(module, options.get(name, {})))
        for name in dict.fromkeys(names)
        if (module := registry.load(PACKAGE, name))
    ]


def evaluate(
    run: Run,
    reference: Run | None,
    metrics: Sequence[Metric],
    *,
    kept: Path | None = None,
    seed: int = 0,
    on_step: OnStep = lambda what, done, total: None,
) -> Evaluation:
    """Measure a run.

    reference: pictures to compare with; its samples of the same names are the truth of this run's. kept: the
    folder of features from earlier times; seed: of the intervals. Raises LayercliError where nothing can be
    read, and where a set is too small for a metric.
    """
    found = Evaluation()
    _measure_samples(run, reference, metrics, found, on_step)
    if not found.counts:
        raise no_samples(run.name)
    for metric in metrics:
        if not metric.over_sets:
            found.scores += _sample_scores(metric, found, reference, seed)
    _measure_sets(run, reference, metrics, found, kept, seed, on_step)
    _note(found, run)
    if not found.scores:
        why = found.notes[0] if found.notes else "no metric was chosen."
        raise LayercliError(
            f"No sample of {run.name} can be judged: {why}",
            "See what each metric needs: layercli eval metrics",
        )
    return found


def _measure_samples(
    run: Run, reference: Run | None, metrics: Sequence[Metric], found: Evaluation, on_step: OnStep
) -> None:
    truths = {} if reference is None else {entry.name: entry for entry in reference.entries}
    single = [metric for metric in metrics if not metric.over_sets]
    for done, entry in enumerate(run.entries):
        on_step("samples", done, len(run.entries))
        try:
            sample = entry.load()
            if any(metric.needs in ("truth", "whole") or metric.name == "layers" for metric in single):
                sample = _with_truth(sample, truths, found)
        except LayercliError as error:
            found.unreadable[entry.name] = error.message
            continue
        found.counts[entry.name] = sample.count
        found.sizes[entry.name] = str(sample.stack.canvas)
        found.prompts[entry.name] = sample.prompt
        found.values[entry.name] = {}
        if sample.seed is not None:
            found.seeds.add(sample.seed)
        for metric in single:
            try:
                measured = metric.module.measure(sample, metric.options)
            except NotJudged as why:
                found.unjudged.setdefault(metric.name, {})[entry.name] = str(why)
                continue
            for number, value in measured.items():
                if not np.isfinite(value):
                    found.unjudged.setdefault(metric.name, {})[entry.name] = (
                        f"{number} is not a finite number"
                    )
                    continue
                found.values[entry.name][f"{metric.name}.{number}"] = float(value)
    on_step("samples", len(run.entries), len(run.entries))


def _with_truth(sample: Sample, truths: Mapping[str, Entry], found: Evaluation) -> Sample:
    if sample.name not in truths:
        return sample
    try:
        return dataclasses.replace(sample, truth=truths[sample.name].load())
    except LayercliError as error:
        found.notes.append(f"The reference of {sample.name} is left out: {error.message}")
        return sample


def _groups(found: Evaluation) -> dict[str, list[str]]:
    """Layer count -> names of the samples, and "all" where there are several counts or just one."""
    groups: dict[str, list[str]] = {}
    for name, count in sorted(found.counts.items()):
        groups.setdefault(str(count), []).append(name)
    groups = dict(sorted(groups.items(), key=lambda entry: int(entry[0])))
    return {ALL: list(found.counts)} | (groups if len(groups) > 1 else {})


def _settings(metric: Metric, reference: Run | None) -> dict[str, Any]:
    """Whatever must agree for two scores of this metric to be compared."""
    return {
        "options": {key: _plain(value) for key, value in dataclasses.asdict(metric.options).items()},
        **_versions(),
        "dtype": "float64 over float32 pictures",
        "matte": MATTE,
        **(metric.module.settings(metric.options) if hasattr(metric.module, "settings") else {}),
        "reference": reference.digest if reference is not None and metric.needs else "",
    }


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("layercli", "numpy", "scipy")}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _sample_scores(metric: Metric, found: Evaluation, reference: Run | None, seed: int) -> list[Score]:
    scores = []
    for group, names in _groups(found).items():
        for number, (part, better, unit, worst) in metric.numbers.items():
            key = f"{metric.name}.{number}"
            values = [found.values[name][key] for name in names if key in found.values[name]]
            if not values:
                continue
            # Nobody can tell how many layers a file had that could not be read: it counts among "all".
            skipped = len(names) - len(values) + (len(found.unreadable) if group == ALL else 0)
            low, high = interval(values, seed)
            failing = None
            if skipped and worst is not None:
                failing = float(np.mean(values + [worst] * skipped))
            scores.append(
                Score(
                    metric=key,
                    value=float(np.mean(values)),
                    better=better,
                    n=len(values),
                    settings=_settings(metric, reference),
                    part=part,
                    layers=group,
                    unit=unit,
                    low=low,
                    high=high,
                    skipped=skipped,
                    failing=failing,
                )
            )
    return scores


def _measure_sets(
    run: Run,
    reference: Run | None,
    metrics: Sequence[Metric],
    found: Evaluation,
    kept: Path | None,
    seed: int,
    on_step: OnStep,
) -> None:
    from layercli.vision.features import open_net

    chosen = [metric for metric in metrics if metric.over_sets]
    refused: list[LayercliError | None] = []
    for name in dict.fromkeys(metric.options.net for metric in chosen):
        net = open_net(name)
        if net.note:
            found.notes.append(f"{net.settings['net']}: {net.note}.")

        def step(done: int, total: int, name: str = name) -> None:
            on_step(f"features of {name}", done, total)

        rows = features_of(run.entries, run.digest, net, kept, step)
        other = {} if reference is None else features_of(reference.entries, reference.digest, net, kept, step)
        for metric in chosen:
            if metric.options.net == name:
                settings = {
                    **_settings(metric, reference),
                    **net.settings,
                    "weights": net.digest,
                }
                refused.append(_set_scores(metric, rows, other, found, settings, seed))
    why = next((error for error in refused if error is not None), None)
    if why is not None and not found.scores:
        raise why


def _set_scores(
    metric: Metric,
    rows: Mapping[str, Rows],
    reference: Mapping[str, Rows],
    found: Evaluation,
    settings: dict[str, Any],
    seed: int,
) -> LayercliError | None:
    """Add a metric's scores; returns why it was refused, where it gave none at all."""
    refused: list[LayercliError] = []
    scored = False
    for part in PARTS:
        against = reference.get(part)
        if part in rows and metric.needs == "reference" and against is None:
            found.notes.append(f"{metric.name}: the reference has no {part} to compare with.")
        if part not in rows or (metric.needs == "reference" and against is None):
            continue
        for group, names in _groups(found).items():
            mine = rows[part].of(np.array(names))
            try:
                numbers = metric.module.distance(mine, against, metric.options)
            except LayercliError as error:
                refused.append(error)
                continue
            for number, value in numbers.items():
                _, better, unit, _ = metric.numbers[number]
                low, high = _interval(metric, mine, against, number, seed) or (None, None)
                extra = {"n": len(mine), "n_reference": len(against) if against is not None else 0}
                scores = Score(
                    metric=f"{metric.name}.{number}",
                    value=value,
                    better=better,
                    n=len(mine),
                    settings={**settings, **extra},
                    part=part,
                    layers=group,
                    unit=unit,
                    low=low,
                    high=high,
                    skipped=len(found.unreadable) if group == ALL else 0,
                    note=_bias(metric, mine, against),
                )
                found.scores.append(scores)
                scored = True
    where = " for some layer counts" if scored else ""
    for why in dict.fromkeys(error.message for error in refused):
        found.notes.append(f"{metric.name} was left out{where}: {why}")
    return None if scored or not refused else refused[0]


def _interval(
    metric: Metric, rows: Rows, reference: Rows | None, number: str, seed: int
) -> tuple[float, float] | None:
    names = np.unique(rows.samples)
    if number.endswith("_std") or len(rows) * rows.features.shape[1] > 2_000_000:
        return None

    def statistic(kept: np.ndarray) -> float:
        try:
            found = metric.module.distance(rows.of(names[kept]), reference, metric.options)
        except LayercliError:
            return float("nan")
        return float(found.get(number, float("nan")))

    return jackknife(len(names), statistic, seed)


def _bias(metric: Metric, rows: Rows, reference: Rows | None) -> str:
    asked = getattr(metric.module, "ASKS_FOR", 0)
    least = min(len(rows), len(rows) if reference is None else len(reference))
    return f"biased upwards: {least} pictures, {asked} are usual" if least < asked else ""


def _note(found: Evaluation, run: Run) -> None:
    if found.unreadable:
        names = ", ".join(list(found.unreadable)[:3])
        found.notes.append(
            f"{len(found.unreadable)} of {len(run.entries)} samples could not be read and count as skipped: "
            f"{names}."
        )
    for metric, skipped in found.unjudged.items():
        for why, count in Counter(skipped.values()).items():
            found.notes.append(f"{metric} skipped {count} of {len(found.counts)} samples: {why}.")
    sizes = sorted(set(found.sizes.values()))
    if len(sizes) > 1:
        found.notes.append(
            f"Samples are of {len(sizes)} sizes ({', '.join(sizes[:4])}); pixel counts differ."
        )
    if any(score.note for score in found.scores):
        found.notes.append("FID rises as samples get fewer; with so few, read KID first.")
    if len(found.seeds) in (1, 2):
        told = "one seed" if len(found.seeds) == 1 else "two seeds"
        found.notes.append(f"All samples come from {told}; three are the least to trust.")
