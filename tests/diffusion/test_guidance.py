"""Classifier-free guidance: its fixed points and its formula."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from layercli.diffusion.guidance import classifier_free, classifier_free_joint, combine


def conditional(x: Tensor, t: Tensor) -> Tensor:
    return torch.sin(x * 3 + t.reshape(-1, 1, 1, 1))


def unconditional(x: Tensor, t: Tensor) -> Tensor:
    return torch.cos(x)


X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
T = torch.tensor([3, 3])


def test_guidance_one_is_the_conditional_bit_for_bit() -> None:
    assert torch.equal(classifier_free(conditional, unconditional, 1.0)(X, T), conditional(X, T))


def test_guidance_zero_is_the_unconditional() -> None:
    torch.testing.assert_close(classifier_free(conditional, unconditional, 0.0)(X, T), unconditional(X, T))


@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5])
def test_one_call_and_two_calls_agree(scale: float) -> None:
    def both(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([unconditional(x[:2], t[:2]), conditional(x[2:], t[2:])])

    joint = classifier_free_joint(both, scale)(X, T)
    assert torch.equal(joint, classifier_free(conditional, unconditional, scale)(X, T))


@given(st.floats(0, 10), st.floats(0, 1))
def test_when_both_agree_guidance_changes_nothing(scale: float, rescale: float) -> None:
    torch.testing.assert_close(combine(X, X, scale, rescale=rescale), X)


def test_full_rescaling_restores_the_spread_of_the_conditional() -> None:
    cond, uncond = conditional(X, T), unconditional(X, T)
    guided = combine(uncond, cond, 6.0, rescale=1.0)
    torch.testing.assert_close(guided.std(dim=(1, 2, 3)), cond.std(dim=(1, 2, 3)))


@pytest.mark.parametrize("scale", [2.0, 7.5])
def test_without_tint_guidance_shifts_no_mean(scale: float) -> None:
    cond, uncond = conditional(X, T), unconditional(X, T)
    guided = combine(uncond, cond, scale, tint=0.0)
    torch.testing.assert_close(guided.mean(dim=(2, 3)), cond.mean(dim=(2, 3)))
    plain = combine(uncond, cond, scale)
    shapes = [part - part.mean(dim=(2, 3), keepdim=True) for part in (guided, plain)]
    torch.testing.assert_close(*shapes)  # and is itself in all else
    half = combine(uncond, cond, scale, tint=0.5)
    torch.testing.assert_close(half, (guided + plain) / 2)
