"""LayerDiff as an adapter: layer-collaborative attention, prompt enhancer and mask latents on a frozen UNet.

The paper trains all of Stable Diffusion with its blocks; here the base stays frozen, and what the paper
starts from the base's weights is the base's own plus a trained part of low rank. Every new branch ends in
zeros, as the paper has it (appendix A): a fresh adapter changes nothing.

Masks: in the paper a layer is an image latent beside a mask latent. Where a model's own latents hold alpha,
as the embedded model's do, alpha is noised, denoised and guided with the colours, and a second latent would
say the same once more; there the mask branch is left out, and masks are read from the latents. For models
without alpha it is the paper's: mask pictures through the same autoencoder, their own input and output
convolutions (begun as copies of the base's), the input times a learnable scalar that starts at zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.diffusion.among_frames import attention_among, positions_first, positions_last
from layercli.diffusion.dot_product import dot_product_attention
from layercli.models.adapters import Adapter, LowRank, zeroed
from layercli.models.frames import Frames, InHand
from layercli.models.text_memory import Memory
from layercli.models.tuning import Tuning

KIND = "layerdiff"
Enhance = Literal["both", "self", "none"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The shape of an adapter.

    masks: whether layers have mask latents; width, heads: of what is new (attentions, feed-forward); rank: of
    what is added to the base's cross-attention; most: foregrounds that are told apart; tune: rank of what is
    tuned outside attention, 0 for nothing (see `models.tuning`).
    """

    masks: bool = False
    width: int = 64
    heads: int = 4
    rank: int = 16
    most: int = 6
    tune: int = 0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which pieces of LayerDiff run (Table 2 of the paper): each can be left out.

    inter: attention across layers; intra: text-guided attention within a layer; feed: the feed-forward
    network; enhance: the prompt enhancer, with self- and cross-attention, with the first alone, or not at
    all; inject: mask latents enter the image branch.
    """

    inter: bool = True
    intra: bool = True
    feed: bool = True
    enhance: Enhance = "both"
    inject: bool = True


class Attention(nn.Module):
    """Multi-head attention from x to a source, in a narrow space; its output is zero until it is trained."""

    def __init__(self, width: int, source: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(source, inner, bias=False)
        self.value = nn.Linear(source, inner, bias=False)
        self.out = zeroed(nn.Linear(inner, width))

    def forward(self, x: Tensor, source: Tensor, read: Tensor | None = None) -> Tensor:
        """x: (B, N, D); source: (B, M, E); read: (B, M) bool, what may be looked at -> (B, N, D)."""
        query, key, value = (
            layer(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, part in ((self.query, x), (self.key, source), (self.value, source))
        )
        mask = None if read is None else read[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def across(self, x: Tensor, places: Tensor) -> Tensor:
        """Every position attends to itself in all layers, which are told apart by their places.

        x: (P, F, N, D); places: (F, D), added to all positions of a layer -> (P, F, N, D).
        """
        weight = torch.cat([self.query.weight, self.key.weight, self.value.weight])
        bias = F.linear(places, weight).repeat(len(x), 1)  # W(x + place) = Wx + W·place
        told = positions_last(x.flatten(0, 1), weight, bias).unflatten(0, x.shape[:2])
        mixed = attention_among(*told.unflatten(2, (3, self.heads, -1)).unbind(2)).flatten(2, 3)
        back = positions_first(mixed.flatten(0, 1), self.out.weight, self.out.bias)
        return back.unflatten(0, x.shape[:2])


class PromptEnhancer(nn.Module):
    """Layer prompts attend to each other, then to the whole picture's prompt (Fig 3c)."""

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        self.norm_layers, self.norm_query, self.norm_whole = (nn.LayerNorm(channels) for _ in range(3))
        self.among = Attention(channels, channels, settings.width, settings.heads)
        self.to_whole = Attention(channels, channels, settings.width, settings.heads)

    def forward(
        self, layers: Tensor, whole: Tensor, words: Tensor, whole_words: Tensor, enhance: Enhance
    ) -> Tensor:
        """layers: (P, F, L, E); whole: (P, L, E); words, whole_words: (P, F, L) and (P, L), 1 where read."""
        if enhance == "none":
            return layers
        x = layers.flatten(1, 2)
        normed = self.norm_layers(x)
        x = x + self.among(normed, normed, words.flatten(1))
        if enhance == "both":
            x = x + self.to_whole(self.norm_query(x), self.norm_whole(whole), whole_words)
        return x.unflatten(1, layers.shape[1:3])


