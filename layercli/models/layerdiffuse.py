"""LayerDiffuse on models that know only colours: which files, SDXL with foregrounds of its own, and alpha.

Zhang and Agrawala 2024 (arXiv 2402.17113). On SDXL a second network, the base with the file's offsets, draws
foregrounds: ε_FG of LayerFusion. On SD1.5 attention sharing is a method's business (generate/layerdiffuse).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from layercli.core.errors import LayercliError
from layercli.models.catalog import at_hand, parts_of
from layercli.models.codecs import RGBCodec
from layercli.models.family import Kind
from layercli.models.hooks import inference
from layercli.models.offsets import read_offsets, with_offsets
from layercli.models.sd15 import SD15Model
from layercli.models.sdxl import SDXLModel
from layercli.models.transparency import TransparentCodec
from layercli.models.transparent_networks import load_decoder, load_encoder

FOLDER = "layerdiffuse"
"""Where a folder in diffusers' format may have LayerDiffuse's files, beside unet/ and vae/."""

CLI_STRENGTH = 300.0
"""What the encoder's offset is multiplied by in the diffusers family of files (ld_diffusers_*)."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The published name of a file, and the row of the table that fetches it."""

    file: str
    row: str


SD15_FILES: Mapping[str, Place] = {
    "joint": Place(file="layer_sd15_joint.safetensors", row="layerdiffuse-sd15-joint"),
    "alone": Place(file="layer_sd15_transparent_attn.safetensors", row="layerdiffuse-sd15"),
    "behind": Place(file="layer_sd15_fg2bg.safetensors", row="layerdiffuse-sd15-fg2bg"),
    "before": Place(file="layer_sd15_bg2fg.safetensors", row="layerdiffuse-sd15-bg2fg"),
}
"""Attention sharing: all frames together, a foreground alone, a background behind, a foreground before."""

SD15_DECODER, SD15_ENCODER = (
    f"layer_sd15_vae_transparent_{part}.safetensors" for part in ("decoder", "encoder")
)
_SDXL_ATTENTION = (
    "layer_xl_transparent_attn.safetensors",
    "ld_diffusers_sdxl_attn.safetensors",
    "diffuser_layer_xl_transparent_attn.safetensors",
    "layer_xl_transparent_conv.safetensors",
    "diffuser_layer_xl_transparent_conv.safetensors",
)
_SDXL_DECODER, _SDXL_ENCODER = (
    (f"vae_transparent_{part}.safetensors", f"ld_diffusers_sdxl_vae_transparent_{part}.safetensors")
    for part in ("decoder", "encoder")
)


_SDXL_GIVEN: Mapping[Kind, tuple[Place, Place]] = {
    "background": (
        Place(file="layer_xl_bg2ble.safetensors", row="layerdiffuse-xl-bg2ble"),
        Place(file="layer_xl_bgble2fg.safetensors", row="layerdiffuse-xl-bgble2fg"),
    ),
    "foreground": (
        Place(file="layer_xl_fg2ble.safetensors", row="layerdiffuse-xl-fg2ble"),
        Place(file="layer_xl_fgble2bg.safetensors", row="layerdiffuse-xl-fgble2bg"),
    ),
}
"""By what is given: for the whole picture, and for what is missing in it."""


def sdxl_given_files(given: Kind, model: LayerDiffuseXL, folder: str) -> list[Path]:
    """The two files for SDXL with a given picture, in a folder, or the model's own, or the hub's cache."""
    own = Path(folder).expanduser() if folder else model.files
    found = []
    for place in _SDXL_GIVEN[given]:
        path = own / place.file
        if folder and not path.is_file():
            raise _not_in(folder, place)
        found.append(path if path.is_file() else at_hand(place.row) / place.file)
    return found


def _not_in(folder: str, place: Place) -> LayercliError:
    return LayercliError(
        f"There is no {place.file} in {folder}.", f"To fetch it, type: layercli models pull {place.row}"
    )


