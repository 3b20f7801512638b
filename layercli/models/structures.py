"""A table of networks that can be built without their weights, to be counted against what was published.

A count that agrees shows that code and file are of the same architecture, with no download. Listing the table
imports no torch.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from layercli.core.errors import LayercliError
from layercli.core.registry import suggest


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One row of the table.

    parameters: the expected count; build: "module:function" under layercli.models, imported only when asked,
    which gives a network, or a mapping from tensor names to shapes (or tensors), under torch's meta device;
    source: where the expected count is from.
    """

    parameters: int
    build: str
    help: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Count:
    """What building one row gave: parameters counted, beside those expected."""

    name: str
    counted: int
    expected: int

    @property
    def agrees(self) -> bool:
        """Whether the architecture has as many parameters as were published."""
        return self.counted == self.expected


_SHIPPED = "the weights in this package"
_CONFIG = "half the bytes of the published float16 file"

STRUCTURES: Mapping[str, Structure] = {
    "embedded.unet": Structure(
        parameters=13_832_396,
        build="embedded_shapes:unet",
        help="The embedded model's UNet.",
        source=_SHIPPED,
    ),
    "embedded.autoencoder": Structure(
        parameters=2_496_492,
        build="embedded_shapes:autoencoder",
        help="The embedded model's autoencoder of pictures with alpha.",
        source=_SHIPPED,
    ),
    "embedded.text": Structure(
        parameters=6_833_887,
        build="embedded_shapes:text",
        help="The embedded model's word pieces: a vector of codes and a scale each.",
        source=_SHIPPED,
    ),
    "sd15.unet": Structure(
        parameters=859_520_964,
        build="published:sd15_unet",
        help="The UNet of Stable Diffusion 1.5.",
        source=_CONFIG,
    ),
    "sd15.vae": Structure(
        parameters=83_653_863,
        build="published:sd15_vae",
        help="The autoencoder of Stable Diffusion 1.5.",
        source=_CONFIG,
    ),
    "sd15.text_encoder": Structure(
        parameters=123_060_480,
        build="published:clip_l",
        help="CLIP ViT-L/14, the text encoder of Stable Diffusion 1.5.",
        source=_CONFIG,
    ),
    "sdxl.unet": Structure(
        parameters=2_567_463_684,
        build="published:sdxl_unet",
        help="The UNet of Stable Diffusion XL 1.0.",
        source=_CONFIG,
    ),
    "sdxl.vae": Structure(
        parameters=83_653_863,
        build="published:sdxl_vae",
        help="The autoencoder of Stable Diffusion XL 1.0, also of sdxl-vae-fp16-fix.",
        source=_CONFIG,
    ),
    "sdxl.text_encoder": Structure(
        parameters=123_060_480,
        build="published:clip_l",
        help="CLIP ViT-L/14, the first text encoder of Stable Diffusion XL 1.0.",
        source=_CONFIG,
    ),
    "sdxl.text_encoder_2": Structure(
        parameters=694_659_840,
        build="published:clip_bigg",
        help="OpenCLIP ViT-bigG/14 with its projection, the second text encoder of Stable Diffusion XL 1.0.",
        source=_CONFIG,
    ),
    "layerdiffuse.decoder": Structure(
        parameters=104_104_804,
        build="layerdiffuse_shapes:decoder",
        help="LayerDiffuse's transparency decoder: alpha and true colours out of latents.",
        source=_CONFIG,
    ),
    "layerdiffuse.encoder": Structure(
        parameters=1_181_764,
        build="layerdiffuse_shapes:encoder",
        help="LayerDiffuse's transparency encoder: alpha as a small offset of latents.",
        source=_CONFIG,
    ),
    "layerdiffuse.sd15_transparent_attn": Structure(
        parameters=175_098_496,
        build="layerdiffuse_shapes:sd15_foreground",
        help="Attention sharing for SD 1.5: a foreground alone.",
        source=_CONFIG,
    ),
    "layerdiffuse.sd15_joint": Structure(
        parameters=277_138_048,
        build="layerdiffuse_shapes:sd15_joint",
        help="Attention sharing for SD 1.5: foreground, background and blended picture.",
        source=_CONFIG,
    ),
    "layerdiffuse.sd15_fg2bg": Structure(
        parameters=281_425_568,
        build="layerdiffuse_shapes:sd15_given",
        help="Attention sharing for SD 1.5: a background behind a given foreground.",
        source=_CONFIG,
    ),
    "layerdiffuse.sd15_bg2fg": Structure(
        parameters=281_425_568,
        build="layerdiffuse_shapes:sd15_given",
        help="Attention sharing for SD 1.5: a foreground before a given background.",
        source=_CONFIG,
    ),
    "layerdiffuse.xl_transparent_attn": Structure(
        parameters=371_589_120,
        build="layerdiffuse_shapes:sdxl_attention",
        help="Low-rank offsets of SDXL's attentions: foregrounds on transparency.",
        source=_CONFIG,
    ),
    "layerdiffuse.diffusers_sdxl_attn": Structure(
        parameters=955_187_200,
        build="layerdiffuse_shapes:sdxl_attention_whole",
        help="The same as whole offsets in diffusers' names, but for the biases of to_out.",
        source=_CONFIG,
    ),
    "layerdiffuse.xl_transparent_conv": Structure(
        parameters=1_809_780_484,
        build="layerdiffuse_shapes:sdxl_conv",
        help="Offsets of all of SDXL but q, k, v and embeddings: foregrounds on transparency.",
        source=_CONFIG,
    ),
    "layerdiffuse.xl_fg2ble": Structure(
        parameters=350_977_284,
        build="layerdiffuse_shapes:sdxl_blended",
        help="Offsets of SDXL outside its transformers: the whole picture around a given foreground.",
        source=_CONFIG,
    ),
    "layerdiffuse.xl_bg2ble": Structure(
        parameters=350_977_284,
        build="layerdiffuse_shapes:sdxl_blended",
        help="Offsets of SDXL outside its transformers: the whole picture on a given background.",
        source=_CONFIG,
    ),
    "layerdiffuse.xl_bgble2fg": Structure(
        parameters=1_809_803_524,
        build="layerdiffuse_shapes:sdxl_foreground_given",
        help="Offsets of SDXL but q, k, v and embeddings: the foreground of a picture and its background.",
        source=f"{_CONFIG} of xl_transparent_conv, and conv_in widened to 12 channels",
    ),
    "layerdiffuse.xl_fgble2bg": Structure(
        parameters=350_988_804,
        build="layerdiffuse_shapes:sdxl_background_given",
        help="Offsets of SDXL outside its transformers: the background of a picture and its foreground.",
        source=f"{_CONFIG} of xl_fg2ble, and conv_in widened to 12 channels",
    ),
    "qwen.transformer": Structure(
        parameters=20_430_407_232,
        build="published:qwen_transformer",
        help="The diffusion transformer of Qwen-Image-Layered.",
        source="half the bytes of Qwen-Image's published files, and 2 x 3,072 that the layered one adds",
    ),
    "qwen.vae": Structure(
        parameters=126_897_716,
        build="published:qwen_vae",
        help="The autoencoder of Qwen-Image-Layered, of pictures with alpha.",
        source="its published settings, counted; about half the bytes of its file",
    ),
    "qwen.text_encoder": Structure(
        parameters=8_292_166_656,
        build="published:qwen_text",
        help="Qwen2.5-VL-7B, which reads and writes prompts for Qwen-Image-Layered.",
        source="half the bytes of the published bfloat16 files",
    ),
}


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The rows that names mean: a row, or all rows of a model ("sdxl"); none given means every row.

    Raises LayercliError for a name that means none.
    """
    found: list[str] = []
    for name in names:
        rows = [row for row in STRUCTURES if row == name or row.startswith(f"{name}.")]
        if not rows:
            heads = {row.partition(".")[0] for row in STRUCTURES}
            raise LayercliError(
                f'No architecture is called "{name}".', suggest(name, (*sorted(heads), *STRUCTURES))
            )
        found += [row for row in rows if row not in found]
    return tuple(found or STRUCTURES)


def count(name: str) -> Count:
    """Build one row on torch's meta device, which holds shapes and no numbers, and count its parameters."""
    import torch

    row = STRUCTURES[name]
    module, _, function = row.build.partition(":")
    build = getattr(importlib.import_module(f"layercli.models.{module}"), function)
    with torch.device("meta"):
        built = build()
    return Count(name=name, counted=parameters_in(built), expected=row.parameters)


def parameters_in(built: Any) -> int:
    """Parameters of a network, shared ones once, or of a mapping from names to shapes or tensors."""
    if isinstance(built, Mapping):
        return sum(math.prod(_shape(value)) for value in built.values())
    return sum(parameter.numel() for parameter in built.parameters())


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape if hasattr(value, "shape") else value)
