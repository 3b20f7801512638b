"""DreamLayer as an adapter: context-aware cross-attention and layer-shared self-attention on a frozen UNet.

arXiv 2503.12838. The paper trains keys and values of every attention layer, with extra ones for foregrounds;
here each is the frozen base's plus a trained one of low rank, so that an adapter stays small on any base.
Every trained branch ends in zeros: a fresh adapter changes nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.diffusion import attention as maps
from layercli.diffusion.attention import Grid
from layercli.diffusion.context import carry, context_loss, context_map, layout_loss, span_attention
from layercli.models.adapters import Adapter, LowRank, layer_sizes, zeroed
from layercli.models.frames import Frames, InHand
from layercli.models.hooks import (
    AttentionCall,
    AttentionLayer,
    Projection,
    attention_layers,
    edited_attention,
    together,
)
from layercli.models.text_memory import Memory
from layercli.models.tuning import Tuning

KIND = "dreamlayer"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The shape of an adapter.

    rank: of the keys and values that are added; refiners: N of Eq 5, and their width and heads; gate: what
    shared attention starts with, 0 for nothing, 1 for the paper's; most: foregrounds that are told apart;
    tune: rank of what is tuned outside attention, 0 for nothing (see `models.tuning`).
    """

    rank: int = 32
    refiners: int = 2
    width: int = 64
    heads: int = 4
    gate: float = 0.0
    most: int = 6
    tune: int = 0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which pieces of DreamLayer run; each can be left out.

    refine: Eq 5; share: Eq 10 and 11; carry: Eq 9, while t >= carry_from (T_G), with or without sharing;
    extra: the foregrounds' own keys and values; level: how often latents were halved where context maps are
    read, None for the adapter's own. At another level maps stay as they are read: Eq 5 was not trained there.
    """

    refine: bool = True
    share: bool = True
    carry: bool = True
    carry_from: int = 850
    extra: bool = True
    level: int | None = None


class KeysValues(nn.Module):
    """What is added to keys and values of a layer: for all frames, and once more for foregrounds."""

    def __init__(self, source: int, out: int, rank: int) -> None:
        super().__init__()
        self.key, self.value = LowRank(source, out, rank), LowRank(source, out, rank)
        self.front_key, self.front_value = LowRank(source, out, rank), LowRank(source, out, rank)

    def forward(self, source: Tensor, front: Tensor | None) -> tuple[Tensor, Tensor]:
        """source: (B, M, E); front: the rows of foregrounds, or None to leave their own out."""
        key, value = self.key(source), self.value(source)
        if front is None:
            return key, value
        seen = source[front]
        return key.index_add(0, front, self.front_key(seen)), value.index_add(
            0, front, self.front_value(seen)
        )

    def multiplied_out(self, base: Any) -> tuple[Projection, Projection]:
        """What makes keys and values of all frames: the base's projections with the added ones in them."""

        def projection(layer: nn.Linear, part: LowRank) -> Projection:
            return functools.partial(
                F.linear, weight=part.added_to(layer.weight).to(layer.weight), bias=layer.bias
            )

        return projection(base.to_k, self.key), projection(base.to_v, self.value)


