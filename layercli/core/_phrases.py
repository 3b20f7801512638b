"""Where nouns, their phrases and their places begin and end in a plain English description."""

from __future__ import annotations

from layercli.core import _english as en


def singular(noun: str) -> str:
    """`cats` -> `cat`, by rule and by a short list."""
    if noun in en.PLURALS:
        return en.PLURALS[noun]
    for end, new in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if noun.endswith(end) and not noun.endswith("ss") and len(noun) > len(end) + 1:
            return noun[: -len(end)] + new
    return noun


def is_plural(word: str) -> bool:
    """Whether a noun looks like more than one."""
    return word in en.PLURALS or (word.endswith("s") and not word.endswith("ss"))


def is_participle(word: str) -> bool:
    """Whether a word says what a thing is doing."""
    known = word in en.VERBS.values() or word not in en.NOT_PARTICIPLES
    return word.endswith("ing") and len(word) > 4 and known


def places_at(words: list[str], place: int) -> int:
    """How many words of a preposition of place begin here; 0 for none."""
    rest = " ".join(words[place : place + 5]) + " "
    lengths = [len(prep.split()) for prep in (*en.PREPOSITIONS, *en.BESIDE) if rest.startswith(f"{prep} ")]
    return max(lengths, default=0)


def first_place(words: list[str]) -> tuple[int, int, str] | None:
    """Where the first preposition is that says where, how long it is, and of which kind."""
    for start in range(1, len(words)):
        rest = " ".join(words[start : start + 5]) + " "
        for kind, listed in (("behind", en.BEHIND), ("beside", en.BESIDE), ("place", en.PREPOSITIONS)):
            fitting = [prep for prep in listed if rest.startswith(f"{prep} ")]
            if not fitting:
                continue
            prep = max(fitting, key=len)
            length = len(prep.split())
            after = words[start + length :]
            phrase = after[: phrase_end(after)]
            if not after or _is_attribute(prep, phrase):
                break
            return start, length, kind
    return None


def _is_attribute(prep: str, phrase: list[str]) -> bool:
    """Whether "in" or "on" says how a thing is, and not where: in a hat, in a vase, on a horse."""
    noun = head(" ".join(phrase))
    if prep in {"in", "inside"}:
        return noun in en.WORN or noun in en.CONTAINERS
    return prep == "on" and (noun in en.CARRIERS or noun in en.CONTAINERS)


def phrase_end(words: list[str]) -> int:
    """Where the noun phrase that begins here ends."""
    for place, word in enumerate(words):
        if place and (word in {"and", "with", ",", "while"} or places_at(words, place)):
            return place
        if place and (is_participle(word) or word in en.BEHIND):
            return place
        if (
            place
            and word.endswith("ing")
            and words[place + 1 : place + 2]
            and words[place + 1] in en.DETERMINERS
        ):
            return place  # "a train crossing a bridge", but "a railway crossing"
    return len(words)


def head(phrase: str) -> str:
    """The noun that a phrase is about: "a pile of red books" -> "pile"; "" for none."""
    words = phrase.split()
    end = phrase_end(words)
    kept = words[:end]
    if "of" in kept[1:]:
        kept = kept[: kept.index("of", 1)]
    while len(kept) > 1 and kept[-1] in en.STATIC:
        kept.pop()
    return kept[-1].strip(",") if kept else ""