class CollaborativeBlock(nn.Module):
    """The layer-collaborative attention block behind one transformer block of the base (Fig 3b).

    Inter-layer attention, text-guided intra-layer attention, feed-forward. The intra-layer attention is the
    base's cross-attention plus parts of low rank. Not in the paper: layers are told apart by their place in
    the order, without which attention across layers could not know what covers what.
    """

    def __init__(self, width: int, text: int, inner: int, settings: Settings) -> None:
        super().__init__()
        self.norm_inter, self.norm_intra, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.order = nn.Parameter(torch.zeros(settings.most + 1, width))
        self.inter = Attention(width, width, settings.width, settings.heads)
        self.query = LowRank(width, inner, settings.rank)
        self.key, self.value = LowRank(text, inner, settings.rank), LowRank(text, inner, settings.rank)
        self.out = LowRank(inner, width, settings.rank)
        self.feed = nn.Sequential(
            nn.Linear(width, settings.width), nn.GELU(), zeroed(nn.Linear(settings.width, width))
        )

    def forward(
        self,
        x: Tensor,
        frames: Frames,
        told: tuple[Tensor, Tensor],
        base: Any,
        rules: Rules,
        read: Tensor | None = None,
    ) -> Tensor:
        """x: (P·F, N, D); told: what `reads` gives; base: the base's cross-attention.

        read: (P·F, L), 0 on tokens that are left out.
        """
        if rules.inter:
            places = torch.arange(frames.each, device=x.device).clamp_max(len(self.order) - 1)
            met = self.inter.across(frames.apart(self.norm_inter(x)), self.order[places])
            x = x + met.flatten(0, 1)
        if rules.intra:
            normed = self.norm_intra(x)
            query = _by_head(base.to_q(normed) + self.query(normed), base.heads)
            key, value = told
            seen = None if read is None else read[:, None, None] > 0
            mixed = dot_product_attention(query, key, value, seen)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
        if rules.feed:
            x = x + self.feed(self.norm_feed(x))
        return x

    def reads(self, text: Tensor, base: Any) -> tuple[Tensor, Tensor]:
        """Keys and values (P·F, H, L, d) of the enhanced layer prompts (P·F, L, E)."""
        key, value = base.to_k(text) + self.key(text), base.to_v(text) + self.value(text)
        return _by_head(key, base.heads), _by_head(value, base.heads)


def _by_head(features: Tensor, heads: int) -> Tensor:
    return features.unflatten(-1, (heads, -1)).transpose(1, 2)


