"""Qwen-Image-Layered: a photo into RGBA layers by a diffusion transformer, through diffusers' own pipeline.

arXiv 2512.15603. It denoises one frame for each layer and one for the whole, which the pipeline drops.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import cpu_offload
from PIL import Image
from torch.nn import functional as F

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.pixels import quantize
from layercli.models._loading import check_words, pretrained, quiet, reading
from layercli.models.catalog import CATALOG, at_hand, family_of
from layercli.models.family import file_hashes, resolve_device, resolve_dtype
from layercli.models.memory import SHRUNK_PARTS
from layercli.models.precision import has_fast_bfloat16

NAME = "qwen-image-layered"
FAMILY = "qwen:QwenLayered"
FETCH_AGAIN = "Fetch the model again; layercli models says how."
MULTIPLE = 32
"""What the sides of a picture that it draws are multiples of."""

Quantized = Literal["none", "nf4", "int8", "torchao"]
PACKAGES = {"nf4": "bitsandbytes", "int8": "bitsandbytes", "torchao": "torchao", "gguf": "gguf"}
"""What a way to store weights in fewer bits needs."""
_PAD = "<|image_pad|>"

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of a photo.

    layers: how many; prompt: the photo in words, "" to let the model find them, in English or else in
    Chinese; resolution: the side of a square with as many pixels as are drawn; normalize: guidance keeps the
    prediction as long as it is without.
    """

    layers: int
    prompt: str = ""
    english: bool = True
    negative: str = " "
    steps: int = 50
    guidance: float = 4.0
    normalize: bool = True
    resolution: int = 640
    seed: int = 0


class QwenLayered:
    """The pipeline on one device; one photo at a time, as it slices batches wrongly."""

    def __init__(self, pipe: Any, *, name: str, device: torch.device, files: tuple[Path, ...]) -> None:
        self.pipe, self.name, self.device, self.weight_files = pipe, name, device, files
        self._paces: dict[tuple[object, ...], float] = {}
        if pipe.vae.config.input_channels != 4:
            raise LayercliError(
                f"The autoencoder of {name} knows no alpha: it is another model of the Qwen-Image family.",
                f"Try: -O model={NAME}",
            )
        pipe.vae.enable_slicing()
        pipe.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def layers_of(
        self, photo: np.ndarray, asked: Asked, on_step: OnStep = lambda done, total: None
    ) -> np.ndarray:
        """Draw the layers of a photo (H, W, 3) in [0, 1] -> (layers, h, w, 4), back to front."""

        def told(pipe: Any, step: int, t: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
            on_step(step + 1, asked.steps)
            return {}

        return np.asarray(self._run(photo, asked, told), dtype=np.float32)

    def seconds(self, photo: np.ndarray, asked: Asked) -> float:
        """How long a photo takes: two steps at its size, of which the second is counted, once for a size."""
        drawn = drawn_size(Size(photo.shape[1], photo.shape[0]), asked.resolution)
        work = (drawn, asked.layers, asked.guidance > 1)
        if work not in self._paces:
            self._paces[work] = self._pace(photo, asked)
        return self._paces[work] * asked.steps

    def _pace(self, photo: np.ndarray, asked: Asked) -> float:
        """Seconds of one step."""
        times: list[float] = []

        def told(pipe: Any, step: int, t: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
            tensors["latents"].sum().item()  # asking for a number waits for the device
            times.append(time.perf_counter())
            return {}

        few = {**vars(asked), "steps": 2, "prompt": asked.prompt or "a picture"}
        self._run(photo, Asked(**few), told)
        return times[1] - times[0]

    def _run(self, photo: np.ndarray, asked: Asked, told: Any) -> Any:
        guided = asked.guidance > 1
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), quiet():  # its caption draws from torch's global generator
            torch.manual_seed(asked.seed)
            images = self.pipe(
                Image.fromarray(quantize(photo)).convert("RGBA"),
                asked.prompt.strip() or None,
                negative_prompt=(asked.negative or " ") if guided else None,
                true_cfg_scale=asked.guidance,
                layers=asked.layers,
                num_inference_steps=asked.steps,
                generator=torch.Generator().manual_seed(asked.seed),
                resolution=asked.resolution,
                cfg_normalize=asked.normalize,
                use_en_prompt=asked.english,
                callback_on_step_end=told,
                output_type="np",
            ).images
        return images[0]

    def weight_hashes(self) -> dict[str, str]:
        """SHA-256 of every weight file, for the receipt."""
        return file_hashes(self.weight_files)


def drawn_size(photo: Size, resolution: int) -> Size:
    """The size that layers of a photo are drawn at: its shape, about resolution² pixels, whole multiples."""
    share = photo.width / photo.height
    width = (resolution * resolution * share) ** 0.5
    return Size(*(max(1, round(side / MULTIPLE)) * MULTIPLE for side in (width, width / share)))


def load_qwen(
    name: str = NAME,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    quantized: Quantized = "none",
    gguf: str = "",
) -> QwenLayered:
    """Open the model of the table, or of a folder in diffusers' format.

    dtype: "auto" is bfloat16 where that is fast, in which the model is published; quantized: how weights are
    stored in fewer bits; gguf: a file with the transformer instead of the folder's. Never downloads. Raises
    LayercliError for what is missing or damaged, for packages that are not installed, and for another model.
    """
    where = resolve_device(device)
    check_quantized(quantized, gguf, offload, where)
    if where.type == "mps":
        check_convolutions(where)
    folder = _folder(name)
    fast = where.type != "cpu" or has_fast_bfloat16(where)
    number = torch.bfloat16 if dtype == "auto" and fast else resolve_dtype(dtype, where)
    pipe = _pipeline(folder, number, quantized, gguf)
    if offload == "none":
        pipe.to(where)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=where)
    else:  # the pipeline's own way to do so gives accelerate another name of the device, and fails on "cpu"
        for network in (pipe.text_encoder, pipe.transformer, pipe.vae):
            cpu_offload(network, where, offload_buffers=True)
    parts = ("text_encoder", "vae") if gguf else ("transformer", "text_encoder", "vae")
    files = [path for part in parts for path in sorted((folder / part).glob("*.safetensors"))]
    files += [Path(gguf).expanduser().absolute()] if gguf else []
    return QwenLayered(pipe, name=name, device=where, files=tuple(files))


