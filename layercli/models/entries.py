"""The table of models: one row each, and nothing that is imported to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from layercli.core.requests import GenerateRequest


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the table.

    family: the module and class that read it, "" for what is a part of other models; native: the side it is
    made for, in pixels; parameters: of all its networks; hub: "owner/name" of a hub repository, or "" for
    weights that are part of layercli; commit: what is fetched unless another revision is asked for, or "" for
    the newest; files: patterns of the files that are fetched; stored: their bytes for each parameter; sha256:
    of files, where known; alpha: makes transparency itself; needs: other rows, of which it works with one:
    the first that is here, or else the first, which is fetched with it; steps: of the sampler where none are
    asked for.
    """

    help: str
    licence: str
    native: int
    parameters: int
    family: str = ""
    hub: str = ""
    commit: str = ""
    files: tuple[str, ...] = ()
    stored: int = 2
    sha256: Mapping[str, str] = field(default_factory=dict)
    alpha: bool = False
    needs: tuple[str, ...] = ()
    steps: int = GenerateRequest.steps

    @property
    def gigabytes(self) -> float:
        """What a download takes, by its parameters."""
        return round(self.parameters * self.stored / 1e9, 2) if self.hub else 0.0

    @property
    def restricted(self) -> bool:
        """Whether its licence restricts what it may be used for, and so must be accepted."""
        return "OpenRAIL" in self.licence

    def names(self, path: str) -> bool:
        """Whether a file of the repository belongs to it."""
        return any(fnmatchcase(path, pattern) for pattern in self.files)

    @property
    def holds(self) -> tuple[str, ...]:
        """The files without which it is not whole; where there is a model_index.json, it is fetched last."""
        return tuple(name for name in self.files if "*" not in name)

    def memory(self, bytes_each: int) -> int:
        """What its weights take in memory, with so many bytes for each number."""
        return self.parameters * bytes_each


_SD15_PARTS = ("model_index.json", "unet/*", "vae/*", "text_encoder/*", "tokenizer/*", "scheduler/*")
_SDXL_PARTS = (*_SD15_PARTS, "text_encoder_2/*", "tokenizer_2/*")
_SD15_PARAMETERS, _SDXL_PARAMETERS = 1_066_235_307, 3_468_837_867
_LAYERDIFFUSE = "LayerDiffusion/layerdiffusion-v1"
_XL_FOREGROUNDS = ("layerdiffuse-xl", "layerdiffuse-xl-diffusers", "layerdiffuse-xl-conv")
_TRANSPARENCY = 104_104_804 + 1_181_764
_SD15_TRANSPARENCY = (
    "layer_sd15_vae_transparent_decoder.safetensors",
    "layer_sd15_vae_transparent_encoder.safetensors",
)


def _with_layerdiffuse(help: str, hub: str) -> Entry:
    return Entry(
        family="layerdiffuse:LayerDiffuseXL",
        help=help,
        licence="CreativeML OpenRAIL++-M, OpenRAIL-M",
        native=1024,
        parameters=_SDXL_PARAMETERS,
        hub=hub,
        files=_SDXL_PARTS,
        alpha=True,
        needs=_XL_FOREGROUNDS,
    )


