"""Muon: updates are orthogonal, convolutions count as matrices, and it resumes like any optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from layercli.train._loop import LoopOptions, optimizers_for, run_loop
from layercli.train._muon import Muon, orthogonalized, takes


def plain_iteration(matrix: torch.Tensor) -> torch.Tensor:
    """Jordan et al.'s own order of products, in double precision, as the reference."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (24, 24)])
def test_it_is_the_published_iteration(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    wide = matrix if shape[0] <= shape[1] else matrix.T
    expected = plain_iteration(wide)
    found = orthogonalized(matrix)
    assert torch.allclose((found if wide is matrix else found.T).double(), expected, atol=2e-4)


def test_all_directions_get_the_same_step() -> None:
    matrix = torch.diag(torch.tensor([100.0, 10.0, 1.0])) @ torch.linalg.qr(torch.randn(3, 3))[0]
    values = torch.linalg.svdvals(orthogonalized(matrix))
    assert values.min() > 0.6 and values.max() < 1.25


def test_a_step_has_the_size_of_one_of_adamw() -> None:
    weight = nn.Parameter(torch.zeros(32, 8, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    Muon([weight], lr=1.0).step()
    assert 0.15 < weight.detach().square().mean().sqrt() < 0.25  # singular values are near 1, not 1


def test_the_ends_and_vectors_are_left_to_adamw() -> None:
    assert takes("down_blocks.0.resnets.0.conv1.weight", torch.zeros(4, 4, 3, 3))
    assert not takes("conv_in.weight", torch.zeros(4, 4, 3, 3))
    assert not takes("time_embedding.linear_1.weight", torch.zeros(4, 4))
    assert not takes("mid_block.resnets.0.norm1.weight", torch.zeros(4))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.SiLU(), nn.Conv2d(6, 2, 3, padding=1))


def loss_at(model: nn.Module, step: int, device: torch.device) -> torch.Tensor:
    x = torch.randn((4, 2, 6, 6), generator=torch.Generator().manual_seed(step)).to(device)
    return (model(x) - x.flip(1)).square().mean()


def options(out: Path, **changes: object) -> LoopOptions:
    settings = {
        "steps": 30,
        "batch": 4,
        "warmup": 3,
        "device": "cpu",
        "learning_rate": 2e-2,
        "optimizer": "muon",
    }
    return LoopOptions(out=str(out), **{**settings, **changes})


def test_every_parameter_has_one_optimizer(tmp_path: Path) -> None:
    model = network()
    muon, rest = optimizers_for(model, options(tmp_path), torch.device("cpu"))
    taken = [id(p) for group in muon.param_groups for p in group["params"]]
    left = [id(p) for group in rest.param_groups for p in group["params"]]
    assert sorted(taken + left) == sorted(id(p) for p in model.parameters())
    assert len(taken) == len(left) == 2


def test_it_learns_and_resumes(tmp_path: Path) -> None:
    before = loss_at(network(), 99, torch.device("cpu")).item()
    whole = network()
    run_loop(whole, loss_at, options(tmp_path / "whole"), lambda done, total: None)
    assert loss_at(whole, 99, torch.device("cpu")).item() < 0.6 * before

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise InterruptedError

    broken = options(tmp_path / "broken", checkpoint_minutes=0.0)
    with pytest.raises(InterruptedError):
        run_loop(network(), loss_at, broken, stop)
    resumed = network()
    run_loop(resumed, loss_at, broken, lambda done, total: None)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
