"""Feature nets by name: the embedded one, Inception from torch-fidelity, any CLIP of a local folder."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layercli.core.composite import matte
from layercli.core.errors import LayercliError
from layercli.core.pixels import quantize
from layercli.vision._digest import file_digest

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
_INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
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
        extractor = _inception_of_torch_fidelity()
        self.name = name
        self.digest = file_digest(weights)
        self.width = width
        hint = f"Fetch it again: {_INCEPTION_URL}"
        try:
            # torch-fidelity unpickles the file without asking; what this refuses never gets there.
            torch.load(weights, map_location="cpu", weights_only=True)
            self.net = extractor(
                "inception-v3-compat", [str(width)], feature_extractor_weights_path=str(weights)
            ).eval()
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, TypeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise LayercliError(f"Inception's weights {weights} cannot be read: {reason}.", hint) from error
        self.settings = {
            "net": f"inception-v3-compat (torch-fidelity {version('torch-fidelity')})",
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
    raise LayercliError(
        f"Inception's weights are not at {path}.", f"Fetch {_INCEPTION_URL}, and say: net=inception=FILE"
    )


def _inception_of_torch_fidelity() -> Any:
    """torch-fidelity's extractor; the package opens torchvision for other nets alone, so it can do without.

    Only the extractor's own modules are imported, and forgotten again, so that whoever imports torch-fidelity
    later gets all of it, or is told what is missing by itself.
    """
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        raise LayercliError(
            'The net "inception" needs the package torch-fidelity.',
            "Try: pip install --no-deps torch-fidelity (torchvision is not needed for it)",
        )
    name = "torch_fidelity.feature_extractor_inceptionv3"
    if "torch_fidelity" in sys.modules:
        return importlib.import_module(name).FeatureExtractorInceptionV3
    sys.modules["torch_fidelity"] = importlib.util.module_from_spec(spec)  # its __init__ is not run
    try:
        return importlib.import_module(name).FeatureExtractorInceptionV3
    finally:
        for module in [one for one in sys.modules if one.partition(".")[0] == "torch_fidelity"]:
            del sys.modules[module]
