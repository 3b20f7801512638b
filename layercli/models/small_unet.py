"""The embedded model's UNet: residual blocks, cross-attention below the top, pooled text, kinds of frames.

The design is Stable Diffusion's (Rombach et al. 2022) with the pooled text of DeepFloyd IF. Names of modules
and weights are those of diffusers' UNet2DConditionModel, so that either reads the other's folder and gives
the same answer; that class itself takes 5 to 8 seconds to import, more than a picture takes to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from layercli.models.folder_network import FolderNetwork
from layercli.models.small_unet_blocks import (
    Attention,
    DownBlock,
    MiddleBlock,
    PooledText,
    Processor,
    Resampling,
    TimeEmbedding,
    UpBlock,
    sinusoids,
)

PLACED = 3
"""The class of a foreground that lies in its place on a canvas; one of class 0 fills its frame."""


class Prediction(NamedTuple):
    """What a call gives: also `[0]`, as diffusers' tuples."""

    sample: Tensor


class SmallUNet(FolderNetwork):
    """Latents (B, C, h, w), times (B,), words (B, L, E) and kinds (B,) -> a prediction like the latents.

    Three or more levels of widths `block_out_channels`; the first has no attention. `attention_head_dim`
    counts heads (diffusers' name is old), `norm_num_groups` the groups of norms.
    """

    told: ClassVar[dict[str, Any]] = {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "addition_embed_type": "text",
        "class_embed_type": None,
        "dual_cross_attention": False,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "norm_eps": 1e-5,
        "resnet_time_scale_shift": "default",
        "time_embedding_type": "positional",
        "transformer_layers_per_block": 1,
        "use_linear_projection": False,
    }

    def __init__(
        self,
        *,
        sample_size: int,
        in_channels: int,
        out_channels: int,
        block_out_channels: Sequence[int],
        attention_head_dim: Sequence[int],
        cross_attention_dim: int,
        num_class_embeds: int,
        layers_per_block: int = 1,
        addition_embed_type_num_heads: int = 8,
        norm_num_groups: int = 32,
    ) -> None:
        widths, heads = list(block_out_channels), [0, *attention_head_dim[1:]]
        time, text, groups = 4 * widths[0], cross_attention_dim, norm_num_groups
        attentive = ["CrossAttnDownBlock2D"] * (len(widths) - 1)
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            block_out_channels=widths,
            attention_head_dim=list(attention_head_dim),
            cross_attention_dim=cross_attention_dim,
            num_class_embeds=num_class_embeds,
            layers_per_block=layers_per_block,
            addition_embed_type_num_heads=addition_embed_type_num_heads,
            norm_num_groups=norm_num_groups,
            down_block_types=["DownBlock2D", *attentive],
            up_block_types=[*(name.replace("Down", "Up") for name in attentive), "UpBlock2D"],
        )
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], time)
        # From zeros: kinds begin alike. nn.Embedding's own normal numbers would import torch's compiler.
        self.class_embedding = nn.Embedding(
            num_class_embeds, time, _weight=torch.zeros(num_class_embeds, time)
        )
        self.add_embedding = PooledText(text, time, addition_embed_type_num_heads)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, before = [widths[0]], widths[0]
        for level, width in enumerate(widths):
            enters = [before] + [width] * (layers_per_block - 1)
            block = DownBlock(enters, width, time, text, heads[level], groups)
            skips += [width] * layers_per_block
            if level < len(widths) - 1:
                block.downsamplers = nn.ModuleList([Resampling(width, down=True)])
                skips.append(width)
            self.down_blocks.append(block)
            before = width
        self.mid_block = MiddleBlock(before, time, text, heads[-1], groups)
        for level in reversed(range(len(widths))):
            width, enters = widths[level], []
            for _ in range(layers_per_block + 1):
                enters.append(before + skips.pop())
                before = width
            up = UpBlock(enters, width, time, text, heads[level], groups)
            if level:
                up.upsamplers = nn.ModuleList([Resampling(width, down=False)])
            self.up_blocks.append(up)
        self.conv_norm_out = nn.GroupNorm(groups, widths[0])
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        class_labels: Tensor,
        return_dict: bool = True,
    ) -> Prediction:
        """return_dict: taken as diffusers takes it; the answer is the same either way."""
        text = encoder_hidden_states
        time = self.time_embedding(sinusoids(timestep, self.conv_in.out_channels).to(sample.dtype))
        time = time + self.class_embedding(class_labels) + self.add_embedding(text)
        x = self.conv_in(sample)
        made = [x]
        for block in self.down_blocks:
            x, more = block(x, time, text)
            made += more
        x = self.mid_block(x, time, text)
        for block in self.up_blocks:
            count = self.config.layers_per_block + 1
            made, skips = made[:-count], made[-count:]
            x = block(x, skips, time, text, made[-1].shape[-2:] if made else x.shape[-2:])
        return Prediction(self.conv_out(F.silu(self.conv_norm_out(x))))

    @property
    def attn_processors(self) -> dict[str, Processor]:
        """The processors by the path of their layer, `….processor`."""
        return {
            f"{name}.processor": module.processor
            for name, module in self.named_modules()
            if isinstance(module, Attention)
        }

    def set_attn_processor(self, processors: dict[str, Processor]) -> None:
        """Put in a processor for each of these layers."""
        for name, processor in processors.items():
            self.get_submodule(name.removesuffix(".processor")).processor = processor  # type: ignore[assignment]
