"""The embedded model's networks built from the settings that ship beside their weights."""

from __future__ import annotations

from typing import Any

from layercli.models._loading import REINSTALL, read_config
from layercli.models.catalog import WEIGHTS


def unet() -> Any:
    """The UNet, with random weights, or none on torch's meta device."""
    from layercli.models.small_unet import SmallUNet

    return SmallUNet.from_config(_settings("unet"))


def autoencoder() -> Any:
    """The autoencoder of pictures with alpha."""
    from layercli.models.rgba_autoencoder import RGBAAutoencoder

    return RGBAAutoencoder.from_config(_settings("autoencoder"))


def text() -> dict[str, tuple[int, ...]]:
    """The shapes of the text encoder's tensors; it is a table, and no network."""
    settings = _settings("text")
    return {"codes": (settings["pieces"], settings["dimension"]), "scale": (settings["pieces"],)}


def _settings(part: str) -> dict[str, Any]:
    return read_config(WEIGHTS / "embedded" / part / "config.json", REINSTALL)
