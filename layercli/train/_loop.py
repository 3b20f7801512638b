"""The one training loop: every stage gives a loss for a step; the loop does the rest.

A batch is a pure function of (seed, step), so a resumed run sees the batches an uninterrupted one would.
Checkpoints are written to a temporary file and renamed; Ctrl-C and SIGTERM save before they leave.
"""

from __future__ import annotations

import json
import math
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.models.family import resolve_device
from layercli.models.precision import fast_layout, mixed_precision
from layercli.train._muon import Muon, takes
from layercli.train._report import write_report

OnStep = Callable[[int, int], None]
LOG_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How long, how fast and where; every stage's options extend these.

    decay: share of the steps, at the end, over which the learning rate falls linearly to zero.
    minutes: stop (with a checkpoint) after this long, 0 for no limit.
    init: a folder of weights to start from instead of random ones.
    optimizer: "muon" for matrices and convolutions (AdamW for the rest), or "adamw" for all.
    precision: "auto" takes what the device does fast: bf16, fp16 or fp32.
    """

    data: str = "runs/data"
    out: str = "runs/train"
    steps: int = 10_000
    batch: int = 32
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 5e-4
    warmup: int = 200
    decay: float = 0.2
    weight_decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0
    minutes: float = 0.0
    checkpoint_minutes: float = 4.0
    precision: str = "auto"
    device: str = "auto"
    resume: bool = True
    init: str = ""
    threads: int = 0


def folder_weights(folders: Sequence[Path], weights: tuple[float, ...]) -> tuple[float, ...]:
    """How often each folder's pictures are drawn: 1 where no weights are given."""
    factors = weights or (1.0,) * len(folders)
    if len(factors) != len(folders):
        raise LayercliError(
            f"There are {len(folders)} folders of data and {len(factors)} weights.",
            "Give a weight each: --data A,B -O data_weights=1,0.5",
        )
    if min(factors) <= 0:
        raise LayercliError("A folder's weight is above 0.", "Leave the folder out instead.")
    return factors


def learning_rate_at(step: int, options: LoopOptions) -> float:
    """Linear warm-up, a plateau, then a linear fall to zero over the last `decay` of the steps."""
    rise = min(1.0, (step + 1) / max(1, options.warmup))
    tail = max(1.0, options.steps * options.decay)
    return options.learning_rate * rise * min(1.0, max(0.0, (options.steps - step) / tail))


def ema_decay_at(step: int, ceiling: float) -> float:
    """Warm-up of the moving average: early steps are forgotten quickly."""
    return min(ceiling, (1 + step) / (10 + step))