MODELS: Mapping[str, Entry] = {
    "embedded": Entry(
        family="embedded:EmbeddedModel",
        help="Part of layercli: small objects and scenes with native alpha, at once, on any machine.",
        licence="Apache-2.0; training pictures: see NOTICE",
        native=256,
        parameters=23_162_775,
        alpha=True,
        steps=20,  # as well recognised as after 30: 85% and 83% of 48 things
    ),
    "sd15": Entry(
        family="sd15:SD15Model",
        help="Stable Diffusion 1.5; alpha is found from attention.",
        licence="CreativeML OpenRAIL-M",
        native=512,
        parameters=_SD15_PARAMETERS,
        hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
        files=_SD15_PARTS,
    ),
    "sdxl": Entry(
        family="sdxl:SDXLModel",
        help="Stable Diffusion XL 1.0; alpha is found from attention.",
        licence="CreativeML OpenRAIL++-M",
        native=1024,
        parameters=_SDXL_PARAMETERS,
        hub="stabilityai/stable-diffusion-xl-base-1.0",
        files=_SDXL_PARTS,
    ),
    "realvisxl": Entry(
        family="sdxl:SDXLModel",
        help="RealVisXL 4.0, a photographic SDXL: the base model of the LayerFusion paper.",
        licence="CreativeML OpenRAIL++-M",
        native=1024,
        parameters=_SDXL_PARAMETERS,
        hub="SG161222/RealVisXL_V4.0",
        files=_SDXL_PARTS,
    ),
    "sdxl-layerdiffuse": _with_layerdiffuse(
        "SDXL with LayerDiffuse: foregrounds have alpha. Fetched with layerdiffuse-xl.",
        "stabilityai/stable-diffusion-xl-base-1.0",
    ),
    "realvisxl-layerdiffuse": _with_layerdiffuse(
        "RealVisXL with LayerDiffuse, as in the LayerFusion paper. Fetched with layerdiffuse-xl.",
        "SG161222/RealVisXL_V4.0",
    ),
}
"""What --model takes by name."""


def _layerdiffuse_xl(file: str, parameters: int, help: str) -> Entry:
    return Entry(
        help=f"LayerDiffuse on SDXL: {help}",
        licence="CreativeML OpenRAIL-M",
        native=1024,
        parameters=parameters + _TRANSPARENCY,
        hub=_LAYERDIFFUSE,
        files=(file, "vae_transparent_decoder.safetensors", "vae_transparent_encoder.safetensors"),
        alpha=True,
    )


def _layerdiffuse_sd15(file: str, parameters: int, help: str) -> Entry:
    return Entry(
        help=f"LayerDiffuse on SD 1.5: {help}",
        licence="CreativeML OpenRAIL-M",
        native=512,
        parameters=parameters + _TRANSPARENCY,
        hub=_LAYERDIFFUSE,
        files=(file, *_SD15_TRANSPARENCY),
        alpha=True,
    )


def _words(family: str, *folders: str) -> Entry:
    return Entry(
        help=f"The words of {family}, for a checkpoint in one file, which has none.",
        licence="MIT (OpenAI's CLIP)",
        native=MODELS[family].native,
        parameters=0,
        hub=MODELS[family].hub,
        files=tuple(
            f"{folder}/{name}"
            for folder in folders
            for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
        ),
    )


def _net(help: str, hub: str, native: int, parameters: int, *more: str) -> Entry:
    """A net for photos in transformers' format, in float32."""
    return Entry(
        help=f"For photos. {help}",
        licence="Apache-2.0",
        native=native,
        parameters=parameters,
        hub=hub,
        files=("config.json", "preprocessor_config.json", "model.safetensors", *more),
        stored=4,
    )


