"""Feature nets by name: the embedded one, Inception from torch-fidelity, any CLIP of a local folder."""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layercli.core.composite import matte
from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.vision._digest import file_digest

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
GRAY = 0.5


class FeatureNet(ABC):
    """Pictures -> features.

    name: as it was asked for; digest: SHA-256 of its weights; settings: what must be said beside a score;
    note: what a reader must know, or "".
    """

    name: str
    digest: str
    settings: dict[str, Any]
    note: str = ""

    @abstractmethod
    def look(self, pictures: Sequence[np.ndarray], part: str) -> np.ndarray:
        """(H, W, 4) straight alpha each -> (N, D) float64; part: composite, background or foreground."""


class EmbeddedNet(FeatureNet):
    """The classifier's penultimate features: objects are cut out first, other parts are squeezed whole."""

    note = "features of layercli's own small net: not comparable with published numbers"

    def __init__(self) -> None:
        from layercli.vision.object_net import FOLDER, SIDE, embedded_net

        self.name = "embedded"
        self.net = embedded_net()
        self.digest = file_digest(FOLDER / "model.safetensors")
        self.settings = {
            "net": "layercli embedded",
            "features": self.net.width,
            "resize": f"antialiased bilinear to {SIDE}, foregrounds cut out",
            "matte": "0.5 gray, alpha as a fourth channel",
        }

    def look(self, pictures: Sequence[np.ndarray], part: str) -> np.ndarray:
        from layercli.vision.object_net import look

        found = [features for features, _ in look(self.net, pictures, whole=part != "foreground")]
        return np.array(found, np.float64).reshape(len(found), self.net.width)


class Inception(FeatureNet):
    """Inception v3 as torch-fidelity has it (the weights of the first FID), 2048 features or the first 64."""

    def __init__(self, name: str, width: int, weights: Path) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self.name = name
        self.digest = file_digest(weights)
        self.width = width
        self.net = FeatureExtractorInceptionV3(
            "inception-v3-compat", [str(width)], feature_extractor_weights_path=str(weights)
        ).eval()
        self.settings = {
            "net": "inception-v3-compat (torch-fidelity)",
            "features": width,
            "resize": "TensorFlow 1 bilinear to 299, 8-bit in",
            "matte": "0.5 gray",
        }

    def look(self, pictures: Sequence[np.ndarray], part: str) -> np.ndarray:
        found = []
        for picture in pictures:  # sizes may differ
            rgb = torch.from_numpy(quantize(matte(picture, GRAY))).permute(2, 0, 1)[None]
            with torch.inference_mode():
                found.append(self.net(rgb)[0][0].double().numpy())
        return np.array(found, np.float64).reshape(len(found), self.width)


class ClipImages(FeatureNet):
    """The image tower of a CLIP model."""

    def __init__(self, folder: Path) -> None:
        from layercli.vision.clip import load_clip

        self.name = str(folder)
        self.clip = load_clip(folder)
        self.digest = self.clip.digest
        self.settings = self.clip.settings

    def look(self, pictures: Sequence[np.ndarray], part: str) -> np.ndarray:
        return self.clip.images(pictures)


def open_net(name: str) -> FeatureNet:
    """A feature net by name ("embedded", "inception", "inception-64") or a CLIP model's folder.

    Nothing is downloaded. Raises LayercliError for a net that is not on this machine, saying what to do.
    """
    if name == "embedded":
        return EmbeddedNet()
    kind, _, given = name.partition("=")
    if kind in ("inception", "inception-64"):
        for package in ("torch_fidelity", "torchvision"):
            if importlib.util.find_spec(package) is None:
                raise LayercliError(
                    f'The net "{kind}" needs the package {package}.',
                    "Try: pip install torch-fidelity torchvision",
                )
        return Inception(kind, 2048 if kind == "inception" else 64, _inception_weights(given))
    if Path(name).is_dir():
        return ClipImages(Path(name))
    raise LayercliError(
        f'There is no feature net "{name}".',
        "There are: embedded, inception, inception-64, inception=FILE, and the folder of a CLIP model.",
    )


def _inception_weights(given: str) -> Path:
    home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    path = Path(given) if given else home / "hub" / "checkpoints" / INCEPTION_FILE
    if path.is_file():
        return path
    where = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
    raise LayercliError(
        f"Inception's weights are not at {path}.",
        f"Fetch {where}/{INCEPTION_FILE}, and say: net=inception=FILE",
    )
