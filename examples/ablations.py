"""Redo the papers' ablations on a model and its adapters: pieces off, or set otherwise, on the same seeds.

    python examples/ablations.py ablations --prompts 16 --seeds 2 --workers 2

Pictures and scores that are there are kept, so an interrupted run goes on, and variants that ask for the same
picture share it; --estimate tells how long all takes. What a claim compares is paired picture by picture and
averaged over the seeds of a prompt; intervals are 95% bootstraps over prompts. "agrees" or "disagrees" is
said where the interval of the difference leaves zero out; of twenty claims about nothing, one would be too.
What would have to be trained again without a piece (LayerDiff's mask dilation and scalar, Table 2; the losses
of DreamLayer's Eq 6 and 7) is not here. Tables: OUT/ablations.md; everything: OUT/ablations.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paper_ablations.tables import claims_table, group_table, judged, legend, told_of
from paper_ablations.variants import GROUPS, READ_AGAIN, Group, Variant

from layercli.cli.drawing import draw_missing, hold_to, model_weights, planned
from layercli.cli.making import METHODS
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest
from layercli.evaluate._board import layered_prompts, spread
from layercli.formats._files import atomic

Scores = dict[str, dict[str, float]]
ADAPTERS = ("dreamlayer", "layerdiff")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Pictures of one setting, in a folder that the setting names; fields: of the request."""

    folder: Path
    prompts: tuple[tuple[tuple[str, ...], str], ...]
    seeds: int
    fields: Mapping[str, Any]

    @property
    def pictures(self) -> list[Any]:
        return list(planned(self.prompts, range(self.seeds), self.folder, **self.fields))


def main() -> None:
    """Draw, score and compare."""
    names = [*GROUPS, *READ_AGAIN]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("ablations"))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--groups", default=",".join(names), help=f"some of {', '.join(names)}")
    for kind in ADAPTERS:
        parser.add_argument(f"--{kind}", default="", metavar="DIR", help="an adapter; else the model's own")
    parser.add_argument(
        "--estimate", action="store_true", help="draw a few pictures and tell how long all take"
    )
    asked = parser.parse_args()
    unknown = [name for name in asked.groups.split(",") if name not in names]
    if unknown:
        parser.error(f'there is no group "{unknown[0]}"; there are {", ".join(names)}')
    try:
        run(asked)
    except LayercliError as error:
        parser.exit(2, f"{error.message}\n{error.hint}\n")


def run(asked: argparse.Namespace) -> None:
    """Every variant of the groups asked for, and the tables."""
    asked.out.mkdir(parents=True, exist_ok=True)
    weights = {k: v for k, v in model_weights(asked.model).items() if not k.startswith(ADAPTERS)}
    hold_to(asked.out, {"model": asked.model, "steps": asked.steps, "weights": weights})
    names = asked.groups.split(",")
    jobs = {name: jobs_of(asked, name) for name in names}
    unique = {job.folder: job for of_group in jobs.values() for job in of_group.values()}
    if asked.estimate:
        estimate(asked, list(unique.values()), sum(map(len, jobs.values())))
        return
    in_processes(scored, [job for job in unique.values() if kept_scores(job) is None], asked.workers)
    heading = f"{asked.model}: {asked.prompts} prompts, {asked.seeds} seeds each, {asked.steps} steps\n"
    told: dict[str, Any] = {"prompts": asked.prompts, "seeds": asked.seeds, "steps": asked.steps}
    claims, tables = [], []
    for name in names:
        if name in READ_AGAIN:
            group, (job,) = READ_AGAIN[name][2], jobs[name].values()
            values = map_scores(asked, job) if name == "maps" else inversion_scores(asked, job)
        else:
            group, values = GROUPS[name], {variant: scored(job) for variant, job in jobs[name].items()}
        told[name] = {"variants": told_of(group, values)}
        told[name]["claims"] = [one for claim in group.claims if (one := judged(claim, values)) is not None]
        claims += told[name]["claims"]
        tables.append(group_table(name, group, told[name]["variants"]))
        text = "\n".join([heading, claims_table(claims), legend(), *tables])
        with atomic(asked.out / "ablations.json") as part:
            part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        with atomic(asked.out / "ablations.md") as part:
            part.write_text(text, encoding="utf-8")
    print(text, end="")


def jobs_of(asked: argparse.Namespace, name: str) -> dict[str, Job]:
    """A job for every variant of a group; for one that reads pictures again and draws none, theirs alone."""
    if name in READ_AGAIN:
        of, variant, _ = READ_AGAIN[name]
        return {variant: jobs_of(asked, of)[variant]}
    group = GROUPS[name]
    return {variant.name: job_of(asked, group, variant) for variant in group.variants}


def job_of(asked: argparse.Namespace, group: Group, variant: Variant) -> Job:
    """What a variant asks for; the same settings, however they are written, have the same folder."""
    options = dict(variant.options)
    harmonize = str(variant.fields.get("harmonize", group.harmonize))
    adapter = getattr(asked, group.method, "")
    if adapter:
        options["adapter"] = str(adapter)
    if harmonize == "over" and "whole" in registry.outline(METHODS, group.method):
        options["whole"] = "yes"
    fields = {
        "model": asked.model, "method": group.method, "steps": asked.steps, "options": options,
        "guidance": GenerateRequest.guidance, **variant.fields, "harmonize": harmonize,
    }  # fmt: skip
    module = registry.load(METHODS, group.method)
    settings = {**fields, "options": asdict(registry.options_for(module, options))}
    if group.method in ADAPTERS:
        from layercli.models.adapters import adapter_folder, adapter_hashes

        settings["adapter"] = adapter_hashes(adapter_folder(adapter, asked.model, group.method), group.method)
    told = json.dumps(settings, sort_keys=True, default=str)
    folder = asked.out / "pictures" / f"{group.method}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    prompts = tuple(spread(layered_prompts(), asked.prompts))
    return Job(folder=folder, prompts=prompts, seeds=asked.seeds, fields=fields)


