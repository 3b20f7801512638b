"""What a step of joint sampling costs beside a plain batch of as many frames in diffusers' own loop.

Run it: python tests/benchmarks/bench_joint.py [--frames 3,5] [--methods layerfusion,dreamlayer,…]
[--fast 2,3] [--steps 20] [--rounds 5] [--shape sd15 | sd15-half | sd15-quarter | sd15-small | embedded]
[--model FOLDER]
All loops draw the same frames on the same network with guidance, 2 rows a frame and step. Each runs between
two runs of diffusers', round by round, so that a busy machine slows both alike. On a CPU, processor time is
measured. The first step of a run, which prepares texts, is left out; of a run the mean of the others is
taken. A ratio is the median over rounds of what a loop took beside the mean of diffusers' before and after
it, with the middle half of them.
-O fast=N carries deep features over 100 (N-1) of 1000 times, by every method: where weights are trained
(--model embedded) its time is told with the PSNR of the layers against the same run without. --count tells
the arithmetic of the last step instead, which is the same on every machine.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from joint_loops import SHAPES, Loop, fast_name, loops_of, psnr, random_embedded, random_sd15
from torch.utils.flop_counter import FlopCounterMode

from layercli.models.catalog import load_model
from layercli.models.family import Model

METHODS = ("layerfusion", "layerdiffuse", "dreamlayer", "layerdiff")
BASE = "diffusers, plain batch"

Size = tuple[int, ...]


TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # of GNU's malloc.h


def keep_freed_memory() -> None:
    """Let freed memory stay with the process, where the C library is GNU's.

    Else it is given back and asked for anew in some loops and not in others, by chance, page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for which, bytes_ in ((TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**26), (MMAP_THRESHOLD, 2**25)):
            mallopt(which, bytes_)


def clock(model: Model) -> float:
    """Seconds: of the processor where that computes, else by the wall after the device has finished."""
    if model.device.type == "cpu":
        return time.process_time()
    (torch.mps if model.device.type == "mps" else torch.cuda).synchronize()
    return time.perf_counter()


def seconds_a_step(model: Model, loop: Loop) -> tuple[float, object]:
    """The mean of all steps but the first, and what the loop returns."""
    told: list[float] = []
    answer = loop(lambda done: told.append(clock(model)))
    return (told[-1] - told[0]) / (len(told) - 1), answer


@dataclass(kw_only=True)
class Times:
    """Of one loop: seconds a step and what they are beside diffusers', by round, and the last answer."""

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    drawn: object = None


def measured(model: Model, loops: dict[str, Loop], rounds: int) -> dict[str, Times]:
    """The times of all loops; each runs between two runs of diffusers', whose mean it is set beside."""
    times = {name: Times() for name in loops}
    for loop in loops.values():
        loop(lambda done: None)  # what is made once is made
    before, _ = seconds_a_step(model, loops[BASE])
    for _ in range(rounds):
        for name, loop in loops.items():
            if name == BASE:
                continue
            took, times[name].drawn = seconds_a_step(model, loop)
            after, _ = seconds_a_step(model, loops[BASE])
            times[name].seconds.append(took)
            times[name].ratios.append(took / ((before + after) / 2))
            times[BASE].seconds.append(after)
            before = after
    return times


def operations(loop: Loop) -> int:
    """Floating-point operations of the last step of a run: products, convolutions and attention."""

    def of_attention(query: Size, key: Size, value: Size, *_: object, **__: object) -> int:
        batch, heads, positions, width = query
        return 2 * batch * heads * positions * key[2] * (width + value[3])

    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which torch does not count itself
    told: list[int] = []
    with FlopCounterMode(display=False, custom_mapping={on_cpu: of_attention}) as counter:
        loop(lambda done: told.append(counter.get_total_flops()))
    return told[-1] - told[-2]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """A quarter, half and three quarters of the values lie below."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def main() -> None:
    """Time all loops in turn and print a table for each number of frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", default="3,5", help="foregrounds, background and whole picture together")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--fast", default="2,3", help="values of -O fast")
    parser.add_argument("--steps", type=int, default=20, help="2 or more; -O fast shows with many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", action="store_true", help="count arithmetic instead of time")
    parser.add_argument("--prior", default="auto", help="what LayerFusion's masks are made of: auto, both…")
    parser.add_argument("--shape", default="sd15-small", choices=("embedded", *SHAPES))
    parser.add_argument("--model", default="", help="a name or a folder; random weights by default")
    chosen = parser.parse_args()
    keep_freed_memory()
    if chosen.model:
        model = load_model(chosen.model)
    else:
        model = random_embedded() if chosen.shape == "embedded" else random_sd15(SHAPES[chosen.shape])
    fast = [int(every) for every in chosen.fast.split(",") if every]
    latents = "x".join(map(str, model.latent_shape(model.native_size)))
    print(
        f"{model.device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, latents of "
        f"{latents}, {chosen.rounds} rounds of {chosen.steps} steps"
    )
    for frames in map(int, chosen.frames.split(",")):
        methods = chosen.methods.split(",")
        trained = bool(chosen.model)
        loops = loops_of(model, methods, fast, frames, chosen.steps, chosen.prior, trained=trained)
        if chosen.count:
            counts = {name: operations(loop) for name, loop in loops.items()}
            print(f"\n{frames} frames" + " " * 12 + "billions a step   of diffusers'")
            for name, count in counts.items():
                print(f"{name:24s} {count / 1e9:9.2f}   {count / counts[BASE]:.3f}")
            continue
        times = measured(model, loops, chosen.rounds)
        print(f"\n{frames} frames" + " " * 18 + "ms a step   of diffusers' (middle half)")
        exact = {fast_name(method, every): method for method in methods for every in fast}
        for name, own in times.items():
            told = f"{name:24s} {statistics.median(own.seconds) * 1e3:9.1f}"
            if own.ratios:
                low, ratio, high = quartiles(own.ratios)
                told += f"   {ratio:.3f} ({low:.3f}-{high:.3f})"
            if trained and name in exact:
                told += f"   {psnr(model, times[exact[name]].drawn, own.drawn):.1f} dB"
            print(told)


if __name__ == "__main__":
    main()