def check_quantized(quantized: str, gguf: str, offload: str, device: torch.device) -> None:
    """Raise LayercliError, with what to type, for a way to store weights that cannot be had here."""
    way = "gguf" if gguf else quantized
    if gguf and quantized != "none":
        raise LayercliError(
            "A gguf file is quantised already.", f"Leave out -O quantize={quantized}, or the file."
        )
    if way == "none":
        return
    if offload == "sequential":
        raise LayercliError("Quantised weights cannot be moved layer by layer.", "Try: --offload model")
    if way in ("nf4", "int8") and device.type != "cuda":
        raise LayercliError(f"quantize={way} needs a GPU of NVIDIA's.", "Try: -O quantize=torchao")
    package = PACKAGES[way]
    if importlib.util.find_spec(package) is None:
        raise LayercliError(
            f"Weights as {way} need the package {package}, which is not installed.",
            f"Try: pip install {package}",
        )


def check_convolutions(device: torch.device) -> None:
    """Raise LayercliError where a device computes convolutions in three dimensions wrongly.

    macOS 26.2 did, without a word (pytorch issue 197114); the autoencoder consists of them.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 16, 3, 8, 8, generator=generator)
    weight = torch.randn(16, 16, 3, 3, 3, generator=generator) / 432**0.5
    right = F.conv3d(x, weight, padding=1)
    found = F.conv3d(x.to(device), weight.to(device), padding=1).cpu()
    if not torch.allclose(found, right, atol=1e-2, rtol=1e-2):
        raise LayercliError(
            f"The system computes convolutions wrongly on {device}, so that pictures would be noise.",
            "Update macOS, or try: --device cpu",
        )


def _folder(name: str) -> Path:
    if name in CATALOG:
        if CATALOG[name].family != FAMILY:
            raise LayercliError(f'"{name}" draws pictures and takes none apart.', f"Try: -O model={NAME}")
        return at_hand(name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise LayercliError(
            f'There is no model "{name}" that takes photos apart.', f"Try: -O model={NAME}, or a folder."
        )
    if family_of(folder) != FAMILY:
        raise LayercliError(
            f"The folder {folder} holds a model that draws pictures and takes none apart.",
            f"Try: -O model={NAME}",
        )
    return folder


def _pipeline(folder: Path, dtype: torch.dtype, quantized: Quantized, gguf: str) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_layered import QwenImageLayeredPipeline
    from transformers import Qwen2_5_VLForConditionalGeneration

    parts = {
        "vae": AutoencoderKLQwenImage,
        "transformer": QwenImageTransformer2DModel,
        "text_encoder": Qwen2_5_VLForConditionalGeneration,
    }
    more: dict[str, Any] = {}
    if gguf:
        more["transformer"] = _from_gguf(parts.pop("transformer"), Path(gguf).expanduser(), folder, dtype)
    if quantized != "none":
        parts = {"vae": parts["vae"]}
        more["quantization_config"] = _quantization(quantized, dtype)
    for part, cls in parts.items():
        more[part] = pretrained(cls, folder / part, FETCH_AGAIN, torch_dtype=dtype)
    check_words(folder / "tokenizer", FETCH_AGAIN)
    with reading(folder, FETCH_AGAIN), quiet():
        pipe = QwenImageLayeredPipeline.from_pretrained(
            folder, processor=None, torch_dtype=dtype, local_files_only=True, use_safetensors=True, **more
        )
        pipe.vl_processor = _Reader(pipe.tokenizer, folder / "processor")
    return pipe


def _quantization(quantized: Quantized, dtype: torch.dtype) -> Any:
    """diffusers' settings for the two large networks, each library's own where they are not the same."""
    from diffusers.quantizers import PipelineQuantizationConfig

    if quantized == "nf4":
        kwargs = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
        return PipelineQuantizationConfig(
            quant_backend="bitsandbytes_4bit", quant_kwargs=kwargs, components_to_quantize=list(SHRUNK_PARTS)
        )
    if quantized == "int8":
        return PipelineQuantizationConfig(
            quant_backend="bitsandbytes_8bit",
            quant_kwargs={"load_in_8bit": True},
            components_to_quantize=list(SHRUNK_PARTS),
        )
    from diffusers.quantizers.quantization_config import TorchAoConfig as OfDiffusers
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig as OfTransformers

    way = Int8WeightOnlyConfig()
    return PipelineQuantizationConfig(
        quant_mapping={"transformer": OfDiffusers(way), "text_encoder": OfTransformers(way)}
    )


def _from_gguf(cls: Any, file: Path, folder: Path, dtype: torch.dtype) -> Any:
    from diffusers.quantizers.quantization_config import GGUFQuantizationConfig

    if not file.is_file():
        raise LayercliError(f"There is no file {file}.", "Look at the spelling: ls")
    with reading(file, "Fetch or copy the file again."), quiet():
        return cls.from_single_file(
            str(file),
            config=str(folder / "transformer"),
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            torch_dtype=dtype,
            local_files_only=True,
        )


class _Reader:
    """What the pipeline asks of a processor; transformers' own wants torchvision, for videos."""

    def __init__(self, tokenizer: Any, folder: Path) -> None:
        from transformers import Qwen2VLImageProcessor

        self.tokenizer = tokenizer
        self.look = Qwen2VLImageProcessor.from_pretrained(folder, local_files_only=True)

    def __call__(self, *, text: str, images: Any, padding: bool, return_tensors: str) -> Any:
        """Pixels of the picture, and the words with one mark for each of its tokens."""
        from transformers import BatchFeature

        seen = self.look(images=images.convert("RGB"), return_tensors=return_tensors)
        count = int(seen["image_grid_thw"][0].prod()) // self.look.merge_size**2
        words = self.tokenizer(
            text.replace(_PAD, _PAD * count), padding=padding, return_tensors=return_tensors
        )
        of_picture = words["input_ids"] == self.tokenizer.convert_tokens_to_ids(_PAD)
        return BatchFeature({**words, **seen, "mm_token_type_ids": of_picture.int()})

    def batch_decode(self, *args: Any, **settings: Any) -> list[str]:
        """Words of token ids."""
        told: list[str] = self.tokenizer.batch_decode(*args, **settings)
        return told