class ContextLayer(nn.Module):
    """Eq 5: multi-head attention from a map to the features of the frame it was read from, feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_map, self.norm_features, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.forth = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        seen = self.norm_features(features)
        x = x + self.attention(self.norm_map(x), seen, seen, need_weights=False)[0]
        refined: Tensor = x + self.forth(self.norm(x))
        return refined


class Refiner(nn.Module):
    """N context-aware layers; what they find is added to the map, nothing at first."""

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        self.features = nn.Linear(channels, settings.width)
        self.values = nn.Linear(1, settings.width)
        self.layers = nn.ModuleList(
            ContextLayer(settings.width, settings.heads) for _ in range(settings.refiners)
        )
        self.out = zeroed(nn.Linear(settings.width, 1))

    def forward(self, values: Tensor, features: Tensor) -> Tensor:
        """values: (P, k, N) maps; features: (P or P·k, N, D) of the frames they are from -> (P, k, N)."""
        k = values.shape[1]
        seen = self.features(features.to(self.features.weight.dtype))
        if len(seen) != values.shape[0] * k:
            seen = seen.repeat_interleave(k, dim=0)
        x = self.values(values.flatten(0, 1)[..., None].to(seen.dtype)) + seen
        for layer in self.layers:
            x = layer(x, seen)
        change: Tensor = self.out(x)[..., 0]
        return values + change.unflatten(0, (-1, k)).to(values.dtype)


class DreamLayer(Adapter):
    """The trained parts of DreamLayer for one UNet."""

    kind, settings_type = KIND, Settings

    def __init__(self, unet: Any, settings: Settings | None = None) -> None:
        super().__init__(unet, settings or Settings())
        self.level = context_level(unet)
        self.layers = nn.ModuleList(
            KeysValues(source, out, self.settings.rank) for _, _, source, out in self.network
        )
        asked = {int(name.split(".")[1]): width for name, width, _, _ in self.network if _down(name)}
        self.refiner = Refiner(asked[self.level], self.settings)
        # The layer-assign embedding: one vector a layer, added to the words of its prompt.
        self.assign = nn.Parameter(torch.zeros(self.settings.most + 1, int(unet.config.cross_attention_dim)))
        self.shared = [layer.index for layer in attention_layers(unet) if _shares(layer)]
        self.gates = nn.Parameter(torch.full((len(self.shared),), float(self.settings.gate)))
        self.tuning = Tuning(unet, self.settings.tune) if self.settings.tune else None

    @contextmanager
    def injected(self, unet: Any, rules: Rules | None = None) -> Iterator[Injection]:
        """Put the adapter into the network while the body runs; it comes out also when the body raises."""
        edit = Injection(self, unet, rules or Rules())
        with ExitStack() as stack:
            stack.enter_context(edited_attention(unet, edit))
            if self.tuning is not None:
                stack.enter_context(self.tuning.injected(unet, edit.frames))
            yield edit


class Injection(InHand):
    """The attention edit of an adapter in a network: `begin` before every call of the network.

    remembers: where a call reads no maps, because the network's deep features are reused, those of the last
    call that did are taken.
    """

    remembers = False

    def __init__(self, adapter: DreamLayer, unet: Any, rules: Rules) -> None:
        self.adapter, self.rules = adapter, rules
        self._bases = [unet.get_submodule(name) for name, *_ in adapter.network]
        self.level = adapter.level if rules.level is None else rules.level
        there = _levels([name for name, *_ in adapter.network])
        if self.level not in there:
            raise LayercliError(
                f"No attention reads text at level {self.level} of this model.",
                f"There are: {', '.join(map(str, there))}. Try: -O level={there[0]}",
            )
        self._refines = rules.refine and self.level == adapter.level
        self._looks: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self._maps: tuple[Tensor, Tensor] | None = None
        # What a layer's gate leaves out is not computed, where gates no longer learn.
        self._gates = None if adapter.gates.requires_grad else adapter.gates.tolist()
        self._before: tuple[Tensor, Tensor] | None = None
        self._memory = Memory()
        self._made: dict[int, tuple[Projection, Projection]] = {}

    def begin(
        self, frames: Frames, t: Tensor, grid: Grid, *, spans: Tensor | None = None, own: Tensor | None = None
    ) -> None:
        """Say what the coming call holds.

        t: (P·F,); grid: rows and columns of the latents; spans: (P, k, L), the words of each foreground in
        the whole picture's text; own: the same in its own text.
        """
        if self.remembers and self._looks:
            self._before = self.maps()
        self._frames, self._t, self._grid = frames, t, grid
        self._spans, self._own = spans, own
        self._looks = []
        self._features: Tensor | None = None
        self._maps = None
        self._front = frames.foreground_rows(t.device) if self.rules.extra and frames.foregrounds else None

    def maps(self) -> tuple[Tensor, Tensor]:
        """M_G and M_F of the last call, (P, k, N) each, on the context level's grid; not clipped."""
        if not self._looks and self.remembers and self._before is not None:
            return self._before
        if self._maps is None:
            frames, features = self.frames(), self._features
            if not self._looks or features is None:
                raise RuntimeError("the network was not asked since begin()")
            apart = frames.apart(features)
            whole, own = map(context_map, self._read(frames))
            if self._refines:  # Eq 5
                whole = self.adapter.refiner(whole, apart[:, -1])
                own = self.adapter.refiner(own, apart[:, frames.front].flatten(0, 1))
            self._maps = whole, own
        return self._maps

    @property
    def map_grid(self) -> Grid:
        """The grid of `maps`."""
        return maps.grid_at(self._grid, self.level)

    def losses(self, alphas: Tensor) -> tuple[Tensor, Tensor]:
        """L_c and L_layout (Eq 6, 7) of the last call; alphas: (P, k, h, w) on the latents' grid."""
        whole, own = self.maps()
        flat = maps.resize_map(alphas.flatten(0, 1).flatten(1), self._grid, self.map_grid)
        if self._spans is None:
            raise RuntimeError("the words of the foregrounds are not known")
        known = (self._spans.sum(dim=-1) > 0).float()
        target = flat.unflatten(0, alphas.shape[:2])
        return context_loss(whole, target, known), layout_loss(whole, own, known)

    def __call__(self, call: AttentionCall) -> Tensor:
        """The edit: what an attention layer returns for a batch of frames."""
        frames = self.frames()
        meets = self.rules.share or self.rules.carry
        if meets and frames.each > 1 and _shares(call.layer):
            return self._shared(call, frames)
        query, key, value = self._heads(call)
        whole = frames.whole and frames.foregrounds and self._spans is not None
        if whole and call.layer.cross and _level(call.layer.name) == self.level:
            self._looks.append((query, key, call.bias()))
            self._features = call.hidden
        return call.project(call.attend(query, key, value, call.bias()))

    def _heads(self, call: AttentionCall) -> tuple[Tensor, Tensor, Tensor]:
        layer: Any = self.adapter.layers[call.layer.index]
        base = self._bases[call.layer.index]
        learns = torch.is_grad_enabled() or self._gates is None
        if call.text is None and not learns and not base.to_k.weight.is_meta:  # else weights come and go
            return self._multiplied_out(call, layer, base)
        query, key, value = call.heads()

        def more() -> tuple[Tensor, Tensor]:
            added, told = layer(call.source, self._front)
            return key + call.split(added).to(key), value + call.split(told).to(value)

        return query, *(more() if call.text is None else self._memory.of(layer, call.text, more))

    def _multiplied_out(self, call: AttentionCall, layer: Any, base: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The same of a self-attention whose weights stay as they are, base and added part in one product."""
        if call.layer.index not in self._made:
            self._made[call.layer.index] = layer.multiplied_out(base)
        query, key, value = call.heads(*self._made[call.layer.index])
        if self._front is not None:
            frames = self.frames()
            seen = frames.apart(call.hidden)[:, frames.front].flatten(0, 1)
            for heads, more in ((key, layer.front_key), (value, layer.front_value)):
                own = frames.apart(heads)[:, frames.front]
                own += call.split(more(seen)).unflatten(0, (frames.pictures, -1))
        return query, key, value

    def _read(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Eq 3 and the sums of Eq 4, of the whole and of each foreground; blocks of a level add up."""
        assert self._spans is not None and self._own is not None
        wholes, owns = [], []
        for query, key, bias in self._looks:
            apart = frames.apart(maps.probabilities(query, key, bias))  # (P, F, H, N, L)
            wholes.append(span_attention(apart[:, -1:], self._spans.to(apart)))
            owns.append(span_attention(apart[:, frames.front], self._own.to(apart)))
        return functools.reduce(torch.add, wholes), functools.reduce(torch.add, owns)

    def _shared(self, call: AttentionCall, frames: Frames) -> Tensor:
        """Layer-shared self-attention: every frame attends to the tokens of all frames (Eq 10, 11).

        Without sharing, it attends to its own, with what Eq 9 carried into them.
        """
        number = self.adapter.shared.index(call.layer.index)
        query, key, value = self._heads(call)
        if self._gates is not None and self._gates[number] == 0:  # a fresh adapter's
            return call.project(call.attend(query, key, value))
        own = query, key, value
        carried = self._carried(call.hidden, frames)
        if carried is not call.hidden:
            query, key, value = self._heads(call.on(carried))
        elif not self.rules.share:
            return call.project(call.attend(*own))
        if self.rules.share:
            q, k, v = (together(frames.apart(heads)) for heads in (query, key, value))
            shared = call.attend(q, k, v).unflatten(1, (frames.each, -1)).flatten(0, 1)
        else:
            shared = call.attend(query, key, value)
        if self._gates is not None and self._gates[number] == 1:  # the paper's
            return call.project(shared)
        alone = call.attend(*own)
        return call.project(torch.lerp(alone, shared, self.adapter.gates[number].to(alone.dtype)))

    def _carried(self, hidden: Tensor, frames: Frames) -> Tensor:
        """Eq 9 on a layer's input, in the pictures whose time is in [T_G, 1000]."""
        known = self._looks or (self.remembers and self._before is not None)
        if not (self.rules.carry and frames.whole and frames.foregrounds and known):
            return hidden
        late = frames.apart(self._t)[:, 0] >= self.rules.carry_from
        if not bool(late.any()):
            return hidden
        apart = frames.apart(hidden)
        level = maps.level_of(hidden.shape[1], self._grid)
        whole, _ = self.maps()
        flat = maps.resize_map(
            whole.clamp(0, 1).flatten(0, 1), self.map_grid, maps.grid_at(self._grid, level)
        )
        weights = flat.unflatten(0, whole.shape[:2]) * late[:, None, None]
        front = carry(apart[:, frames.front], apart[:, -1:], weights)
        parts = [apart[:, : frames.front.start], front, apart[:, frames.front.stop :]]
        return torch.cat(parts, dim=1).flatten(0, 1)


def context_level(unet: Any) -> int:
    """The level of the latents at which context maps are read.

    The paper reads them at 16 x 16 of 64 x 64 latents, where layout is clearest (supplement, section 4.1).
    What counts there is the number of cells a picture's layout is told in, so the level nearest to 16
    positions a side is taken among the down blocks that read text: 16 x 16 of 64 for SD1.5, but 8 x 8 of 16
    for the embedded model, which has attention at 8 x 8 and 4 x 4 alone.
    """
    side = int(unet.config.sample_size)
    levels = _levels([name for name, *_ in layer_sizes(unet)])
    return min(levels, key=lambda level: abs(math.log2(side / 2**level / 16)))


def _levels(names: list[str]) -> list[int]:
    """The levels at which down blocks read text."""
    return sorted({_level(name) for name in names if _down(name)})


def _down(name: str) -> bool:
    return name.startswith("down_blocks")


def _level(name: str) -> int:
    """How often latents were halved before a down block; -1 for other blocks."""
    return int(name.split(".")[1]) if _down(name) else -1


def _shares(layer: AttentionLayer) -> bool:
    """Self-attention of the up blocks is shared."""
    return not layer.cross and layer.name.startswith("up_blocks")
