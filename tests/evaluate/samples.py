"""Samples that the tests of metrics share: known shapes on known grounds."""

from __future__ import annotations

import numpy as np

from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.evaluate._sample import Sample

SIDE = 48


def ground(seed: int = 0, side: int = SIDE) -> np.ndarray:
    """An opaque, smooth ground, (side, side, 4)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    colour = rng.uniform(0.2, 0.8, 3) + rows[..., None] * rng.uniform(-0.1, 0.1, 3)
    colour = colour + columns[..., None] * rng.uniform(-0.1, 0.1, 3)
    return np.concatenate([colour, np.ones((side, side, 1))], -1).clip(0, 1).astype(np.float32)


def square(size: int = 16, colour: tuple[float, float, float] = (0.9, 0.1, 0.1)) -> np.ndarray:
    """An opaque square with a texture, (size, size, 4)."""
    rgba = np.ones((size, size, 4), np.float32)
    rgba[..., :3] = colour
    rgba[::4, :, :3] *= 0.5
    return rgba


def sample(
    *foregrounds: np.ndarray,
    name: str = "a",
    at: tuple[int, int] = (12, 14),
    seed: int = 0,
    **settings: object,
) -> Sample:
    """A ground with foregrounds, each eight pixels to the right of the one before."""
    layers = [Layer(name="background", rgba=ground(seed))]
    for index, rgba in enumerate(foregrounds):
        place = Offset(at[0] + 8 * index, at[1])
        layers.append(Layer(name=f"thing {index}", rgba=rgba, offset=place, prompt="a cat"))
    return Sample(name=name, stack=LayerStack(canvas=Size(SIDE, SIDE), layers=tuple(layers)), **settings)
