"""One sample of a run as metrics see it: a stack, what is known beside it, which layer plays which part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from layercli.core.composite import matte
from layercli.core.effects import EFFECTS_GROUP
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack

MATTE = 0.5
"""The gray under what is transparent, wherever a picture is judged as RGB."""

COVERS = 0.95
"""The share of the canvas that the backmost layer covers where it is the background."""

PARTS = ("composite", "background", "foreground")


class NotJudged(Exception):
    """A metric cannot judge this sample; the text says why, and the sample counts as skipped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One stack of a run.

    whole: (H, W, 4) the picture that was taken apart, or the composite that came with the layers, where there
    is one; truth: the reference's sample of the same name; prompt: of the whole picture; asked: the
    foregrounds' prompts, None where nobody knows them; seed, seconds: from the receipt.
    """

    name: str
    stack: LayerStack
    whole: np.ndarray | None = None
    truth: Sample | None = None
    prompt: str = ""
    asked: tuple[str, ...] | None = None
    seed: int | None = None
    seconds: float | None = None

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The visible layers that are pictures and not effects, back to front."""
        return tuple(layer for layer in self.stack.layers if layer.visible and not is_effect(layer))

    @cached_property
    def background(self) -> Layer | None:
        """The backmost layer, where it covers the canvas."""
        if not self.layers:
            return None
        covered = self.stack.placed(self.layers[0].name)[..., 3] > 0.5
        return self.layers[0] if covered.mean() >= COVERS else None

    @cached_property
    def foregrounds(self) -> tuple[Layer, ...]:
        """Every layer before the background."""
        return self.layers[1:] if self.background is not None else self.layers

    @cached_property
    def composite(self) -> np.ndarray:
        """All visible layers together, (H, W, 4)."""
        return self.stack.flatten()

    @property
    def count(self) -> int:
        """The number of layers, as papers count them: the background and the foregrounds."""
        return len(self.layers)

    def placed(self, layer: Layer) -> np.ndarray:
        """A layer on the whole canvas, (H, W, 4)."""
        return self.stack.placed(layer.name)

    def covered(self) -> np.ndarray:
        """The alpha of all foregrounds together, (H, W)."""
        clear = np.ones((self.stack.canvas.height, self.stack.canvas.width), np.float32)
        for layer in self.foregrounds:
            clear *= 1 - self.placed(layer)[..., 3]
        return 1 - clear

    def pictures(self, part: str) -> Iterator[np.ndarray]:
        """The pictures of a part, (H, W, 4) each: one composite, one background, all foregrounds."""
        if part == "composite":
            yield self.composite
        elif part == "background" and self.background is not None:
            yield self.placed(self.background)
        elif part == "foreground":
            yield from (self.placed(layer) for layer in self.foregrounds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A sample that is not read yet; load raises LayercliError where it cannot be."""

    name: str
    load: Callable[[], Sample]


def is_effect(layer: Layer) -> bool:
    """Whether a layer only changes what lies under it: shadows, light, any blend mode but normal."""
    return layer.blend != "normal" or layer.group[:1] == EFFECTS_GROUP


def rgb(rgba: np.ndarray) -> np.ndarray:
    """A picture over the matte: (H, W, 4) -> (H, W, 3)."""
    return matte(rgba, MATTE)


def truth_of(sample: Sample) -> Sample:
    """The sample's truth, of the same size; raises NotJudged where there is none."""
    if sample.truth is None:
        raise NotJudged("the reference has no sample of this name")
    if sample.truth.stack.canvas != sample.stack.canvas:
        raise NotJudged(f"it is {sample.stack.canvas}, its reference is {sample.truth.stack.canvas}")
    return sample.truth


def whole_of(sample: Sample) -> np.ndarray:
    """The picture that the layers shall give together, (H, W, 4); raises NotJudged where none is known."""
    whole = sample.whole
    if whole is None and sample.truth is not None:
        whole = sample.truth.whole if sample.truth.whole is not None else sample.truth.composite
    if whole is None:
        raise NotJudged("no picture came with the layers to compare their composite with")
    if whole.shape != sample.composite.shape:
        size, canvas = f"{whole.shape[1]}x{whole.shape[0]}", sample.stack.canvas
        raise NotJudged(f"its layers are {canvas}, the whole picture is {size}")
    return whole


def no_samples(where: str) -> LayercliError:
    """The sentence for a folder in which nothing could be judged."""
    return LayercliError(
        f"No sample of {where} could be read.", "Look at one of its files: layercli show FILE"
    )
