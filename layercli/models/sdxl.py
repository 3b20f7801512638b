"""The Stable Diffusion XL family: two CLIP text encoders, pooled text and sizes as further input; 1024 px."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.models._loading import pretrained, reading
from layercli.models.codecs import RGBCodec
from layercli.models.family import Conditioning, Kind
from layercli.models.hooks import inference
from layercli.models.sd15 import (
    FETCH_AGAIN,
    SD15Model,
    end_of_text,
    safetensors_in,
    schedule_in,
    tokenized,
)


class SDXLModel(SD15Model):
    """SD1.x with a second text encoder; its autoencoder computes in float32, it overflows in float16."""

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
        if vae.config.force_upcast:
            self.codec = RGBCodec(inference(vae, self.device, torch.float32))
        self.second_text = inference(texts[1], self.device, dtype)
        self.second_tokenizer = tokenizers[1]

    @classmethod
    def load(cls, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> SDXLModel:
        """Read unet/, vae/, text_encoder/, text_encoder_2/, tokenizer/, tokenizer_2/ and scheduler/.

        Raises LayercliError that names the folder if something is missing or damaged.
        """
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

        with reading(folder, FETCH_AGAIN):
            first = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            second = CLIPTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
        return cls(
            pretrained(UNet2DConditionModel, folder / "unet", FETCH_AGAIN, torch_dtype=dtype),
            pretrained(AutoencoderKL, folder / "vae", FETCH_AGAIN, torch_dtype=torch.float32),
            (
                pretrained(CLIPTextModel, folder / "text_encoder", FETCH_AGAIN),
                pretrained(CLIPTextModelWithProjection, folder / "text_encoder_2", FETCH_AGAIN),
            ),
            (first, second),
            schedule_in(folder),
            name=name,
            device=device,
            dtype=dtype,
            weight_files=safetensors_in(folder, "unet", "vae", "text_encoder", "text_encoder_2"),
        )

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        """Both encoders' penultimate layers side by side, the pooled text, the size (SDXL, section 2.2)."""
        first_ids = tokenized(self.tokenizer, prompts).to(self.device)
        second_ids = tokenized(self.second_tokenizer, prompts).to(self.device)
        first = self.text(first_ids, output_hidden_states=True)
        second = self.second_text(second_ids, output_hidden_states=True)
        # original size, upper left corner of the crop, target size; each height first
        sides = [size.height, size.width, 0, 0, size.height, size.width]
        return Conditioning(
            tokens=torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1),
            summary=end_of_text(first_ids, self.tokenizer),
            kinds=tuple(kinds),
            added={
                "text_embeds": second.text_embeds,
                "time_ids": torch.tensor([sides] * len(prompts), dtype=self.dtype, device=self.device),
            },
        )
