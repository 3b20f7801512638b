"""LAION's improved aesthetic predictor: five linear layers on unit CLIP features, nothing between them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from layercli.core.errors import LayercliError
from layercli.vision._digest import file_digest

WIDTHS = (1024, 128, 64, 16, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class AestheticHead:
    """layers: (weight, bias) of each linear layer; digest: SHA-256 of the file."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    digest: str

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Features of length one (N, D) -> scores (N,); raises LayercliError for another width."""
        wanted = self.layers[0][0].shape[1]
        if features.shape[1] != wanted:
            raise LayercliError(
                f"The aesthetic head reads {wanted} features, and the CLIP model gives {features.shape[1]}.",
                "Name the CLIP model that the head was trained on: -O aesthetic.model=DIR",
            )
        values = torch.from_numpy(features).float()
        for weight, bias in self.layers:
            values = values @ weight.T + bias
        return values[:, 0].double().numpy()


def load_head(path: Path) -> AestheticHead:
    """Read the head from a .safetensors or .pth file: "layers.0.weight" and so on, dropout left out.

    Raises LayercliError for a file that is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    hint = "Name the weights of the improved aesthetic predictor: -O aesthetic.head=FILE"
    try:
        found = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        names = sorted((name for name in found if name.endswith(".weight")), key=_number)
        layers = tuple((found[name].float(), found[name.replace("weight", "bias")].float()) for name in names)
        if [weight.shape[0] for weight, _ in layers] != list(WIDTHS):
            raise ValueError("its layers have other widths")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:160]
        raise LayercliError(f"The aesthetic head {path} cannot be read: {reason}.", hint) from error
    return AestheticHead(layers=layers, digest=file_digest(path))


def _number(name: str) -> int:
    return next((int(part) for part in name.split(".") if part.isdecimal()), 0)