class MaskBranch(nn.Module):
    """Mask latents in and out: convolutions begun as the base's, and a scalar, zero at first."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.enter, self.leave = _twin(unet.conv_in), _twin(unet.conv_out)
        self.scalar = nn.Parameter(torch.zeros(()))


class LayerDiff(Adapter):
    """The trained parts of LayerDiff for one UNet."""

    kind, settings_type = KIND, Settings

    def __init__(self, unet: Any, settings: Settings | None = None) -> None:
        super().__init__(unet, settings or Settings())
        self.places = _last_blocks([name for name, *_ in self.network])
        self.blocks = nn.ModuleList(
            CollaborativeBlock(width, text, inner, self.settings)
            for name, width, text, inner in self.network
            if name.endswith("attn2") and name.rpartition(".")[0] in self.places
        )
        self.enhancer = PromptEnhancer(int(unet.config.cross_attention_dim), self.settings)
        self.masks = MaskBranch(unet) if self.settings.masks else None
        self.tuning = Tuning(unet, self.settings.tune) if self.settings.tune else None

    @contextmanager
    def injected(self, unet: Any, rules: Rules | None = None) -> Iterator[Injection]:
        """Put the adapter into the network while the body runs; it comes out also when the body raises."""
        injection = Injection(self, unet, rules or Rules())
        with ExitStack() as stack:
            for number, place in enumerate(self.places):
                handle = unet.get_submodule(place).register_forward_hook(injection.behind_block(number))
                stack.callback(handle.remove)
            if self.tuning is not None:
                stack.enter_context(self.tuning.injected(unet, injection.frames))
            if self.masks is not None:
                stack.callback(unet.conv_in.register_forward_hook(injection.behind_input).remove)
                stack.callback(unet.conv_out.register_forward_hook(injection.behind_output).remove)
            yield injection


class Injection(InHand):
    """The hooks of an adapter in a network: `begin` before every call of the network."""

    def __init__(self, adapter: LayerDiff, unet: Any, rules: Rules) -> None:
        self.adapter, self.rules = adapter, rules
        self._bases = [unet.get_submodule(f"{place}.attn2") for place in adapter.places]
        self._memory = Memory()
        self._text = torch.empty(0)
        self._read: Tensor | None = None
        self._masks: Tensor | None = None
        self._answer: Tensor | None = None

    def begin(
        self, frames: Frames, text: Tensor, masks: Tensor | None = None, *, read: Tensor | None = None
    ) -> None:
        """Say what the coming call holds.

        text: (P·F, L, E), enhanced; read: (P·F, L), 0 on tokens left out; masks: latents (P·F, C, h, w).
        """
        self._frames, self._text, self._read = frames, text, read
        self._masks, self._answer = masks, None

    def mask_answer(self) -> Tensor:
        """What the last call predicts for the mask latents, (P·F, C, h, w)."""
        if self._answer is None:
            raise RuntimeError("the network was not asked since begin()")
        return self._answer

    def behind_block(self, number: int) -> Any:
        """The hook of one transformer block."""

        def hook(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            frames, text = self.frames(), self._text
            block: Any = self.adapter.blocks[number]
            base = self._bases[number]
            told = self._memory.of(block, text, lambda: block.reads(text.to(output.dtype), base))
            changed: Tensor = block(output, frames, told, base, self.rules, self._read)
            return changed

        return hook

    def behind_input(self, module: nn.Module, given: Any, output: Tensor) -> Tensor:
        """Mask latents, by their own convolution and times the scalar, join the image's features."""
        branch = self.adapter.masks
        if branch is None or self._masks is None or not self.rules.inject:
            return output
        entered: Tensor = branch.enter(self._masks.to(output.dtype))
        return output + branch.scalar.to(output.dtype) * entered

    def behind_output(self, module: nn.Module, given: Any, output: Tensor) -> None:
        """The masks' own branch of the output."""
        if self.adapter.masks is not None:
            self._answer = self.adapter.masks.leave(given[0])


def _twin(convolution: nn.Conv2d) -> nn.Conv2d:
    """A trainable copy."""
    twin = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        device=convolution.weight.device,
    )
    with torch.no_grad():
        twin.weight.copy_(convolution.weight)
        if twin.bias is not None and convolution.bias is not None:
            twin.bias.copy_(convolution.bias)
    return twin


def _last_blocks(names: list[str]) -> list[str]:
    """The last transformer block of every attention module that reads text, in the order they run."""
    last: dict[str, str] = {}
    for name in names:
        block, _, kind = name.rpartition(".")
        if kind == "attn2":
            last[block.rpartition(".")[0]] = block
    return list(last.values())
