"""The embedded family: a small UNet on 12-channel RGBA latents with static word vectors; 256 px."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.diffusion.schedule import Schedule
from layercli.models._loading import REINSTALL, load_network, read_config
from layercli.models.codecs import RGBACodec, latent_shape
from layercli.models.family import KINDS, Conditioning, Kind, Model
from layercli.models.hooks import inference
from layercli.models.rgba_autoencoder import RGBAAutoencoder
from layercli.models.small_unet import PLACED, SmallUNet
from layercli.models.text_static import StaticTextEncoder

MAX_TOKENS = 16
"""The length prompts are padded to in training; attention sees the padding, so it is part of the model."""


class EmbeddedModel(Model):
    """One UNet for all kinds of frames, told apart by class labels; alpha comes from the autoencoder."""

    early_alpha = True

    def __init__(
        self,
        unet: Any,
        autoencoder: Any,
        text: StaticTextEncoder,
        schedule: Schedule,
        *,
        name: str = "embedded",
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        weight_files: tuple[Path, ...] = (),
    ) -> None:
        self.name = name
        self.device = torch.device("cpu") if device is None else device
        self.dtype = dtype
        self.weight_files = weight_files
        self._unet = inference(unet, self.device, dtype)
        self.codec = RGBACodec(inference(autoencoder, self.device, torch.float32))
        self.text = text
        self.schedule = schedule
        self.multiple = self.codec.downscale
        self._kinds = int(unet.config.num_class_embeds)
        side = int(unet.config.sample_size) * self.codec.downscale
        self.native_size = Size(side, side)
        self.alpha = True

    @classmethod
    def load(cls, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> EmbeddedModel:
        """Read unet/, autoencoder/ and text/ (and scheduler/ if it is there) from a folder.

        Raises LayercliError that names the file if one is missing, truncated or does not fit.
        """
        unet, unet_files = load_network(SmallUNet, folder / "unet", REINSTALL)
        autoencoder, autoencoder_files = load_network(RGBAAutoencoder, folder / "autoencoder", REINSTALL)
        text = StaticTextEncoder.load(folder / "text")
        if text.dimension != unet.config.cross_attention_dim:
            raise LayercliError(
                f"The text encoder in {folder} gives {text.dimension} components, "
                f"the network reads {unet.config.cross_attention_dim}.",
                REINSTALL,
            )
        return cls(
            unet,
            autoencoder,
            text,
            _schedule(folder / "scheduler" / "scheduler_config.json"),
            name=name,
            device=device,
            dtype=dtype,
            weight_files=(*unet_files, *autoencoder_files, folder / "text" / "model.safetensors"),
        )

    def unet_for(self, kind: Kind) -> nn.Module:
        """The one network."""
        return self._unet

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a picture; raises LayercliError when a side is no multiple."""
        return latent_shape(self.codec, size, self.multiple)

    def encode_text(self, prompts: Sequence[str], kinds: Sequence[Kind], size: Size) -> Conditioning:
        """Encode one prompt per frame; every word counts for the content, padding does not."""
        tokens, mask = self.text.encode(list(prompts), MAX_TOKENS)
        labels = torch.tensor([KINDS.index(kind) for kind in kinds])
        return Conditioning(
            tokens=tokens.to(self.device),
            summary=mask.float().to(self.device),
            kinds=tuple(kinds),
            class_labels=labels.to(self.device),
        )

    def in_places(self, text: Conditioning) -> Conditioning:
        """Foregrounds get the class of placed ones, where the network was trained with it."""
        if self._kinds <= PLACED or text.class_labels is None:
            return text
        labels = text.class_labels.masked_fill(text.class_labels == KINDS.index("foreground"), PLACED)
        return dataclasses.replace(text, class_labels=labels)

    def words(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids of word pieces (B, 16), and where they stand; there are no start and end tokens."""
        ids, mask = self.text.tokenize(list(prompts), MAX_TOKENS)
        return ids.to(self.device), ((mask > 0) & (ids != self.text.unknown_id)).to(self.device)

    def encode(self, rgba: Tensor) -> Tensor:
        """Straight-alpha pictures (B, 4, H, W) in [0, 1] -> scaled latents."""
        return self.codec.encode(rgba.to(self.device))

    def decode(self, latents: Tensor, kinds: Sequence[Kind]) -> Tensor:
        """Scaled latents -> straight-alpha pictures; complete frames are opaque."""
        rgba = self.codec.decode(latents)
        for row, kind in enumerate(kinds):
            if kind != "foreground":
                rgba[row, 3] = 1.0
        return rgba

    def coarse_alpha(self, latents: Tensor) -> Tensor:
        """Alpha on the latents' own grid, read off without decoding: (B, C, h, w) -> (B, h, w)."""
        return self.codec.coarse_alpha(latents)


def _schedule(config: Path) -> Schedule:
    """v-prediction on the cosine schedule, asked from pure noise on.

    "trailing" spacing: a network trained up to t = 999 must be asked there first, or the brightness of
    every picture is pulled to the mean (Lin et al. 2023, section 3.3).
    """
    if not config.is_file():
        return Schedule.cosine(prediction="v_prediction", spacing="trailing")
    settings = read_config(config, REINSTALL)
    return Schedule.from_config({**settings, "timestep_spacing": "trailing", "steps_offset": 0})
