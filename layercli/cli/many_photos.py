"""Many photos taken apart, one by one or side by side; answers come in the order of the photos."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import typer

from layercli.cli.output import Output
from layercli.cli.sentences import USAGE
from layercli.cli.taking_apart import METHODS, Apart, Planned, ready_net, take_one
from layercli.core import registry
from layercli.core.errors import LayercliError

_stopped: list[int] = []
"""In a worker: the signal that asked it to stop."""


@dataclass
class Notes(Output):
    """Talk that is kept, to be told where a person listens: (how, text)."""

    kept: list[tuple[str, str]] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.kept.append(("say", text))

    def warn(self, text: str) -> None:
        self.kept.append(("warn", text))

    def retell(self, talk: Output, photo: str) -> None:
        """Tell it, every sentence with its photo, since sentences of several photos follow each other."""
        for how, text in self.kept:
            getattr(talk, how)(text if photo in text else f"{photo}: {text}")


def take_apart(talk: Output, planned: Sequence[Planned], *, offline: bool, jobs: int = 1) -> Iterator[Apart]:
    """Take photos apart and write them, in order; one that fails is told, and does not stop the others."""
    left = [entry for entry in planned if not entry.done]
    if not left and len(planned) == 1:
        files = ", ".join(str(target.path) for target in planned[0].targets)
        talk.say(f"{planned[0].request.photo} is done already: {files}.")
    elif len(left) < len(planned):
        talk.say(f"{len(planned) - len(left)} of {len(planned)} photos are done already.")
    if not left:
        return
    method = registry.load(METHODS, left[0].request.method)
    options = registry.options_for(method, left[0].request.options)
    if hasattr(method, "check"):
        for entry in left:
            method.check(entry.request)
    if jobs > 1 and getattr(method, "ALONE", False):
        raise LayercliError(
            f"{left[0].request.method} takes one photo at a time: its model fills a device.",
            "Leave out --jobs.",
        )
    if left[0].request.sought:
        _check_names(left[0].request.method, options)
    if hasattr(options, "net"):
        options = dataclasses.replace(
            options, net=ready_net(talk, left[0].request, options.net, offline=offline)
        )
    if jobs > 1 and len(left) > 1:
        attempts = _side_by_side(talk, left, options, jobs)
    else:
        attempts = _one_by_one(talk, left, options, alone=len(planned) == 1)
    failed = 0
    for entry, made in attempts:
        if isinstance(made, LayercliError):
            talk.fail(LayercliError(f"{entry.request.photo}: {made.message}", made.hint))
            failed += 1
        else:
            yield made
    if failed:
        talk.say(f"{failed} of {len(planned)} photos failed.")
        raise typer.Exit(USAGE)


def _check_names(method: str, options: Any) -> None:
    """Find out before any photo is opened whether objects can be looked for by name."""
    if not hasattr(options, "detector"):
        raise LayercliError(
            f"{method} does not look for objects by name.", "Leave out --objects or --method."
        )
    from layercli.vision.named import detector_of, segmenter_of

    detector_of(options.detector)
    segmenter_of(options.segmenter)


def _one_by_one(
    talk: Output, planned: Sequence[Planned], options: Any, *, alone: bool
) -> Iterator[tuple[Planned, Apart | LayercliError]]:
    for number, entry in enumerate(planned, 1):
        count = f" ({number}/{len(planned)})" if planned[1:] else ""
        yield entry, take_one(talk, entry, options, count, alone=alone)


def _side_by_side(
    talk: Output, planned: Sequence[Planned], options: Any, jobs: int
) -> Iterator[tuple[Planned, Apart | LayercliError]]:
    """Take every photo apart, `jobs` at a time, each with as many threads as alone: they change last bits.

    Raises LayercliError when a process is ended from outside, as it is where memory runs out.
    """
    jobs = min(jobs, len(planned))
    with talk.progress(f"{jobs} photos at a time") as on_step:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_listen)
        done = 0

        def count(_: Future[Any]) -> None:
            nonlocal done
            done += 1
            on_step(done, len(planned))

        try:
            futures = [pool.submit(_work, entry, options) for entry in planned]
            on_step(0, len(planned))
            for future in futures:
                future.add_done_callback(count)
            for entry, future in zip(planned, futures, strict=True):
                made, notes = future.result()
                notes.retell(talk, entry.request.photo)
                yield entry, made
        except BrokenProcessPool as error:
            raise LayercliError(
                f"One of {jobs} processes was ended from outside, perhaps for want of memory.",
                f"Go on with fewer: --resume --jobs {max(1, jobs // 2)}",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _work(entry: Planned, options: Any) -> tuple[Apart | LayercliError, Notes]:
    if _stopped:
        raise SystemExit(128 + _stopped[0])
    notes = Notes()
    with notes.noting():
        return take_one(notes, entry, options), notes


def _listen() -> None:
    """In a worker: Ctrl-C, which reaches all processes, ends the photo at hand and begins no other."""

    def stop(number: int, frame: FrameType | None) -> None:
        _stopped.append(number)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, stop)
