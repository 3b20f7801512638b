"""Which words of a prompt the embedded model has seen in training, and the nearest ones that it has."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layercli.core.errors import LayercliError
from layercli.models.kin import WORD, base_forms, unaccented
from layercli.models.text_static import EMBEDDED_FOLDER, StaticTextEncoder

VOCABULARY = EMBEDDED_FOLDER.parent / "vocabulary.json"
# Words that carry no picture of their own, and the words that name a style.
FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an the and or of in on at to for from with without by as is are be it its his her their my your
        our this that these those there some any one no not into onto over under near beside
        behind between up down off out very really nice beautiful good picture image photo
        photograph render rendering drawing painting style background foreground scene isolated
        flat glossy gradient cartoon clip art""",
    )
)
# A whole word whose vector is this near to a trained one is understood through it. Seen on examples: plane
# and airplane .89, ocean and sea .74, puppy and dog .74, kitty and cat .71, kitten and cat .65, pony and
# horse .58 are above; cathedral and mosque .43, submarine and sea .40, molecule and lotion bottle .35,
# zeppelin and guitar .34 are below.
UNDERSTOOD = 0.55
# Below this a neighbour says nothing (majestic and salute .22): only the best one is named.
WORTH_NAMING = 0.3


class UnknownWord(NamedTuple):
    """A word of a prompt that training never showed, the nearest words that it did, and the best cosine."""

    word: str
    nearest: tuple[str, ...]
    similarity: float


def _plain_words(prompt: str) -> list[str]:
    """Lower-case words without accents, in order, each once; any script, nothing with digits (`3d`)."""
    return list(dict.fromkeys(word.removesuffix("'s") for word in WORD.findall(unaccented(prompt))))


class KnownWords:
    """The embedded model's trained words and phrases with the number of distinct pictures of each."""

    def __init__(self, counts: dict[str, int], encoder: StaticTextEncoder) -> None:
        self.counts = counts
        self.encoder = encoder
        self._terms = list(counts)
        self._vectors = encoder.phrase_vectors(self._terms)

    @classmethod
    def load(cls, path: str | Path = VOCABULARY, encoder: StaticTextEncoder | None = None) -> KnownWords:
        """Reads vocabulary.json; raises LayercliError if it is missing or damaged."""
        hint = "Reinstall layercli: pip install --force-reinstall layercli"
        try:
            counts = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LayercliError(f"The list of known words {path} cannot be read: {error}.", hint) from error
        if not isinstance(counts, dict) or not counts or not all(isinstance(n, int) for n in counts.values()):
            raise LayercliError(f"The list of known words {path} is damaged: it holds no word counts.", hint)
        return cls(counts, encoder or StaticTextEncoder.load())

    def nearest(self, word: str, n: int = 3) -> list[tuple[str, float]]:
        """Up to n trained terms nearest to a word, best first; none repeats a word of one before it."""
        similarity = self._vectors @ self.encoder.phrase_vectors([word])[0]
        found: list[tuple[str, float]] = []
        named: set[str] = set()
        for i in np.argsort(-similarity, kind="stable"):
            if len(found) == n or similarity[i] <= 0 or (found and similarity[i] < WORTH_NAMING):
                break
            bases = {base for part in self._terms[i].split() for base in base_forms(part)}
            if not bases & named:
                found.append((self._terms[i], float(similarity[i])))
                named |= bases
        return found

    def knows(self, word: str) -> bool:
        """True for a trained word, its plural, or a word that carries no picture."""
        return word in FUNCTION_WORDS or any(base in self.counts for base in base_forms(word))

    def unknown_words(self, prompt: str, n: int = 3) -> list[UnknownWord]:
        """The words of a prompt that the model can only guess at, with up to n trained neighbours each.

        A word with a vector of its own is understood if a trained word is within UNDERSTOOD of it. One that
        the tokenizer has to split is not: its pieces' nearness is often one of spelling (okapi and ok, .62).
        Words that are read as another are no guess.
        """
        unknown = []
        for word in _plain_words(prompt):
            if self.knows(word) or self.encoder.kin.of(word):
                continue
            near = self.nearest(word, n)
            best = near[0][1] if near else 0.0
            whole = self.encoder.tokenizer.token_to_id(word) is not None
            if not whole or best < UNDERSTOOD:
                unknown.append(UnknownWord(word, tuple(term for term, _ in near), best))
        return unknown


@lru_cache(maxsize=1)
def embedded_words() -> KnownWords:
    """The list that ships with the embedded model, read once."""
    return KnownWords.load()


def read_as(prompt: str) -> dict[str, str]:
    """The words of a prompt that the embedded model reads as nouns it has seen, with these."""
    return dict(embedded_words().encoder.kin.found_in(prompt))


def unknown_words(prompt: str, n: int = 3) -> list[UnknownWord]:
    """The words of a prompt that the embedded model has not seen, with the nearest that it has."""
    return embedded_words().unknown_words(prompt, n)
