"""Models of transformers from local folders and the hub's local cache; nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layercli.core.errors import LayercliError

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PULLED = {
    "IDEA-Research/grounding-dino-tiny": "grounding-dino",
    "facebook/sam-vit-base": "segment-anything",
    "depth-anything/Depth-Anything-V2-Small-hf": "depth-anything",
}
"""Repositories that are rows of the table of models, by their names there."""


def opened(kind: Any, source: str, model: str, option: str, instead: str) -> Any:
    """A part of a model: kind.from_pretrained(source), networks in float32 and for use alone.

    source: a folder, or a hub name that may lie in the local cache; model: its name for people; option: the
    -O that takes its folder; instead: what to do without it. Raises LayercliError where it cannot be read.
    """
    asked = {} if kind.__name__ in ("AutoTokenizer", "AutoProcessor") else {"dtype": torch.float32}
    try:
        with quiet():
            part = kind.from_pretrained(source, local_files_only=True, **asked)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if Path(source).is_dir():
            reason = " ".join(str(error).split())[:200]
            raise LayercliError(
                f"The folder {source} cannot be read as {model}: {reason}.", instead
            ) from error
        raise LayercliError(
            f"{model} is not on this machine ({source}).",
            f"Fetch it ({_fetching(source)}), or name its folder (-O {option}=FOLDER). {instead}".strip(),
        ) from error
    return part.eval() if isinstance(part, torch.nn.Module) else part


def _fetching(source: str) -> str:
    """What fetches a repository of the hub."""
    return f"layercli models pull {PULLED[source]}" if source in PULLED else f"hf download {source}"


def preprocessing(source: str) -> dict[str, Any]:
    """What a model says of the pictures it takes, in preprocessor_config.json; nothing where it does not."""
    from transformers.utils import cached_file

    try:
        path = cached_file(source, "preprocessor_config.json", local_files_only=True)
        told = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def standardised(rgb: np.ndarray) -> torch.Tensor:
    """(H, W, 3) in [0, 1] -> (1, 3, H, W), as ImageNet's pictures are."""
    mean, deviation = (np.array(part, dtype=np.float32) for part in (_MEAN, _DEVIATION))
    values = ((rgb - mean) / deviation).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, -1, 0)))[None]


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers while a model is read."""
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bar:
            logging.enable_progress_bar()
