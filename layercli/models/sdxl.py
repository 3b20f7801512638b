"""The Stable Diffusion XL family: two CLIP text encoders, pooled text and sizes as further input; 1024 px."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.models._loading import pretrained, read_config, words_of
from layercli.models.catalog import cached
from layercli.models.clip_text import chunk_length, chunked, end_of_text, read_mask, side_by_side
from layercli.models.codecs import RGBCodec
from layercli.models.family import Conditioning, Kind
from layercli.models.hooks import inference
from layercli.models.sd15 import FETCH_AGAIN, SD15Model, check_parts, safetensors_in, schedule_in

FIXED_VAE = "madebyollin/sdxl-vae-fp16-fix"
"""SDXL's autoencoder with weights that stay finite in float16 (MIT)."""


class SDXLModel(SD15Model):
    """SD1.x with a second text encoder; its autoencoder overflows in float16, and so computes in float32.

    zero_empty: an empty text is zeros, as in SDXL's training, and not the encoded empty text.
    """

    def __init__(
        self,
        unet: Any,
        vae: Any,
        texts: tuple[Any, Any],
        tokenizers: tuple[Any, Any],
        schedule: Schedule,
        *,
        name: str = "sdxl",
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        weight_files: tuple[Path, ...] = (),
        zero_empty: bool = True,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            unet,
            vae,
            texts[0],
            tokenizers[0],
            schedule,
            name=name,
            device=device,
            dtype=dtype,
            weight_files=weight_files,
        )
        self.zero_empty, self.notes = zero_empty, notes
        if vae.config.force_upcast:
            self.codec = RGBCodec(inference(vae, self.device, torch.float32))
        self.second_text = inference(texts[1], self.device, dtype)
        self.second_tokenizer = tokenizers[1]

    @classmethod
    def load(cls, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> SDXLModel:
        """Read unet/, vae/, text_encoder/, text_encoder_2/, tokenizer/, tokenizer_2/ and scheduler/.

        In float16 the autoencoder is sdxl-vae-fp16-fix where that is on this machine (see `fixed_vae`).
        Raises LayercliError that names the folder if something is missing or damaged.
        """
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        index = read_config(folder / "model_index.json", FETCH_AGAIN)
        words = [words_of(CLIPTokenizer, folder / part, FETCH_AGAIN) for part in ("tokenizer", "tokenizer_2")]
        vae = pretrained(AutoencoderKL, folder / "vae", FETCH_AGAIN, torch_dtype=torch.float32)
        files = safetensors_in(folder, "unet", "vae", "text_encoder", "text_encoder_2")
        notes: tuple[str, ...] = ()
        if dtype == torch.float16 and vae.config.force_upcast:
            fixed = fixed_vae(folder)
            if fixed is None:
                notes = (
                    "Pictures are decoded in float32, as SDXL's autoencoder overflows in float16. Faster: "
                    "layercli models pull sdxl-vae-fp16-fix",
                )
            else:
                vae = pretrained(AutoencoderKL, fixed, FETCH_AGAIN, torch_dtype=dtype)
                vae.register_to_config(force_upcast=False)
                files = (
                    *safetensors_in(folder, "unet", "text_encoder", "text_encoder_2"),
                    fixed / "diffusion_pytorch_model.safetensors",
                )
                notes = (f"Pictures are decoded in float16 by {FIXED_VAE}.",)
        texts = (
            pretrained(CLIPTextModel, folder / "text_encoder", FETCH_AGAIN),
            pretrained(CLIPTextModelWithProjection, folder / "text_encoder_2", FETCH_AGAIN),
        )
        unet = pretrained(UNet2DConditionModel, folder / "unet", FETCH_AGAIN, torch_dtype=dtype)
        check_parts(folder, unet, vae, sum(text.config.hidden_size for text in texts), "text_time")
        return cls(
            unet,
            vae,
            texts,
            (words[0], words[1]),
            schedule_in(folder),
            name=name,
            device=device,
            dtype=dtype,
            weight_files=files,
            zero_empty=bool(index.get("force_zeros_for_empty_prompt", True)),
            notes=notes,
        )

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        """Both encoders' penultimate layers side by side, the pooled text, the size (SDXL, section 2.2)."""
        ids = self._ids(prompts)
        second_ids = chunked(
            self.second_tokenizer,
            prompts,
            chunk_length(self.second_tokenizer, self.second_text),
            least=ids.shape[1],
        ).to(self.device)
        first = self.text(ids.flatten(0, 1), output_hidden_states=True).hidden_states[-2]
        second = self.second_text(second_ids.flatten(0, 1), output_hidden_states=True)
        tokens = torch.cat(
            [side_by_side(first, ids), side_by_side(second.hidden_states[-2], second_ids)], dim=-1
        )
        pooled = second.text_embeds.unflatten(0, second_ids.shape[:2])[:, 0]  # of the first chunk
        if self.zero_empty:
            told = torch.tensor([bool(prompt.strip()) for prompt in prompts], device=self.device)
            tokens, pooled = tokens * told[:, None, None], pooled * told[:, None]
        # original size, upper left corner of the crop, target size; each height first
        sides = [size.height, size.width, 0, 0, size.height, size.width]
        return Conditioning(
            tokens=tokens,
            summary=end_of_text(ids, self.tokenizer),
            kinds=tuple(kinds),
            mask=read_mask(ids, self.tokenizer),
            added={
                "text_embeds": pooled,
                "time_ids": torch.tensor([sides] * len(prompts), dtype=self.dtype, device=self.device),
            },
        )


def fixed_vae(folder: Path) -> Path | None:
    """Where sdxl-vae-fp16-fix is on this machine: beside a model's folder, or in the hub's cache; or None."""
    beside = folder.resolve().parent / FIXED_VAE.partition("/")[2]
    if (beside / "config.json").is_file():
        return beside
    return cached(FIXED_VAE, "config.json")
