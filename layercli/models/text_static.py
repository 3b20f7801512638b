"""The embedded model's text encoder: one fixed vector a word piece, read from a 7 MB folder.

The vectors are Model2Vec's potion-base-8M (Tulkens and van Dongen, 2024; MIT), divided per component by the
component's standard deviation over the vocabulary and stored as 8-bit codes with one 16-bit scale a row.
`examples/rebuild_text_encoder.py` makes the folder from a published package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layercli.core.errors import LayercliError
from layercli.models.kin import Kin

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

MAX_LENGTH = 24
EMBEDDED_FOLDER = Path(__file__).resolve().parent.parent / "weights" / "embedded" / "text"
_PAD, _UNKNOWN = 0, 1  # both rows are zero
_FILES = ("model.safetensors", "tokenizer.json", "config.json")
_REINSTALL = "Reinstall layercli: pip install --force-reinstall layercli"


class StaticTextEncoder:
    """Word pieces to vectors without context: a table look-up that needs no network and no transformer.

    Words that the captions never held are read as their nearest of kin that they did, where the folder says.

    Components have unit RMS over the vocabulary. Rows keep their frequency weight (SIF, Arora et al.
    2017), so "a", "the" and "of" are nearly zero while nouns have an RMS near 1. Padding rows are zero.
    """

    def __init__(
        self,
        codes: np.ndarray,
        scale: np.ndarray,
        tokenizer: Tokenizer,
        config: dict[str, Any],
        kin: Kin | None = None,
    ) -> None:
        self.codes = codes  # int8 (V, D)
        self.scale = scale  # float32 (V,)
        self.tokenizer = tokenizer
        self.config = config
        self.kin = kin or Kin({})
        self.pad_id, self.unknown_id = _PAD, _UNKNOWN
        self._tables: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def load(cls, folder: str | Path = EMBEDDED_FOLDER) -> StaticTextEncoder:
        """Reads model.safetensors, tokenizer.json and config.json from a folder.

        Raises LayercliError that names the file if one is missing, truncated or does not fit the others.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        weights, words, settings = (Path(folder) / name for name in _FILES)
        for path in (weights, words, settings):
            if not path.is_file():
                raise LayercliError(f"The text encoder's file {path} is missing.", _REINSTALL)
        try:
            tensors = load_file(weights)
            codes, scale = tensors["codes"], tensors["scale"].astype(np.float32)
        except (SafetensorError, KeyError, OSError, ValueError) as error:
            raise LayercliError(
                f"The text encoder's weights {weights} are damaged: {error}.", _REINSTALL
            ) from error
        try:
            config = json.loads(settings.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LayercliError(f"The text encoder's {settings} is damaged: {error}.", _REINSTALL) from error
        try:
            tokenizer = Tokenizer.from_str(words.read_text(encoding="utf-8"))
        except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
            raise LayercliError(f"The text encoder's {words} is damaged: {error}.", _REINSTALL) from error
        if (
            codes.dtype != np.int8
            or codes.ndim != 2
            or scale.shape != codes.shape[:1]
            or not np.isfinite(scale).all()
            or tokenizer.get_vocab_size() != len(codes)
            or tokenizer.token_to_id("[PAD]") != _PAD
            or tokenizer.token_to_id("[UNK]") != _UNKNOWN
            or scale[[_PAD, _UNKNOWN]].any()
        ):
            raise LayercliError(
                f"The text encoder in {folder} does not fit together: {codes.shape} {codes.dtype} codes for "
                f"{tokenizer.get_vocab_size()} word pieces.",
                _REINSTALL,
            )
        return cls(codes, scale, tokenizer, config, Kin.load(Path(folder)))

    @property
    def dimension(self) -> int:
        """Number of components of a vector: 256 for the embedded model."""
        return int(self.codes.shape[1])

    def _pieces(self, prompts: Sequence[str]) -> list[list[int]]:
        """Ids of each prompt's word pieces; characters outside the alphabet (no vector) are left out."""
        encoded = self.tokenizer.encode_batch(list(prompts), add_special_tokens=False)
        return [[i for i in item.ids if i != self.unknown_id] for item in encoded]

    def tokenize(
        self, prompts: Sequence[str], max_length: int = MAX_LENGTH
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Lower-cased word pieces of B prompts as (ids, mask), both int64 (B, max_length), mask 1 at tokens.

        Always padded to max_length, so that a prompt's tensor does not depend on its neighbours in the batch.
        An empty prompt is one [UNK] token, whose vector is zero: the null prompt of classifier-free guidance.
        Longer prompts are cut; `truncated` says which words were lost.
        """
        import torch

        ids = torch.full((len(prompts), max_length), self.pad_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, pieces in enumerate(self._pieces([self.kin.read(prompt) for prompt in prompts])):
            kept = pieces[:max_length] or [self.unknown_id]
            ids[row, : len(kept)] = torch.tensor(kept)
            mask[row, : len(kept)] = 1
        return ids, mask

    def truncated(self, prompts: Sequence[str], max_length: int = MAX_LENGTH) -> list[str]:
        """For each prompt, as it is read, the end that does not fit into max_length tokens; "" for none."""
        lost = []
        prompts = [self.kin.read(prompt) for prompt in prompts]
        encoded = self.tokenizer.encode_batch(prompts, add_special_tokens=False)
        for prompt, item in zip(prompts, encoded, strict=True):
            starts = [at for i, (at, _) in zip(item.ids, item.offsets, strict=True) if i != self.unknown_id]
            lost.append(prompt[starts[max_length] :] if len(starts) > max_length else "")
        return lost

    def embed(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Vectors float32 (B, L, D) of ids (B, L) on the ids' device; zero where mask is 0."""
        import torch

        if ids.device not in self._tables:
            codes, scale = torch.from_numpy(self.codes), torch.from_numpy(self.scale)
            self._tables[ids.device] = codes.to(ids.device), scale.to(ids.device)
        codes, scale = self._tables[ids.device]
        return codes[ids].float() * (scale[ids] * mask)[..., None]

    def encode(
        self, prompts: Sequence[str], max_length: int = MAX_LENGTH
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors float32 (B, max_length, D) and mask int64 (B, max_length) of B prompts."""
        ids, mask = self.tokenize(prompts, max_length)
        return self.embed(ids, mask), mask

    def phrase_vectors(self, phrases: Sequence[str]) -> np.ndarray:
        """One unit vector float32 (N, D) a phrase, the direction of its pieces' sum; zero if it has none."""
        out = np.zeros((len(phrases), self.dimension), np.float32)
        for row, pieces in enumerate(self._pieces(phrases)):
            out[row] = (self.codes[pieces].astype(np.float32) * self.scale[pieces, None]).sum(0)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)

    def nearest_known(self, prompt: str, vocabulary: Sequence[str], n: int = 3) -> list[tuple[str, float]]:
        """The n phrases of a vocabulary nearest to a prompt, with their cosine similarity, best first."""
        similarity = self.phrase_vectors(vocabulary) @ self.phrase_vectors([prompt])[0]
        order = np.argsort(-similarity, kind="stable")[:n]
        return [(vocabulary[i], float(similarity[i])) for i in order]
