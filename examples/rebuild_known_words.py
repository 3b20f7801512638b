"""Rebuilds layercli/weights/embedded/vocabulary.json: the words the embedded model was trained on.

    python examples/rebuild_known_words.py CORPUS_FOLDER

One entry a word, or a phrase of two or three words that is a whole caption: on how many distinct training
pictures it stands (all views of one 3D model count once; held-out pictures do not count). Words on fewer than
three pictures are left out, since nothing is learned from them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

from layercli.data.captions import plain_caption, plain_noun, without_article
from layercli.data.corpus import is_held_out, read_manifest
from layercli.models.vocabulary import FUNCTION_WORDS

LEAST_PICTURES = 3
# Words of two letters are mostly codes and cut-off abbreviations of file names; these are not.
_SHORT = {"tv", "ox"}
# Directions and variants of emoji: words of the captions, but nobody's subject.
_VARIANTS = re.compile(r"\b(facing|oclock|leftwards|rightwards|family)\b")


def terms(caption: str) -> set[str]:
    """The words, and the phrase, that a caption teaches."""
    text = plain_caption(caption)
    phrase = without_article(text)
    words = re.findall(r"[a-z]+", phrase)
    found = {word for word in words if (len(word) > 2 or word in _SHORT) and word not in FUNCTION_WORDS}
    noun = plain_noun(text)
    if noun:
        found.add(noun)
    short = re.fullmatch(r"[a-z]+( [a-z]+){1,2}", phrase) and not _VARIANTS.search(phrase)
    if short and not FUNCTION_WORDS.intersection(words):
        found.add(phrase)
    return found


def rebuild(corpus: Path, out: Path) -> None:
    """Counts the words of a corpus and writes them, most frequent first."""
    pictures: dict[str, set[str]] = defaultdict(set)
    for row in read_manifest(corpus):
        if not is_held_out(row):
            for term in terms(row["caption"]):
                pictures[term].add(f"{row['source']}/{row.get('model') or row['member']}")
    counts = {term: len(found) for term, found in pictures.items() if len(found) >= LEAST_PICTURES}
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    out.write_text(json.dumps(ordered, indent=0) + "\n", encoding="utf-8")
    print(f"{len(ordered)} words and phrases, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rebuild the embedded model's list of known words.")
    parser.add_argument("corpus", type=Path, help="the folder with manifest.jsonl")
    parser.add_argument("--out", type=Path, default=Path("layercli/weights/embedded/vocabulary.json"))
    options = parser.parse_args()
    rebuild(options.corpus, options.out)
