"""The Stable Diffusion 1.x family: one UNet, one CLIP text encoder, an RGB autoencoder; 512 px."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.models._loading import pretrained, read_config, words_of
from layercli.models.clip_text import (
    chunk_length,
    chunked,
    end_of_text,
    note_on_length,
    read_mask,
    side_by_side,
    words_in,
)
from layercli.models.codecs import RGBCodec, latent_shape
from layercli.models.family import Conditioning, Kind, Model
from layercli.models.hooks import inference

FETCH_AGAIN = "Fetch the model again; layercli models says how."


class SD15Model(Model):
    """A text-to-image model that knows no alpha: a method has to find the transparency of foregrounds."""

    def __init__(
        self,
        unet: Any,
        vae: Any,
        text: Any,
        tokenizer: Any,
        schedule: Schedule,
        *,
        name: str = "sd15",
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        weight_files: tuple[Path, ...] = (),
    ) -> None:
        self.name = name
        self.device = torch.device("cpu") if device is None else device
        self.dtype = dtype
        self.weight_files = weight_files
        self._unet = inference(unet, self.device, dtype)
        self.codec = RGBCodec(inference(vae, self.device, dtype))
        self.text = inference(text, self.device, dtype)
        self.tokenizer = tokenizer
        self.schedule = schedule
        # Every level of the UNet halves the latents; sides that divide evenly need no padding inside.
        self.multiple = self.codec.downscale * 2 ** (len(unet.config.block_out_channels) - 1)
        side = int(unet.config.sample_size) * self.codec.downscale
        self.native_size = Size(side, side)
        self.alpha = False

    @classmethod
    def load(cls, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> SD15Model:
        """Read unet/, vae/, text_encoder/, tokenizer/ and scheduler/ from a diffusers folder.

        Raises LayercliError that names the folder if something is missing or damaged.
        """
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        tokenizer = words_of(CLIPTokenizer, folder / "tokenizer", FETCH_AGAIN)
        unet = pretrained(UNet2DConditionModel, folder / "unet", FETCH_AGAIN, torch_dtype=dtype)
        vae = pretrained(AutoencoderKL, folder / "vae", FETCH_AGAIN, torch_dtype=dtype)
        text = pretrained(CLIPTextModel, folder / "text_encoder", FETCH_AGAIN)
        check_parts(folder, unet, vae, text.config.hidden_size)
        return cls(
            unet,
            vae,
            text,
            tokenizer,
            schedule_in(folder),
            name=name,
            device=device,
            dtype=dtype,
            weight_files=safetensors_in(folder, "unet", "vae", "text_encoder"),
        )

    def unet_for(self, kind: Kind) -> nn.Module:
        """The one network."""
        return self._unet

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture; raises LayercliError when a side is no multiple."""
        return latent_shape(self.codec, size, self.multiple)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        """Encode one prompt per frame; the end-of-text token of every chunk sums up the content."""
        ids = self._ids(prompts)
        tokens = self.text(ids.flatten(0, 1)).last_hidden_state
        return Conditioning(
            tokens=side_by_side(tokens, ids),
            summary=end_of_text(ids, self.tokenizer),
            kinds=tuple(kinds),
            mask=read_mask(ids, self.tokenizer),
        )

    def words(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """CLIP's token ids, and where words stand, between the start and the first end of a chunk."""
        ids = self._ids(prompts)
        return ids.flatten(1), words_in(ids, self.tokenizer).flatten(1)

    def notes_on(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """What was told when the model was opened, and that long prompts are read in parts."""
        told = note_on_length(self.tokenizer, prompts, chunk_length(self.tokenizer, self.text))
        return (*self.notes, told) if told else self.notes

    def _ids(self, prompts: Sequence[str]) -> Tensor:
        return chunked(self.tokenizer, prompts, chunk_length(self.tokenizer, self.text)).to(self.device)

    def encode(self, rgba: Tensor) -> Tensor:
        """Pictures (B, 4, H, W) in [0, 1], flattened on mid-gray -> scaled latents."""
        return self.codec.encode(rgba.to(self.device))

    def decode(self, latents: Tensor, kinds: Sequence[Kind]) -> Tensor:
        """Scaled latents -> opaque pictures, foregrounds too: the family knows no alpha."""
        return self.codec.decode(latents)


def check_parts(folder: Path, unet: Any, vae: Any, width: int, added: str | None = None) -> None:
    """Raise LayercliError where networks of a folder are whole, but not of one model.

    width: components of text features; added: what the UNet reads beside time and text.
    """
    config = unet.config
    if config.addition_embed_type != added or config.class_embed_type or config.num_class_embeds:
        raise LayercliError(
            f"The UNet in {folder} is of another family than its model_index.json says.",
            "Copy the whole folder of one model.",
        )
    for reads, what, gives in (
        (config.cross_attention_dim, "components of text", width),
        (config.in_channels, "channels", vae.config.latent_channels),
    ):
        if reads != gives:
            raise LayercliError(
                f"The parts of {folder} do not fit: the UNet reads {reads} {what}, and gets {gives}.",
                "Copy the whole folder of one model.",
            )


def schedule_in(folder: Path) -> Schedule:
    """The noise schedule of a diffusers folder."""
    return Schedule.from_config(read_config(folder / "scheduler" / "scheduler_config.json", FETCH_AGAIN))


def safetensors_in(folder: Path, *parts: str) -> tuple[Path, ...]:
    """The weight files of some parts of a diffusers folder."""
    return tuple(path for part in parts for path in sorted((folder / part).glob("*.safetensors")))
