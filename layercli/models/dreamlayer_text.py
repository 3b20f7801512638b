"""DreamLayer's text: layer-assign embeddings, and the layers' words written into the whole picture's text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layercli.core.geometry import Size
from layercli.diffusion.sample import Denoiser
from layercli.models.dreamlayer import DreamLayer, Injection
from layercli.models.family import Conditioning, Model
from layercli.models.frames import Frames, LayerPrompts

Place = tuple[int, int]
"""Whose word (-1 the whole's own, 0 the background's, f a foreground's), and which of its words, from 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayeredText:
    """The text of P pictures, frame by frame, and where the foregrounds' words stand.

    spans: (P, k, L), 1 on the words of each foreground in the whole picture's text (S_f); own: in its own.
    """

    frames: Frames
    conditioning: Conditioning
    spans: Tensor
    own: Tensor


def layered_text(
    model: Model, adapter: DreamLayer, prompts: Sequence[LayerPrompts], size: Size
) -> LayeredText:
    """Encode the texts of pictures with equally many foregrounds; gradients reach the layer-assign embedding.

    Every layer's words get the layer's embedding; the content tokens of all layers are written into the whole
    picture's text, over the same words where it has them, after its words where it has not.
    """
    frames = Frames(pictures=len(prompts), foregrounds=len(prompts[0].foregrounds))
    texts = frames.texts(prompts)
    encoded = model.in_places(model.encode_text(texts, frames.kinds, size))
    ids, content = model.words(texts)
    # A style follows the words of a layer and is none of them, so that it stays where the whole has it.
    plain = model.words(frames.texts(prompts, styled=False))[1].sum(dim=1, keepdim=True)
    is_layer = torch.tensor([kind != "global" for kind in frames.kinds], device=ids.device)[:, None]
    content = content & ((content.cumsum(dim=1) <= plain) | ~is_layer)
    ids, content = frames.apart(ids), frames.apart(content)
    marks_on = content.to(encoded.tokens.device)
    tokens = frames.apart(encoded.tokens)
    layers = torch.arange(frames.each - 1).clamp_max(adapter.settings.most)
    embedding = adapter.assign[layers.to(tokens.device)].to(tokens)  # (F - 1, D)
    marked = tokens[:, :-1] + embedding[None, :, None] * marks_on[:, :-1, :, None]
    tokens = torch.cat([marked, tokens[:, -1:]], dim=1)
    spans = tokens.new_zeros(len(prompts), frames.foregrounds, tokens.shape[2])
    mask = None if encoded.mask is None else frames.apart(encoded.mask).clone()
    wholes = []
    for row in range(len(prompts)):
        index, marks = _rewritten(ids[row].tolist(), content[row].tolist())
        taken = torch.tensor(index, device=tokens.device)
        wholes.append(tokens[row].flatten(0, 1)[taken])
        if mask is not None:  # a word is read wherever it is written
            mask[row, -1] = mask[row].flatten()[taken]
        for place, layer in enumerate(marks):
            if layer >= 1:
                spans[row, layer - 1, place] = 1.0
    tokens = torch.cat([tokens[:, :-1], torch.stack(wholes)[:, None]], dim=1)
    return LayeredText(
        frames=frames,
        conditioning=dataclasses.replace(
            encoded, tokens=tokens.flatten(0, 1), mask=None if mask is None else mask.flatten(0, 1)
        ),
        spans=spans,
        own=marks_on[:, frames.front].to(tokens),
    )


def layered_denoiser(model: Model, injection: Injection, text: LayeredText) -> Denoiser:
    """The network with an injected adapter, for all frames of these pictures: x (P·F, C, h, w), t (P·F,)."""
    inner = model.denoiser(text.conditioning, guided=text.frames.pictures == 2)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        grid = (x.shape[2], x.shape[3])
        injection.begin(text.frames, t, grid, spans=text.spans, own=text.own)
        return inner(x, t)

    return denoise


def whole_denoiser(model: Model, injection: Injection, conditioning: Conditioning) -> Denoiser:
    """The network with an injected adapter for whole pictures alone, each by itself: IRH's second pass."""
    inner = model.denoiser(conditioning)
    frames = Frames(pictures=len(conditioning), foregrounds=0, background=False)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        injection.begin(frames, t, (x.shape[2], x.shape[3]))
        return inner(x, t)

    return denoise


def written(whole: Sequence[int], layers: Sequence[Sequence[int]], room: int) -> list[Place]:
    """The whole picture's words with the layers' words in their places: at most `room` of them.

    whole, layers: ids of words. A layer whose words the whole has in a row takes their place (longer ones
    choose first), others follow at the end, foregrounds before the background. Where room is short, the
    whole's own words go first, from the end, then the last words of the longest layer.
    """
    taken: list[Place | None] = [None] * len(whole)
    late: list[int] = []
    for layer in sorted(range(len(layers)), key=lambda i: (-len(layers[i]), i == 0)):
        words = list(layers[layer])
        starts = range(len(whole) - len(words) + 1) if words else range(0)
        found = next(
            (
                s
                for s in starts
                if list(whole[s : s + len(words)]) == words and not any(taken[s : s + len(words)])
            ),
            None,
        )
        if found is None:
            late.append(layer)
            continue
        taken[found : found + len(words)] = [(layer, word) for word in range(len(words))]
    places = [(-1, word) if place is None else place for word, place in enumerate(taken)]
    for layer in sorted(late, key=lambda i: (i == 0, i)):
        places += [(layer, word) for word in range(len(layers[layer]))]
    while len(places) > room:
        own = [at for at, (layer, _) in enumerate(places) if layer == -1]
        if own:
            del places[own[-1]]
            continue
        longest = max(range(len(layers)), key=lambda i: sum(layer == i for layer, _ in places))
        del places[max(at for at, (layer, _) in enumerate(places) if layer == longest)]
    return places


def _rewritten(ids: list[list[int]], content: list[list[bool]]) -> tuple[list[int], list[int]]:
    """Which of all tokens of a picture (frame · L + place) makes each of the whole's, and whose word it is.

    ids, content: by frame, the whole last. -> (L) indices, (L) layers, -1 for what is no layer's word.
    """
    length = len(ids[0])
    at = [[place for place, is_word in enumerate(row) if is_word] for row in content]
    first = min((places[0] for places in at if places), default=None)
    whole = len(ids) - 1
    if first is None:  # no frame has words: the text of nothing
        return [whole * length + place for place in range(length)], [-1] * length
    words = [[ids[frame][place] for place in places] for frame, places in enumerate(at)]
    room = length - first - (1 if first else 0)  # where there is a start token there is an end token, too
    places = written(words[whole], words[:whole], room)
    index, marks = [whole * length + place for place in range(first)], [-1] * first
    for layer, word in places:
        frame = whole if layer == -1 else layer
        index.append(frame * length + at[frame][word])
        marks.append(layer)
    end = at[whole][-1] + 1 if at[whole] else first  # the end token, and padding after it
    while len(index) < length:
        index.append(whole * length + min(end, length - 1))
        marks.append(-1)
        end += 1
    return index, marks