def kept_scores(job: Job) -> Scores | None:
    """The numbers of a job's pictures, where all of them were measured before."""
    file = job.folder / "scores.json"
    if not file.is_file():
        return None
    found: Scores = json.loads(file.read_text(encoding="utf-8"))
    names = {picture.targets[0].path.stem for picture in job.pictures}
    return found if found.keys() == names else None


def scored(job: Job) -> Scores:
    """The numbers of every picture of a job; drawn and measured where they are not there yet."""
    from paper_ablations.measures import measured

    if (found := kept_scores(job)) is not None:
        return found
    job.folder.mkdir(parents=True, exist_ok=True)
    pictures = job.pictures
    draw_missing(Output(), pictures)
    names = {picture.targets[0].path.stem for picture in pictures}
    found = {name: values for name, values in measured(job.folder).items() if name in names}
    with atomic(job.folder / "scores.json") as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def in_processes(task: Callable[[Any], Any], inputs: Sequence[Any], workers: int) -> None:
    """A task with every input, each in one thread of a process of its own; what it keeps is its answer."""
    if workers > 1 and inputs:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), one_thread) as pool:
            list(pool.map(task, inputs))


def one_thread() -> None:
    """Processes beside each other do not wait for each other's threads."""
    import torch

    torch.set_num_threads(1)


def map_scores(asked: argparse.Namespace, job: Job) -> dict[str, Scores]:
    """How the context maps of each level go with the alphas, in the pictures of DreamLayer's own setting."""
    from paper_ablations.measures import maps_of

    from layercli.models.adapters import adapter_folder
    from layercli.models.catalog import load_model
    from layercli.models.dreamlayer import KIND, DreamLayer, Rules

    names = scored(job)
    model = load_model(asked.model, "cpu")
    adapter = DreamLayer.load(adapter_folder(asked.dreamlayer, asked.model, KIND), model.unet)
    adapter.made_ready(model.device, model.dtype)
    own = adapter.level
    rules = {
        "refined (Eq 5)": Rules(),
        "finest": Rules(refine=False, level=own),
        "coarser": Rules(refine=False, level=own + 1),
    }
    return {
        variant: {name: maps_of(model, adapter, job.folder / f"{name}.psd", rule) for name in names}
        for variant, rule in rules.items()
    }


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """Pictures of a folder that are inverted and taken apart, and the file for what is found.

    options: those of decompose's inversion.
    """

    file: Path
    pictures: Sequence[Path]
    options: Any


def inversion_scores(asked: argparse.Namespace, job: Job) -> dict[str, Scores]:
    """What comes of one variant's pictures when they are inverted, by how."""
    from layercli.decompose import inversion

    folder = asked.out / "inversion"
    folder.mkdir(exist_ok=True)
    pictures = [job.folder / f"{name}.psd" for name in sorted(scored(job))]
    tasks = {}
    for variant in READ_AGAIN["inversion"][2].variants:
        words = {"foregrounds": "the picture's", "background": "the picture's", "model": asked.model}
        words |= {"steps": str(asked.steps), **variant.options}
        options = registry.options_for(inversion, words)
        told = json.dumps([job.folder.name, asked.prompts, asked.seeds, asdict(options)])
        file = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:12]}.json"
        tasks[variant.name] = Inversion(file=file, pictures=pictures, options=options)
    in_processes(taken_apart, [task for task in tasks.values() if not task.file.is_file()], asked.workers)
    return {name: taken_apart(task) for name, task in tasks.items()}


def taken_apart(task: Inversion) -> Scores:
    """The numbers of every picture of an inversion; kept once all are there."""
    from paper_ablations.measures import inverted

    if task.file.is_file():
        found: Scores = json.loads(task.file.read_text(encoding="utf-8"))
        return found
    found = {picture.stem: inverted(picture, task.options) for picture in task.pictures}
    with atomic(task.file) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def estimate(asked: argparse.Namespace, jobs: list[Job], variants: int) -> None:
    """Draw one picture a kind of job and tell how long all of them take, in time of a processor."""
    seconds: dict[tuple[str, str], float] = {}
    for job in jobs:
        kind = (str(job.fields["method"]), str(job.fields["harmonize"]))
        if kind not in seconds:
            job.folder.mkdir(parents=True, exist_ok=True)
            (one, *_) = (picture for picture in job.pictures)
            one.targets[0].path.unlink(missing_ok=True)
            began = time.process_time()
            draw_missing(Output(), [one])
            seconds[kind] = time.process_time() - began
            one.targets[0].path.unlink()
    each = len(jobs[0].prompts) * asked.seeds
    total = sum(seconds[str(job.fields["method"]), str(job.fields["harmonize"])] * each for job in jobs)
    for (method, harmonize), took in seconds.items():
        print(f"{method}, {harmonize}: {took:.1f} s of a processor a picture, the model's loading included")
    print(
        f"{variants} variants of {len(jobs)} settings, {len(jobs) * each} pictures: "
        f"about {total / max(1, asked.workers) / 60:.0f} minutes with {asked.workers} processes"
    )


if __name__ == "__main__":
    main()
