"""The loop: an interrupted run ends where an uninterrupted one does."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.train._loop import Average, LoopOptions, ema_decay_at, learning_rate_at, run_loop


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 3))


def _loss(model: nn.Module, step: int, device: torch.device) -> Tensor:
    x = torch.randn((4, 2, 8, 8), generator=torch.Generator().manual_seed(step)).to(device)
    return (model(x) - x[..., 2:-2, 2:-2]).square().mean()


def _options(out: Path, **changes: object) -> LoopOptions:
    settings = {
        "steps": 40,
        "batch": 4,
        "warmup": 5,
        "precision": "fp32",
        "device": "cpu",
        "learning_rate": 1e-2,
    }
    return LoopOptions(out=str(out), **{**settings, **changes})


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_resuming_equals_running_through(tmp_path: Path) -> None:
    whole, broken = _model(), _model()
    run_loop(whole, _loss, _options(tmp_path / "whole"), lambda done, total: None)

    def stop_at_17(done: int, total: int) -> None:
        if done == 17:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run_loop(broken, _loss, _options(tmp_path / "broken"), stop_at_17)
    resumed = _model()
    seen: list[int] = []
    run_loop(resumed, _loss, _options(tmp_path / "broken"), lambda done, total: seen.append(done))
    assert seen[0] == 19 and seen[-1] == 40
    assert torch.allclose(_weights(resumed), _weights(whole), atol=1e-6)


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path) -> None:
    model = _model()
    before = _loss(model, 999, torch.device("cpu")).item()
    run_loop(model, _loss, _options(tmp_path, steps=60), lambda done, total: None)
    assert _loss(model, 999, torch.device("cpu")).item() < 0.8 * before
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tmp_path: Path) -> None:
    def burst(model: nn.Module, step: int, device: torch.device) -> Tensor:
        return _loss(model, step, device) * float("nan")

    with pytest.raises(LayercliError, match="not finite"):
        run_loop(_model(), burst, _options(tmp_path), lambda done, total: None)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(LayercliError) as caught:
        run_loop(_model(), _loss, _options(tmp_path), lambda done, total: None)
    assert "state.pt" in caught.value.message and "--no-resume" in caught.value.hint


def test_learning_rate_rises_stays_and_falls() -> None:
    options = LoopOptions(steps=100, warmup=10, decay=0.2, learning_rate=1.0)
    rates = [learning_rate_at(step, options) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9:80] == [1.0] * 71
    assert all(a > b for a, b in pairwise(rates[80:])) and rates[-1] == pytest.approx(0.05)


def test_the_average_follows_and_its_warm_up_forgets_the_start() -> None:
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1) and ema_decay_at(10**6, 0.999) == 0.999
    value = nn.Parameter(torch.zeros(3))
    average = Average([value])
    with torch.no_grad():
        value.fill_(1)
    average.update([value], 0.75)
    assert torch.allclose(average.values[0], torch.full((3,), 0.25))
