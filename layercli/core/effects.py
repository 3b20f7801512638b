"""Shadows and light as layers of their own: the difference between a plain and a harmonised picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Container

import numpy as np

from layercli.core import composite
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, quantized_source
from layercli.core.pixels import dequantize, quantize
from layercli.core.trim import grow

#: The group that holds the effect layers.
EFFECTS_GROUP: tuple[str, ...] = ("effects",)


def effect_layers(
    composite_rgb: np.ndarray,
    harmonized_rgb: np.ndarray,
    *,
    shadows_name: str = "shadows",
    light_name: str = "light",
    group: tuple[str, ...] = EFFECTS_GROUP,
) -> tuple[Layer, Layer]:
    """Split harmonised minus composite into a multiply layer and a screen layer.

    composite_rgb C: (H, W, 3) in [0, 1], the opaque picture under the effects: the composite of layers that
    are quantised already, itself not rounded; harmonized_rgb H: the same shape, the picture wanted.
    Where H < C: shadows = H/C; where H > C: light = 1 - (1-H)/(1-C). Both layers hold 8-bit levels only and
    are transparent away from where they change something; laid over C and rounded, they give the rounded H.
    Raises LayercliError when the shapes differ.
    """
    if composite_rgb.shape != harmonized_rgb.shape or composite_rgb.ndim != 3 or composite_rgb.shape[2] != 3:
        raise LayercliError(
            f"The harmonised picture is {harmonized_rgb.shape}, the composite {composite_rgb.shape}.",
            "Give two pictures of the same height x width x 3.",
        )
    c = np.clip(composite_rgb, 0.0, 1.0).astype(np.float32)
    # Aim at the 8-bit picture: that is what both sides of the comparison are once in a file.
    h = dequantize(quantize(harmonized_rgb))
    c8, h8 = quantize(c), quantize(h)
    darker, lighter = h8 < c8, h8 > c8
    shadows = _nearest(_ratio(h, c), c, h8, darker)
    # Screen is multiply seen in the negative: the same search on complements.
    light = 255 - _nearest(_ratio(1.0 - h, 1.0 - c), 1.0 - c, 255 - h8, lighter)
    return (
        _layer(shadows_name, shadows, shadows != 255, "multiply", group),
        _layer(light_name, light, light != 0, "screen", group),
    )


def with_effects(stack: LayerStack, harmonized_rgb: np.ndarray) -> LayerStack:
    """Put the two effect layers on top of a stack, so that it flattens to the harmonised picture.

    harmonized_rgb: (H, W, 3) float in [0, 1], the size of the canvas. What flatten_quantized returns is then
    the rounded harmonised picture.
    Raises LayercliError when the stack is not opaque (effects need a background) or the sizes differ.
    """
    sources = [quantized_source(layer) for layer in stack.layers if layer.visible]
    under = np.moveaxis(composite.merge(stack.canvas.width, stack.canvas.height, sources), 0, -1)
    if quantize(under[..., 3]).min() < 255:
        raise LayercliError(
            "The stack has transparent places; shadows and light need an opaque background under them.",
            "Add a background layer, or choose no effects.",
        )
    shadows, light = effect_layers(
        under[..., :3],
        harmonized_rgb,
        shadows_name=free_name("shadows", stack.names),
        light_name=free_name("light", stack.names),
    )
    return dataclasses.replace(stack, layers=(*stack.layers, shadows, light))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part/whole in [0, 1]; 1 where the whole is 0."""
    return np.clip(np.divide(part, whole, out=np.ones_like(whole), where=whole > 0), 0.0, 1.0)


def _nearest(ratio: np.ndarray, base: np.ndarray, wanted: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The levels s (uint8) for which base*s rounds to `wanted` (uint8); 255, neutral, outside `where`.

    The rounded ratio always does, because base <= 1. Readers that round the backdrop to 8 bits before the
    next layer may miss by a level, so its neighbours are tried too, for one that is right for both kinds.
    """
    middle = quantize(ratio).astype(np.float32)
    wanted_f = wanted.astype(np.float32)
    rounded = quantize(base).astype(np.float32)
    best = middle
    best_error = np.full(middle.shape, np.inf, dtype=np.float32)
    for step in (0.0, -1.0, 1.0):
        level = np.clip(middle + np.float32(step), 0.0, 255.0)
        exact = np.abs(base * level - wanted_f)
        stepwise = np.abs(np.rint(rounded * level / np.float32(255.0)) - wanted_f)
        error = np.where(exact > 0.5, np.float32(1e3), np.float32(0.0)) + stepwise + exact * np.float32(0.01)
        better = error < best_error
        best = np.where(better, level, best)
        best_error = np.where(better, error, best_error)
    return np.where(where, quantize(best / np.float32(255.0)), np.uint8(255)).astype(np.uint8)


def _layer(name: str, levels: np.ndarray, used: np.ndarray, blend: str, group: tuple[str, ...]) -> Layer:
    """Levels (H, W, 3) as an effect layer, transparent away from where a channel is used."""
    rgba = np.empty((*levels.shape[:2], 4), dtype=np.float32)
    rgba[..., :3] = dequantize(levels)
    # Two pixels around, so that layers of fine noise are not full of holes, which resample badly.
    rgba[..., 3] = grow(grow(np.asarray(used.any(axis=-1))))
    return Layer(name=name, rgba=rgba, blend=blend, group=group)


def free_name(name: str, taken: Container[str]) -> str:
    """The name itself, or the first of "name 2", "name 3", … that no layer has."""
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name} {number}"
    return candidate