PARTS: Mapping[str, Entry] = {
    "grounding-dino": _net(
        "Grounding DINO, the tiny one: finds objects by their names.",
        "IDEA-Research/grounding-dino-tiny",
        800,
        172_250_626,
        "tokenizer_config.json",
        "vocab.txt",
        "tokenizer.json",
        "special_tokens_map.json",
    ),
    "segment-anything": _net(
        "Segment Anything, the base one: cuts out what is in a box or under a point.",
        "facebook/sam-vit-base",
        1024,
        93_735_728,
    ),
    "depth-anything": _net(
        "Depth Anything V2, the small one: says which object is in front.",
        "depth-anything/Depth-Anything-V2-Small-hf",
        518,
        24_785_089,
    ),
    "sd15-words": _words("sd15", "tokenizer"),
    "sdxl-words": _words("sdxl", "tokenizer", "tokenizer_2"),
    "sdxl-vae-fp16-fix": Entry(
        help="The autoencoder of SDXL, changed so that it can be computed in float16.",
        licence="CreativeML OpenRAIL++-M, as SDXL; the copy is tagged MIT",
        native=1024,
        parameters=83_653_863,
        hub="madebyollin/sdxl-vae-fp16-fix",
        files=("config.json", "diffusion_pytorch_model.safetensors"),
        stored=4,
    ),
    "layerdiffuse-xl": _layerdiffuse_xl(
        "layer_xl_transparent_attn.safetensors", 371_589_120, "foregrounds with alpha."
    ),
    "layerdiffuse-xl-conv": _layerdiffuse_xl(
        "layer_xl_transparent_conv.safetensors",
        1_809_780_484,
        "foregrounds with alpha, by offsets of all but the attention.",
    ),
    "layerdiffuse-xl-fg2ble": _layerdiffuse_xl(
        "layer_xl_fg2ble.safetensors", 350_977_284, "the whole picture for a given foreground."
    ),
    "layerdiffuse-xl-bg2ble": _layerdiffuse_xl(
        "layer_xl_bg2ble.safetensors", 350_977_284, "the whole picture for a given background."
    ),
    "layerdiffuse-xl-bgble2fg": _layerdiffuse_xl(
        "layer_xl_bgble2fg.safetensors", 1_809_803_524, "the foreground of a picture and its background."
    ),
    "layerdiffuse-xl-fgble2bg": _layerdiffuse_xl(
        "layer_xl_fgble2bg.safetensors", 350_988_804, "the background of a picture and its foreground."
    ),
    "layerdiffuse-xl-diffusers": Entry(
        help="LayerDiffuse on SDXL: foregrounds with alpha, as full-rank offsets with diffusers' names.",
        licence="CreativeML OpenRAIL-M",
        native=1024,
        parameters=955_187_200 + _TRANSPARENCY,
        hub="lllyasviel/LayerDiffuse_Diffusers",
        files=(
            "ld_diffusers_sdxl_attn.safetensors",
            "ld_diffusers_sdxl_vae_transparent_decoder.safetensors",
            "ld_diffusers_sdxl_vae_transparent_encoder.safetensors",
        ),
        alpha=True,
    ),
    "layerdiffuse-sd15": _layerdiffuse_sd15(
        "layer_sd15_transparent_attn.safetensors", 175_098_496, "foregrounds with alpha."
    ),
    "layerdiffuse-sd15-joint": _layerdiffuse_sd15(
        "layer_sd15_joint.safetensors", 277_138_048, "foreground, background and the whole, together."
    ),
    "layerdiffuse-sd15-fg2bg": _layerdiffuse_sd15(
        "layer_sd15_fg2bg.safetensors", 281_425_568, "a background for a given foreground."
    ),
    "layerdiffuse-sd15-bg2fg": _layerdiffuse_sd15(
        "layer_sd15_bg2fg.safetensors", 281_425_568, "a foreground for a given background."
    ),
    "qwen-image-layered": Entry(
        family="qwen:QwenLayered",
        help="Qwen-Image-Layered: decompose --method qwen. Needs 56 GiB of GPU memory, less with --offload.",
        licence="Apache-2.0",
        native=640,
        parameters=28_849_471_604,
        hub="Qwen/Qwen-Image-Layered",
        files=(
            "model_index.json",
            "transformer/*",
            "vae/*",
            "text_encoder/*",
            "tokenizer/*",
            "processor/*",
            "scheduler/*",
        ),
        alpha=True,
    ),
}
"""What methods put to a model, or use by themselves."""

CATALOG: Mapping[str, Entry] = {**MODELS, **PARTS}


def default_steps(model: str) -> int:
    """Steps of the sampler where none are asked for; a model that is no row has the request's own."""
    return MODELS[model].steps if model in MODELS else GenerateRequest.steps
