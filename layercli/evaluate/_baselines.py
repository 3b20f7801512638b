"""Trivial baselines made of a run's own pictures: what any method has to beat, and what games a metric."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter

from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack
from layercli.core.registry import suggest
from layercli.evaluate._run import Run
from layercli.evaluate._sample import Entry, Sample


def flat(sample: Sample) -> Sample:
    """The whole picture as the only layer."""
    return _with_layers(sample, Layer(name="background", rgba=_opaque(sample)))


def cutout(sample: Sample) -> Sample:
    """The picture cut along the foregrounds' own alpha, over itself with the hole filled from its rim."""
    whole, alpha = _opaque(sample), sample.covered()
    hole = binary_dilation(alpha > 0.02, iterations=2)
    behind = whole.copy()
    if hole.any() and not hole.all():
        nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
        filled = whole[..., :3][tuple(nearest)]
        sigma = max(1.0, 0.02 * max(hole.shape))
        soft = np.stack([gaussian_filter(filled[..., c], sigma) for c in range(3)], -1)
        behind[..., :3] = np.where(hole[..., None], soft, whole[..., :3])
    front = whole.copy()
    front[..., 3] = alpha
    prompt = ", ".join(layer.prompt for layer in sample.foregrounds if layer.prompt)
    cut = Layer(name="cut-out", rgba=front, prompt=prompt)
    return _with_layers(sample, Layer(name="background", rgba=behind), cut)


BASELINES: Mapping[str, Callable[[Sample], Sample]] = {"flat": flat, "cutout": cutout}


def baseline_of(run: Run, name: str) -> Run:
    """A run with every sample replaced by its baseline; raises LayercliError for an unknown name."""
    if name not in BASELINES:
        raise LayercliError(f'There is no folder or baseline "{name}".', suggest(name, BASELINES))

    def load(entry: Entry) -> Sample:
        return BASELINES[name](entry.load())

    entries = [Entry(name=entry.name, load=partial(load, entry)) for entry in run.entries]
    return Run(name=f"{run.name} ({name} baseline)", entries=entries, digest=f"{name} of {run.digest}")


def _opaque(sample: Sample) -> np.ndarray:
    """The picture that came with the layers, or else what they give, without transparency."""
    picture = (sample.composite if sample.whole is None else sample.whole).copy()
    picture[..., 3] = 1
    return picture


def _with_layers(sample: Sample, *layers: Layer) -> Sample:
    stack = LayerStack(canvas=sample.stack.canvas, layers=layers)
    return dataclasses.replace(sample, stack=stack, seconds=None)