def sd15_file(use: str, name: str, folder: str) -> Path:
    """A file for SD1.5: in the folder a person named, or in the hub's cache.

    use: of SD15_FILES; name: of the file. Raises LayercliError that says what to type where it is missing.
    """
    if not folder:
        return at_hand(SD15_FILES[use].row) / name
    path = Path(folder).expanduser() / name
    if not path.is_file():
        raise _not_in(folder, Place(file=name, row=SD15_FILES[use].row))
    return path


class _Transparent(SD15Model):
    """A model whose foregrounds have alpha by LayerDiffuse's decoder; scenes are the base's own."""

    transparent: TransparentCodec

    def encode(self, rgba: Tensor) -> Tensor:
        """Pictures (B, 4, H, W) in [0, 1] -> scaled latents; alpha hidden in those that have some."""
        return self.transparent.encode(rgba.to(self.device))

    def decode(self, latents: Tensor, kinds: Sequence[Kind]) -> Tensor:
        """Scaled latents -> straight-alpha pictures; complete frames are opaque."""
        front = [row for row, kind in enumerate(kinds) if kind == "foreground"]
        back = [row for row, kind in enumerate(kinds) if kind != "foreground"]
        height, width = (side * self.codec.downscale for side in latents.shape[2:])
        rgba = latents.new_empty(len(latents), 4, height, width)
        for rows, codec in ((front, self.transparent), (back, self.codec)):
            if rows:
                rgba[rows] = codec.decode(latents[rows]).to(rgba)
        return rgba


class TransparentSD15(_Transparent):
    """SD1.5 with alpha."""

    @classmethod
    def of(cls, model: SD15Model, decoder: Path, encoder: Path | None) -> Self:
        """The same networks with a decoder, and an encoder where there is one; the model stays as it is."""
        seen = copy.copy(model)
        seen.__class__ = cls
        assert isinstance(seen, cls)
        seen.alpha = True
        seen.transparent = _codec(model, decoder, encoder)
        return seen


class LayerDiffuseXL(_Transparent, SDXLModel):
    """SDXL whose foregrounds are drawn by a second network and have alpha."""

    foreground: nn.Module
    files: Path

    @classmethod
    def load(cls, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> Self:
        """Read SDXL from a folder in diffusers' format, and LayerDiffuse from `layerdiffuse/` in it.

        Where there is no such folder the files are those in the hub's cache. Raises LayercliError for what is
        missing, damaged or of another model.
        """
        inside = folder / FOLDER
        files = inside if inside.is_dir() else at_hand(parts_of("sdxl-layerdiffuse")[1])
        attention, decoder = _first(files, _SDXL_ATTENTION), _first(files, _SDXL_DECODER)
        model = super().load(folder, name=name, device=device, dtype=dtype)
        assert isinstance(model, cls)
        encoder = next((path for path in map(files.joinpath, _SDXL_ENCODER) if path.is_file()), None)
        model.foreground = inference(
            with_offsets(model.unet, read_offsets(attention, model.unet)), device, dtype
        )
        model.alpha, model.files = True, files
        model.transparent = _codec(model, decoder, encoder)
        own = [attention, decoder, *([encoder] if encoder else [])]
        model.weight_files = (*model.weight_files, *own)
        return model

    def unet_for(self, kind: Kind) -> nn.Module:
        """The base for scenes, the base with offsets for foregrounds."""
        return self.foreground if kind == "foreground" else self._unet


def _codec(model: SD15Model, decoder: Path, encoder: Path | None) -> TransparentCodec:
    assert isinstance(model.codec, RGBCodec)
    latent = model.codec.downscale.bit_length() - 1
    ready = inference(load_decoder(decoder, latent), model.device, model.dtype)
    hidden = None if encoder is None else inference(load_encoder(encoder), model.device, model.dtype)
    strong = encoder is not None and encoder.name.startswith("ld_diffusers_")
    return TransparentCodec(model.codec, ready, hidden, CLI_STRENGTH if strong else 1.0)  # type: ignore[arg-type]


def _first(folder: Path, names: Sequence[str]) -> Path:
    """The first of some files that is in a folder; raises LayercliError for none."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise LayercliError(
            f"There is no {names[0]} in {folder}.", "To fetch it, type: layercli models pull layerdiffuse-xl"
        )
    return found
