"""The layered prompts of a scoreboard by each method: drawn and measured, and one picture from the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layercli.cli.drawing import draw_missing, hold_to, planned
from layercli.cli.gathering import gather
from layercli.cli.making import METHODS
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest
from layercli.evaluate import _board as board
from layercli.evaluate._run import Evaluation, Run, evaluate, load_metrics
from layercli.formats._files import atomic

STACK_METRICS = (
    "recomposition",
    "agreement",
    "leakage",
    "layers",
    "health",
    "seam",
    "recognition",
    "speed",
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What shall be drawn: nouns by name, seeds from 0, layered prompts, methods; and how, and where."""

    model: str
    nouns: tuple[str, ...]
    seeds: int
    stacks: int
    scenes: int
    methods: tuple[str, ...]
    steps: int
    guidance: float
    out: Path


def methods_for(text: str | None, model: str) -> tuple[str, ...]:
    """Methods of generate by name; the default one alone where none is named, and for "all" those that can
    draw with this model. Raises LayercliError for a name that is none, and where an adapter is missing.
    """
    known = tuple(registry.plugins(METHODS))
    if text is None:
        return (GenerateRequest.method,)
    if text == "all":
        return tuple(name for name in known if not _hindrance(name, model))
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in known:
            raise LayercliError(f'There is no method "{name}".', registry.suggest(name, known))
        if error := _hindrance(name, model):
            raise error
    return names


def _hindrance(method: str, model: str) -> LayercliError | None:
    """Why a method cannot draw with a model that makes its own alpha."""
    if "embedded" not in registry.constants(METHODS, "MODELS").get(method, ("embedded",)):
        return LayercliError(
            f"{method} draws with models that have no alpha of their own.", "Leave it out of --methods."
        )
    if "adapter" in registry.outline(METHODS, method):
        from layercli.models.adapters import adapter_folder

        try:
            adapter_folder("", model, method)
        except LayercliError as error:
            return error
    return None


def layered_by(talk: Output, asked: Asked, method: str) -> tuple[dict[str, Any], Evaluation]:
    """Draw the layered prompts by a method, and measure them."""
    folder = asked.out / "stacks" / method
    folder.mkdir(parents=True, exist_ok=True)
    prompts = board.layered_prompts()[: asked.stacks]
    fields = {"model": asked.model, "method": method, "steps": asked.steps, "guidance": asked.guidance}
    if "whole" in registry.outline(METHODS, method):
        fields["options"] = {"whole": "yes"}
    hold_to(folder, {"adapter": _adapter_of(method, asked.model)})
    pictures = list(planned(prompts, [0], folder, **fields))
    draw_missing(talk, pictures)
    run, _ = gather(folder, "files")
    wanted = {picture.targets[0].path.stem for picture in pictures}
    run = Run(
        name=run.name, entries=[entry for entry in run.entries if entry.name in wanted], digest=run.digest
    )
    found = evaluate(run, None, load_metrics(STACK_METRICS, {}))
    shell = from_the_shell(talk, asked, method)
    told = {
        "samples": len(found.counts),
        "shell": shell,
        "memory_mib": shell["memory_mib"],
        "scores": [score.to_dict() for score in found.scores],
        "notes": found.notes,
    }
    return told, found


def _adapter_of(method: str, model: str) -> dict[str, str]:
    """The hash of the adapter that a method draws with; none for a method without one."""
    if "adapter" not in registry.outline(METHODS, method):
        return {}
    from layercli.models.adapters import adapter_folder, adapter_hashes

    return adapter_hashes(adapter_folder("", model, method), method)


def from_the_shell(talk: Output, asked: Asked, method: str) -> dict[str, Any]:
    """What one picture takes as a person gets it, in a process of its own: seconds by the clock and of a
    processor, the most memory in MiB. Kept in the folder for a board that goes on.
    """
    kept = asked.out / "stacks" / f"{method}-shell.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    (things, ground), *_ = board.layered_prompts()
    talk.say(f"One picture from the shell by {method}…")
    with tempfile.TemporaryDirectory() as scratch:
        words = [part for thing in things for part in ("--fg", thing)]
        command = [sys.executable, "-m", "layercli", "generate", *words, "--bg", ground]
        command += ["--model", asked.model, "--method", method, "--steps", str(asked.steps)]
        command += ["--guidance", str(asked.guidance)]
        told = _timed([*command, "-o", str(Path(scratch) / "shell.psd")], Path(scratch))
    with atomic(kept) as part:
        part.write_text(json.dumps(told) + "\n", encoding="utf-8")
    return told


_MEASURE = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[2:])
busy = memory = None
if hasattr(os, "wait4"):
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    busy = usage.ru_utime + usage.ru_stime
else:  # Windows
    process.wait()
with open(sys.argv[1], "w") as told:
    json.dump({"seconds": time.monotonic() - began, "processor_seconds": busy, "memory_mib": memory}, told)
sys.exit(1 if process.returncode else 0)
"""


def _timed(command: list[str], scratch: Path) -> dict[str, Any]:
    """Run a command and tell what it took; raises LayercliError with the end of its talk where it fails.

    A small process starts it and measures: a process begins with the most memory that the one it was started
    from ever had, and this one is large.
    """
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    talk, told = scratch / "talk.txt", scratch / "told.json"
    with talk.open("wb") as out:
        process = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(told), *command],
            stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": path}, check=False,
        )  # fmt: skip
    if process.returncode != 0:
        last = talk.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise LayercliError(f"A picture from the shell failed: {' '.join(last)}", " ".join(command))
    found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return found