class StopRequest:
    """Turns SIGINT and SIGTERM into a wish that the loop grants after the step in hand is whole."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> StopRequest:
        self._before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


class Average:
    """Exponential moving average of parameters, in float32."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.values = [p.detach().clone().float() for p in parameters]

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor], decay: float) -> None:
        torch._foreach_lerp_(self.values, [p.detach().float() for p in parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[Tensor]) -> None:
        for parameter, value in zip(parameters, self.values, strict=True):
            parameter.copy_(value)


def optimizers_for(
    model: nn.Module, options: LoopOptions, device: torch.device
) -> list[torch.optim.Optimizer]:
    """The optimizer, or two: Muon for the inner matrices and AdamW for ends, biases and norms."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [p for name, p in named if options.optimizer == "muon" and takes(name, p)]
    taken = {id(p) for p in inner}
    rest = torch.optim.AdamW(
        [p for _, p in named if id(p) not in taken],
        lr=options.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=options.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    if not inner:
        return [rest]
    return [Muon(inner, lr=options.learning_rate, weight_decay=options.weight_decay), rest]


def run_loop(
    model: nn.Module,
    loss_at: Callable[[nn.Module, int, torch.device], Tensor],
    options: LoopOptions,
    on_step: OnStep,
    on_checkpoint: Callable[[int], None] = lambda step: None,
) -> int:
    """Train `model` in place on `loss_at(model, step, device)`; leaves the averaged weights in it.

    Returns the number of steps done. `out/options.json` holds what was asked, `out/log.jsonl` gets a row
    every 20 steps, `out/state.pt` is the checkpoint, and `out/report.html` shows curves and samples up to it.
    `on_checkpoint(step)` runs with the averaged weights in place (sample sheets, exports).
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    asked = json.dumps(asdict(options), indent=1) + "\n"
    (out / "options.json").write_text(asked, encoding="utf-8")
    accelerator = Accelerator(
        cpu=options.device == "cpu",
        mixed_precision=mixed_precision(options.precision, resolve_device(options.device)),
        gradient_accumulation_steps=options.accumulate,
    )
    device = accelerator.device
    model.to(device, memory_format=fast_layout(device))  # type: ignore[call-overload]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizers = optimizers_for(model, options, device)
    average = Average(trained)
    state_file, first = out / "state.pt", 0
    if options.resume and state_file.exists():
        first = _restore(state_file, trained, optimizers, average, device)
    wrapped, *optimizers = accelerator.prepare(model, *optimizers)
    wrapped.train()

    def checkpoint(step: int) -> None:
        if not accelerator.is_main_process:
            return
        state = {
            "step": step,
            "model": [p.detach().cpu() for p in trained],
            "average": [v.cpu() for v in average.values],
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        }
        torch.save(state, out / "state.pt.part")
        (out / "state.pt.part").replace(state_file)
        kept = [p.detach().clone() for p in trained]
        average.copy_to(trained)
        model.eval()
        on_checkpoint(step)
        write_report(out, type(options).__module__.rpartition(".")[2], step, options.steps)
        model.train()
        with torch.no_grad():
            for parameter, value in zip(trained, kept, strict=True):
                parameter.copy_(value)

    began = saved = logged = time.monotonic()
    done, losses = first, torch.zeros((), device=device)
    with StopRequest() as stop:
        for step in range(first, options.steps):
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = learning_rate_at(step, options)
            for part in range(options.accumulate):
                with accelerator.accumulate(wrapped):
                    with accelerator.autocast():
                        loss = loss_at(wrapped, step * options.accumulate + part, device)
                    accelerator.backward(loss)
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(trained, options.clip)
                    for optimizer in optimizers:
                        optimizer.step()
                        optimizer.zero_grad()
                losses += loss.detach() / options.accumulate
            average.update(trained, ema_decay_at(step, options.ema))
            done, now = step + 1, time.monotonic()
            if done % LOG_EVERY == 0 and accelerator.is_main_process:
                pictures = LOG_EVERY * options.batch * options.accumulate
                _log(out, done, losses.item() / LOG_EVERY, options, pictures / (now - logged))
                losses, logged = torch.zeros((), device=device), now
            out_of_time = bool(options.minutes) and now - began > options.minutes * 60
            if now - saved > options.checkpoint_minutes * 60 or stop.asked or out_of_time:
                checkpoint(done)
                saved = time.monotonic()
            if stop.asked:
                raise KeyboardInterrupt
            on_step(done, options.steps)
            if out_of_time:
                break
    if done == options.steps:
        checkpoint(done)
    average.copy_to(trained)
    model.eval()
    return done


def _log(out: Path, step: int, loss: float, options: LoopOptions, speed: float) -> None:
    if not math.isfinite(loss):
        raise LayercliError(
            f"The loss is not finite at step {step}.",
            "Lower the learning rate: -O learning_rate=1e-4, and run the same command again.",
        )
    row = {
        "step": step,
        "loss": round(loss, 5),
        "lr": learning_rate_at(step - 1, options),
        "pictures_per_second": round(speed, 2),
    }
    with (out / "log.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def _restore(
    state_file: Path,
    trained: list[nn.Parameter],
    optimizers: list[torch.optim.Optimizer],
    average: Average,
    device: torch.device,
) -> int:
    try:
        state = torch.load(state_file, map_location=device, weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(trained, state["model"], strict=True):
                parameter.copy_(value)
        average.values = [v.to(device).float() for v in state["average"]]
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
    except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise LayercliError(
            f"{state_file} cannot be resumed: {error}",
            "Start afresh with --no-resume, or name another folder with --out.",
        ) from error
    return int(state["step"])
