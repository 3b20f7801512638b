"""Parts of the embedded model's UNet: residual blocks, attention that can be edited, levels, embeddings.

Names of modules and weights are those of diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Processor = Callable[..., Tensor]
"""(attention, hidden (B, N, D), encoder_hidden_states=…, attention_mask=…) -> (B, N, D)."""


class ResnetBlock(nn.Module):
    """Norm, SiLU, convolution, twice, the time added between, plus the input."""

    def __init__(self, enters: int, leaves: int, time: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, enters)
        self.conv1 = nn.Conv2d(enters, leaves, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, leaves)
        self.norm2 = nn.GroupNorm(groups, leaves)
        self.conv2 = nn.Conv2d(leaves, leaves, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(enters, leaves, 1) if enters != leaves else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


def attend(
    attention: Attention,
    hidden: Tensor,
    encoder_hidden_states: Tensor | None = None,
    attention_mask: Tensor | None = None,
) -> Tensor:
    """softmax(QKᵀ/√d) V of every head, projected; attention_mask is added to the logits."""
    source = hidden if encoder_hidden_states is None else encoder_hidden_states
    query, key, value = (
        features.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for features in (attention.to_q(hidden), attention.to_k(source), attention.to_v(source))
    )
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
    answer: Tensor = attention.to_out[1](attention.to_out[0](mixed.transpose(1, 2).flatten(2)))
    return answer


class Attention(nn.Module):
    """Multi-head attention that a processor computes, so that methods can edit it."""

    norm_cross = None
    residual_connection = False
    rescale_output_factor = 1.0

    def __init__(self, width: int, source: int | None, heads: int) -> None:
        super().__init__()
        self.heads, self.is_cross_attention = heads, source is not None
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(source or width, width, bias=False)
        self.to_v = nn.Linear(source or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Identity()])
        self.processor: Processor = attend

    def forward(self, hidden: Tensor, text: Tensor | None = None) -> Tensor:
        return self.processor(self, hidden, encoder_hidden_states=text, attention_mask=None)


class Gated(nn.Module):
    """GEGLU (Shazeer 2020): one half of the features, weighed by the GELU of the other."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inside)

    def forward(self, x: Tensor) -> Tensor:
        features, gate = self.proj(x).chunk(2, dim=-1)
        return features * F.gelu(gate)


class FeedForward(nn.Module):
    """Four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Gated(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(x)
        return answer


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention on the text, feed-forward; each normed first and added."""

    def __init__(self, width: int, text: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, None, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, text, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x), text) + x
        result: Tensor = self.ff(self.norm3(x)) + x
        return result


class SpatialTransformer(nn.Module):
    """A transformer block over the positions of a grid, plus its input."""

    def __init__(self, width: int, text: int, heads: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, text, heads)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            h = block(h, text)
        answer: Tensor = self.proj_out(h.transpose(1, 2).unflatten(2, x.shape[-2:])) + x
        return answer


class Resampling(nn.Module):
    """A convolution that halves the sides, or follows nearest-neighbour enlargement to a size."""

    def __init__(self, width: int, *, down: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2 if down else 1, padding=1)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        answer: Tensor = self.conv(x if size is None else F.interpolate(x, size=tuple(size), mode="nearest"))
        return answer


class Block(nn.Module):
    """The layers of one level; down blocks also give what every layer gave, up blocks read it again.

    enters: widths of what each residual block reads; heads: 0 for a level without attention.
    """

    def __init__(
        self, enters: Sequence[int], width: int, time: int, text: int, heads: int, groups: int
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(one, width, time, groups) for one in enters)
        if heads:
            self.attentions = nn.ModuleList(SpatialTransformer(width, text, heads, groups) for _ in enters)
        self.downsamplers: nn.ModuleList | None = None
        self.upsamplers: nn.ModuleList | None = None

    def layer(self, index: int, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """A residual block and the attention behind it."""
        x = self.resnets[index](x, time)
        return self.attentions[index](x, text) if hasattr(self, "attentions") else x


class DownBlock(Block):
    """x -> x of the next level, and all that was made on the way."""

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        made = []
        for index in range(len(self.resnets)):
            x = self.layer(index, x, time, text)
            made.append(x)
        if self.downsamplers is not None:
            x = self.downsamplers[0](x)
            made.append(x)
        return x, tuple(made)


class UpBlock(Block):
    """x and what the way down made at this level, last first -> x of the next level, of the size given."""

    def forward(
        self, x: Tensor, made: Sequence[Tensor], time: Tensor, text: Tensor, size: Sequence[int]
    ) -> Tensor:
        for index, skip in enumerate(reversed(made)):
            x = self.layer(index, torch.cat([x, skip], dim=1), time, text)
        return x if self.upsamplers is None else self.upsamplers[0](x, size)


class MiddleBlock(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, width: int, time: int, text: int, heads: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SpatialTransformer(width, text, heads, groups)])
        self.resnets = nn.ModuleList(ResnetBlock(width, width, time, groups) for _ in range(2))

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        x = self.attentions[0](self.resnets[0](x, time), text)
        answer: Tensor = self.resnets[1](x, time)
        return answer


class TimeEmbedding(nn.Module):
    """Two layers on the sinusoids of t (Vaswani et al. 2017; Ho et al. 2020)."""

    def __init__(self, sinusoids: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(sinusoids, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, waves: Tensor) -> Tensor:
        answer: Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return answer


def sinusoids(t: Tensor, width: int) -> Tensor:
    """cos and sin of t at `width / 2` frequencies from 1 to almost 1/10000: (B,) -> (B, width)."""
    half = width // 2
    # rounded as diffusers does: (-ln 10000 * i) / half
    exponents = -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t[:, None].float() * torch.exp(exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class AttentionPooling(nn.Module):
    """One vector of a text: its mean asks all words, and itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(1, width))
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, text: Tensor) -> Tensor:
        asking = text.mean(dim=1, keepdim=True) + self.positional_embedding
        text = torch.cat([asking, text], dim=1)
        query, key, value = (
            features.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for features in (self.q_proj(asking), self.k_proj(text), self.v_proj(text))
        )
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(1)


class PooledText(nn.Module):
    """Words (B, L, E) -> what is added to the time, (B, D)."""

    def __init__(self, text: int, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(text)
        self.pool = AttentionPooling(text, heads)
        self.proj = nn.Linear(text, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, text: Tensor) -> Tensor:
        answer: Tensor = self.norm2(self.proj(self.pool(self.norm1(text))))
        return answer
