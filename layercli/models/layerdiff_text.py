"""LayerDiff's text, and the network with its adapter as a denoiser of layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from layercli.core.geometry import Size
from layercli.diffusion.sample import Denoiser
from layercli.diffusion.self_mask import exclusive, visible_masks
from layercli.models.family import Conditioning, Model
from layercli.models.frames import Frames, LayerPrompts
from layercli.models.layerdiff import Injection, LayerDiff, Rules

OwnText = Literal["layer", "whole"]
"""What the base's own cross-attention reads.

The paper gives it the whole picture's prompt and trains the base along; a frozen base would draw the whole
picture in every layer, so each layer reads its own prompt by default.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerText:
    """The text of P pictures: what the base reads, and the enhanced layer prompts (P·F, L, E).

    read: (P·F, L), 0 where layers leave out what a longer prompt needs, or None where all is read.
    """

    frames: Frames
    conditioning: Conditioning
    tokens: Tensor
    read: Tensor | None = None


def layer_text(
    model: Model,
    adapter: LayerDiff,
    prompts: Sequence[LayerPrompts],
    size: Size,
    rules: Rules | None = None,
    own_text: OwnText = "layer",
) -> LayerText:
    """Encode the texts of pictures with equally many foregrounds, and enhance the layers' prompts."""
    frames = Frames(pictures=len(prompts), foregrounds=len(prompts[0].foregrounds), whole=False)
    texts = frames.texts(prompts)
    wholes = dataclasses.replace(frames, foregrounds=0, background=False, whole=True)
    whole_texts = wholes.texts(prompts)
    encoded = model.in_places(model.encode_text(texts, frames.kinds, size))
    whole = model.encode_text(whole_texts, wholes.kinds, size)
    adapter_type = adapter.enhancer.among.query.weight.dtype
    enhanced = adapter.enhancer(
        frames.apart(encoded.tokens).to(adapter_type),
        whole.tokens.to(adapter_type),
        frames.apart(_counting(model, texts)).to(encoded.tokens.device),
        _counting(model, whole_texts).to(whole.tokens.device),
        (rules or Rules()).enhance,
    )
    read = encoded.mask
    if own_text == "whole":
        tokens = whole.tokens.repeat_interleave(frames.each, dim=0)
        mask = None if whole.mask is None else whole.mask.repeat_interleave(frames.each, dim=0)
        encoded = dataclasses.replace(encoded, tokens=tokens, mask=mask)
    return LayerText(frames=frames, conditioning=encoded, tokens=enhanced.flatten(0, 1), read=read)


def layer_denoiser(model: Model, injection: Injection, text: LayerText) -> Denoiser:
    """The network with an injected adapter, for all layers of these pictures: x (P·F, C, h, w), t (P·F,).

    With mask latents x has twice the channels, the masks' behind the pictures', and so has the answer.
    """
    inner = model.denoiser(text.conditioning, guided=text.frames.pictures == 2)
    masks = injection.adapter.masks is not None

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        if not masks:
            injection.begin(text.frames, text.tokens, read=text.read)
            return inner(x, t)
        pictures, shapes = x.chunk(2, dim=1)
        injection.begin(text.frames, text.tokens, shapes, read=text.read)
        answer = inner(pictures, t)
        return torch.cat([answer, injection.mask_answer().float()], dim=1)

    return denoise


def layer_masks(model: Model, x0: Tensor, channels: int) -> Tensor:
    """Binary masks of one picture's layers, background first, as far as x_0 shows them: (F, H, W).

    From mask latents, decoded and averaged over RGB, on the pictures' grid; from the latents' own alpha, on
    the latents' grid. The largest value at a position gets it (section 4.1).
    """
    if x0.shape[1] > channels:
        shapes = model.decode(x0[:, channels:], ["background"] * len(x0))[:, :3].mean(dim=1)
        return exclusive(shapes)
    alphas = model.coarse_alpha(x0[1:])
    if alphas is None:
        raise ValueError("the latents hold neither alpha nor masks")
    return exclusive(visible_masks(alphas))


def negative_texts(prompts: LayerPrompts, more: str = "") -> LayerPrompts:
    """What each layer shall not show (section 5.2): the others' content.

    For the background and the whole, all foregrounds' prompts; for a foreground, the background's; and what a
    person named.
    """

    def joined(*texts: str) -> str:
        return ", ".join(text for text in (*texts, more) if text.strip())

    front = joined(" and ".join(prompts.foregrounds))
    behind = joined(prompts.background)
    return LayerPrompts(background=front, foregrounds=(behind,) * len(prompts.foregrounds), whole=front)


def _counting(model: Model, texts: Sequence[str]) -> Tensor:
    """Which tokens may be looked at: words, and the first token, so that an empty text is not nothing."""
    _, words = model.words(texts)
    words = words.clone()
    words[:, 0] = True
    return words
