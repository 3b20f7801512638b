"""Where a photo shows what words name, for models without alpha: context maps, read while it is inverted.

DreamLayer (arXiv 2503.12838), Eq 3 and 4: the attention of the whole picture to the words of an object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.diffusion.attention import grid_at, probabilities
from layercli.diffusion.context import context_map, span_attention
from layercli.models.dreamlayer import context_level
from layercli.models.dreamlayer_text import written
from layercli.models.family import Model
from layercli.models.hooks import AttentionCall, AttentionEdit
from layercli.vision.classical import CUT_PIXELS, cut
from layercli.vision.grids import resized, scaled


class ContextMaps:
    """The sums of Eq 4 over all calls of the network, at the level where layout is clearest.

    Raises LayercliError where the whole picture's prompt does not hold the words of a foreground.
    """

    def __init__(self, model: Model, photo: Size, foregrounds: Sequence[str], whole: str) -> None:
        self._size = model.working_size(photo)
        _, *latents = model.latent_shape(self._size.made)
        self._latents = latents[0], latents[1]
        self._level = context_level(model.unet)
        self._spans = spans_in(model, foregrounds, whole)
        self._sum: Tensor | None = None

    def read_beside(self, edit: AttentionEdit) -> AttentionEdit:
        """The edit, and the last frame of every batch read beside it."""

        def reading(call: AttentionCall) -> Tensor:
            if call.layer.cross and call.layer.name.startswith(f"down_blocks.{self._level}."):
                self._read(call)
            return edit(call)

        return reading

    def _read(self, call: AttentionCall) -> None:
        query, key, _ = call.heads()
        bias = call.bias()
        attention = probabilities(query[-1:], key[-1:], None if bias is None else bias[-1:])  # Eq 3
        spans = self._spans.to(attention)[None, :, : attention.shape[-1]]
        summed = span_attention(attention[:, None], spans)[0].cpu()  # (k, N)
        self._sum = summed if self._sum is None else self._sum + summed

    def masks(self) -> list[np.ndarray]:
        """The maps M^f of Eq 4: one (h, w) in [0, 1] a foreground, of the size at which the model works."""
        if self._sum is None:
            raise ValueError("nothing was read yet")
        made, used = self._size.made, self._size.used
        grid = grid_at(self._latents, self._level)
        maps = (one.unflatten(0, grid).float().numpy() for one in context_map(self._sum))
        return [resized(one, made.height, made.width)[: used.height, : used.width] for one in maps]


def spans_in(model: Model, foregrounds: Sequence[str], whole: str) -> Tensor:
    """S_f of Eq 4: (k, L), 1 on the words of each foreground in the whole picture's text."""
    ids, content = model.words([*foregrounds, whole])
    words = [row[marks].tolist() for row, marks in zip(ids, content, strict=True)]
    at = content[-1].nonzero().flatten().tolist()
    places = written(words[-1], [[], *words[:-1]], len(words[-1]) + sum(map(len, words)))
    spans = torch.zeros(len(foregrounds), ids.shape[1])
    for position, (layer, _) in zip(at, places, strict=False):
        if layer > 0:
            spans[layer - 1, position] = 1
    for prompt, span in zip(foregrounds, spans, strict=True):
        if not span.any():
            raise LayercliError(
                f'The prompt "{whole}" does not hold the words "{prompt}".',
                "Leave -O prompt out, or write every foreground into it as it stands in -O foregrounds.",
            )
    return spans


def object_in(photo: np.ndarray, where: np.ndarray) -> np.ndarray:
    """A coarse map (h, w) in [0, 1] -> the object's mask, cut by the photo's (H, W, 3) own colours and edges.

    The largest part that is cut out is the object.
    """
    small = scaled(photo, CUT_PIXELS)
    prior = resized(where, *small.shape[:2])
    found = cut(small, np.clip(prior, 0.05, 0.95))
    numbers, count = ndimage.label(found > 0.5)
    if not count:
        return np.zeros_like(found)
    largest = 1 + int(np.argmax(np.bincount(numbers.ravel())[1:]))
    return np.where((numbers == largest) | (numbers == 0), found, 0).astype(np.float32)
