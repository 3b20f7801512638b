"""CLIP's residual image tower (RN50, RN101, RN50x4, …), by the names of open_clip's files.

Radford et al. 2021 (arXiv 2103.00020, 2.4): ResNet-D's three-convolution stem, averages instead of strides
(Zhang 2019, arXiv 1904.11486), and attention in place of the last average, with the average as its query.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDER = 4
"""How much wider a block's output is than its middle."""
SHRINKS = 32
"""How much smaller than the picture the last features are, a side; and how much wider than the first."""


class Block(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions beside a shortcut; an average makes both smaller where stride > 1."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = WIDER * width
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.smaller = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or width_in != out:
            parts = {"0": nn.Conv2d(width_in, out, 1, bias=False), "1": nn.BatchNorm2d(out)}
            self.downsample = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 · width, H / stride, W / stride)."""
        made = functional.relu(self.bn1(self.conv1(x)))
        made = functional.relu(self.bn2(self.conv2(made)))
        made = self.bn3(self.conv3(self.smaller(made)))
        return functional.relu(made + self.downsample(self.smaller(x)))


class AttentionPool(nn.Module):
    """One attention over all places, asked by their average."""

    def __init__(self, side: int, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.zeros(side * side + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, side, side) -> (B, out)."""
        places = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([places.mean(1, keepdim=True), places], 1) + self.positional_embedding
        query, key, value = (
            linear(given).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear, given in ((self.q_proj, tokens[:, :1]), (self.k_proj, tokens), (self.v_proj, tokens))
        )
        seen = functional.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.c_proj(seen.transpose(1, 2).flatten(1))
        return found


class ResidualTower(nn.Module):
    """The tower: stem, four stages of blocks, attention pool."""

    def __init__(self, blocks: Sequence[int], width: int, heads: int, side: int, out: int) -> None:
        super().__init__()
        half, self.stages = width // 2, len(blocks)
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        width_in = width
        for stage, count in enumerate(blocks):
            made = []
            for block in range(count):
                made.append(Block(width_in, width << stage, 2 if stage and not block else 1))
                width_in = WIDER * (width << stage)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        self.attnpool = AttentionPool(side // SHRINKS, width * SHRINKS, heads, out)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, side, side), standardised -> (B, out)."""
        x = pixels
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = functional.relu(norm(conv(x)))
        x = functional.avg_pool2d(x, 2)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        found: Tensor = self.attnpool(x)
        return found


class ResidualClip(nn.Module):
    """The tower beside transformers' text tower, with what CLIPModel offers of both."""

    def __init__(self, visual: ResidualTower, text: Any, side: int, out: int) -> None:
        super().__init__()
        self.visual, self.text = visual, text
        self.config = SimpleNamespace(
            projection_dim=out, vision_config=SimpleNamespace(image_size=side), text_config=text.config
        )

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, side, side) -> (B, D)."""
        found: Tensor = self.visual(pixel_values)
        return found

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Tokens (B, L) -> (B, D)."""
        found: Tensor = self.text(input_ids=input_ids, attention_mask=attention_mask).text_embeds
        return found
