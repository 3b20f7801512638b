"""Attention edits: installed on a UNet by a context manager, and always taken out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.diffusion.dot_product import dot_product_attention

Projection = Callable[[Tensor], Tensor]
"""Features (B, M, E) -> (B, M, H·d)."""

_ORDER = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """One attention layer of a UNet.

    name: diffusers' module path; index: its place among all layers in the order they run; cross: whether it
    reads the text; block: number of its transformer block, which a self- and a cross-attention share.
    """

    name: str
    index: int
    cross: bool
    block: int


class AttentionCall:
    """One call of one attention layer, as an edit sees it.

    hidden: (B, N, D) the layer's normed input; text: (B, L, E) or None for self-attention. Nothing is
    computed before it is asked for.
    """

    def __init__(
        self,
        layer: AttentionLayer,
        attention: Any,
        original: Any,
        hidden: Tensor,
        text: Tensor | None,
        bias: Tensor | None,
        once: bool = False,
    ) -> None:
        self.layer = layer
        self.hidden = hidden
        self.text = text
        self._attention = attention
        self._original = original
        self._bias = bias
        self._once = once

    @property
    def source(self) -> Tensor:
        """What keys and values are made of: the text, or `hidden` itself; (B, M, E)."""
        return self.hidden if self.text is None else self.text

    def on(self, hidden: Tensor) -> AttentionCall:
        """The same call on other features (B, N, D)."""
        return AttentionCall(
            self.layer, self._attention, self._original, hidden, self.text, self._bias, self._once
        )

    @property
    def once(self) -> bool:
        """Whether the second half of the batch is the first half again."""
        return self._once

    def first_half(self) -> AttentionCall:
        """The same call on the first half of the batch alone, where the second is the same."""
        hidden = self.hidden[: len(self.hidden) // 2]
        return AttentionCall(self.layer, self._attention, self._original, hidden, self.text, self._bias)

    def output(self) -> Tensor:
        """What the layer gives without an edit: (B, N, D), by diffusers' own processor."""
        if self._once and not isinstance(self._original, _Processor) and self._bias is None:
            half: Tensor = self._original(self._attention, self.hidden[: len(self.hidden) // 2])
            return torch.cat([half, half])
        result: Tensor = self._original(
            self._attention,
            self.hidden,
            encoder_hidden_states=self.text,
            attention_mask=self._bias,
        )
        return result

    def heads(
        self, to_key: Projection | None = None, to_value: Projection | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, N, d), keys and values (B, H, M, d).

        to_key, to_value: what makes keys and values, where it is not the layer's own projections.
        """
        attention, source = self._attention, self.source
        to_key, to_value = to_key or attention.to_k, to_value or attention.to_v
        if self.text is not None and attention.norm_cross:
            source = attention.norm_encoder_hidden_states(source)
        if self._once:
            half = source[: len(source) // 2]
            made = (self.split(layer(half)) for layer in (attention.to_q, to_key, to_value))
            query, key, value = (torch.cat([heads, heads]) for heads in made)
            return query, key, value
        query = self.split(attention.to_q(self.hidden))
        return query, self.split(to_key(source)), self.split(to_value(source))

    def split(self, features: Tensor) -> Tensor:
        """Features by head: (B, M, H·d) -> (B, H, M, d)."""
        return features.unflatten(-1, (self._attention.heads, -1)).transpose(1, 2)

    def bias(self) -> Tensor | None:
        """What is added to the logits, (B, H, 1, M), or None."""
        if self._bias is None:
            return None
        batch, keys = self.hidden.shape[0], self.source.shape[1]
        prepared: Tensor = self._attention.prepare_attention_mask(self._bias, keys, batch)
        return prepared.view(batch, self._attention.heads, -1, prepared.shape[-1])

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """softmax(QKᵀ/√d + bias) V of every head: (B, H, N, d) -> (B, N, H·d), not yet projected."""
        if self._once:
            rows = len(query) // 2
            query, key, value = query[:rows], key[:rows], value[:rows]
            bias = bias[:rows] if bias is not None and len(bias) > 1 else bias
            mixed = dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)
            return torch.cat([mixed, mixed]).to(query.dtype)
        mixed = dot_product_attention(query, key, value, bias)
        return mixed.transpose(1, 2).flatten(2).to(query.dtype)

    def project(self, mixed: Tensor) -> Tensor:
        """The layer's output projection: (B, N, H·d) -> (B, N, D), what `output` returns."""
        result = self._attention.to_out[1](self._attention.to_out[0](mixed))
        if self._attention.residual_connection:
            result = result + self.hidden
        scaled: Tensor = result / self._attention.rescale_output_factor
        return scaled


def together(heads: Tensor) -> Tensor:
    """The tokens of several frames as one sequence: (P, F, H, N, d) -> (P, H, F·N, d).

    A view, not a copy, of what `AttentionCall.split` gives, which has tokens before heads in memory.
    """
    return heads.transpose(2, 3).flatten(1, 2).transpose(1, 2)


AttentionEdit = Callable[[AttentionCall], Tensor]
"""An attention call -> what the layer returns, (B, N, D)."""


def identity(call: AttentionCall) -> Tensor:
    """The edit that changes nothing, bit for bit."""
    return call.output()


class _Processor:
    """A diffusers attention processor that hands every call to an edit."""

    def __init__(self, layer: AttentionLayer, original: Any, edit: AttentionEdit) -> None:
        self.layer, self.original, self.edit = layer, original, edit
        self.once = False

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        call = AttentionCall(
            self.layer,
            attn,
            self.original,
            hidden_states,
            encoder_hidden_states,
            attention_mask,
            self.once,
        )
        return self.edit(call)


def computing_once(attention: Any) -> AbstractContextManager[None] | None:
    """A context in which an edited self-attention computes one half of a batch whose halves are the same.

    The edit sees both, and gets both: what it asks of its call is made of the first half, frame by frame in
    the same order. None for an attention that is not edited.
    """
    processor = getattr(attention, "processor", None)
    return _once(processor) if isinstance(processor, _Processor) else None


@contextmanager
def _once(processor: _Processor) -> Iterator[None]:
    processor.once = True
    try:
        yield
    finally:
        processor.once = False


def attention_layers(unet: Any) -> tuple[AttentionLayer, ...]:
    """The attention layers of a UNet2DConditionModel in the order they run."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    names.sort(
        key=lambda name: _ORDER.get(name.partition(".")[0], 3)
    )  # stable: only the blocks change places
    layers, blocks = [], list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    for index, name in enumerate(names):
        block = name.rpartition(".")[0]
        cross = bool(unet.get_submodule(name).is_cross_attention)
        layers.append(AttentionLayer(name=name, index=index, cross=cross, block=blocks.index(block)))
    return tuple(layers)


@contextmanager
def edited_attention(unet: Any, edit: AttentionEdit) -> Iterator[tuple[AttentionLayer, ...]]:
    """Hand every attention call of a UNet to an edit while the body runs; yields the layers.

    The UNet's own processors come back afterwards, also when the body raises. Edits nest: the inner edit's
    `output` runs the outer one. Raises LayercliError for a UNet whose attention is of another kind.
    """
    layers = attention_layers(unet)
    before = dict(unet.attn_processors)
    for layer in layers:
        attention: Any = unet.get_submodule(layer.name)
        special = ("spatial_norm", "group_norm", "norm_q", "norm_k", "added_kv_proj_dim")
        if any(getattr(attention, part, None) is not None for part in special):
            raise LayercliError(
                f"The attention layer {layer.name} is of a kind that cannot be edited.",
                "Choose another model: layercli models",
            )
    edited = {
        f"{layer.name}.processor": _Processor(layer, before[f"{layer.name}.processor"], edit)
        for layer in layers
    }
    try:
        unet.set_attn_processor(edited)
        yield layers
    finally:
        unet.set_attn_processor(dict(before))  # it empties the dict it is given


def last_self_attention(layers: tuple[AttentionLayer, ...]) -> AttentionLayer:
    """The layer LayerFusion reads its structure prior from (section A.3)."""
    return [layer for layer in layers if not layer.cross][-1]


def inference(unet: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A network made ready: on its device, in its number type, frozen, in evaluation mode."""
    # torch's own `to`: the one of diffusers warns about every network with nothing to keep in float32
    return nn.Module.to(unet, device=device, dtype=dtype).eval().requires_grad_(False)
