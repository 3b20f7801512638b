"""One sentence into what stands in front, what lies behind, and the whole, as DreamLayer's data planner does.

The rules read plain English descriptions; a language model may do it instead (models.planner). Either way the
answer is a Split, which is shown, so that a person can type it herself in other words.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from layercli.core import _english as en
from layercli.core._phrases import (
    first_place,
    head,
    is_participle,
    is_plural,
    phrase_end,
    places_at,
    singular,
)
from layercli.core.errors import LayercliError

PLAIN = "a plain light background"
SCENE = "a landscape"
"""What lies behind where nothing, or only a time or a weather, is said."""

LONGEST = 2000
_PARTS = '--fg "…" --bg "…"'


@dataclass(frozen=True, kw_only=True)
class Split:
    """A description in parts: foregrounds (back to front), background, the whole; negative: what not to show.

    by: who split it, "rules" or a model's name; notes: what a person should know of it.
    """

    foregrounds: tuple[str, ...]
    background: str
    whole: str
    negative: str = ""
    by: str = "rules"
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The options of `layercli generate` that say the same."""
        words = [word for thing in self.foregrounds for word in ("--fg", thing)]
        words += ["--bg", self.background]
        if self.negative:
            words += ["--negative", self.negative]
        return shlex.join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "foregrounds": list(self.foregrounds),
            "background": self.background,
            "whole": self.whole,
            "negative": self.negative,
            "by": self.by,
        }


def split_prompt(text: str) -> Split:
    """Split an English description by rules.

    Raises LayercliError for an empty or endless text, one in another language, and one that names places
    alone.
    """
    whole = " ".join(text.split()).strip(" .!?;,")
    if not whole or len(whole) > LONGEST:
        raise LayercliError(
            "There is no description to split." if not whole else f"{len(whole)} characters are too many.",
            'Try: --prompt "a cat sleeping on a sofa"',
        )
    _check_english(whole)
    twisted = re.search(r"\b(?:neither|nor|except|instead of|rather than|unlike)\b", whole.lower())
    if twisted:
        raise LayercliError(
            f'The rules do not understand "{twisted[0]}".', f"Type the parts: {_PARTS}, or say it plainly."
        )
    plain, negative = _without_negations(_uncapitalised(whole))
    plain = re.sub(rf"^(?:{en.PREAMBLE})+", "", plain, flags=re.IGNORECASE)
    plain, behind = _named_background(plain)
    plain, moments = _without_moments(_present(plain))
    things: list[str] = []
    places: list[str] = []
    for clause in _clauses(plain):
        found, place = _clause(clause)
        things += found
        places += [place] if place else []
    places += [behind] if behind else []
    if not things:
        shown = " ".join([" and ".join(places), *moments]).strip() or whole
        raise LayercliError(
            f'The rules find nothing that stands in front in "{whole}".',
            f"Say it: {shlex.join(['--fg', '…', '--bg', shown])}",
        )
    notes = [] if places or moments else ["No background is named; a plain one is taken."]
    ground = " and ".join(dict.fromkeys(places)) or (SCENE if moments else PLAIN)
    missing = [moment for moment in moments if moment not in ground]
    return Split(
        foregrounds=tuple(things),
        background=" ".join([ground, *missing]),
        whole=whole,
        negative=negative,
        notes=tuple(notes),
    )


def _check_english(text: str) -> None:
    """Raises LayercliError for other scripts, and for sentences made of other languages' small words."""
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(not ("a" <= letter.lower() <= "z" or "\u00c0" <= letter <= "\u024f") for letter in letters)
    words = re.findall(r"[^\W\d_]+", text.lower())
    foreign = sum(word in en.FOREIGN for word in words)
    known = {*en.DETERMINERS, "on", "in", "at", "of", "with", "and", "under", "near", "by", "is"}
    if not letters or other > 0.2 * len(letters) or foreign > sum(word in known for word in words):
        raise LayercliError(
            f'The rules split English alone, and "{text[:60]}" does not look like it.',
            f"Type the parts: {_PARTS}, or give a language model: --planner FOLDER",
        )


def _uncapitalised(text: str) -> str:
    first, _, rest = text.partition(" ")
    plain = first if len(first) > 1 and first.isupper() else first.lower()
    return f"{plain} {rest}".strip()


def _without_negations(text: str) -> tuple[str, str]:
    """ "a cat without a hat on a sofa" -> "a cat on a sofa", "hat"."""
    stop = r"(?!(?:on|in|at|under|near|by|over|and|but|with|next|behind|against|along|[a-z]{2,}ing)\b)"
    pattern = (
        r"(?:,|;)?\s*\b(?:and |but )?(?:(?:that|which|who) (?:is|are|has|have) )?"
        rf"(?:with no|with nothing|without(?: any)?|no|not(?: any)?)\b((?:\s+{stop}[\w'-]+)+)"
    )
    found = [" ".join(match.split()) for match in re.findall(pattern, text)]
    found = [re.sub(r"^(?:an?|the|any) ", "", part) for part in found]
    named = [part for phrase in found for part in re.split(r" or ", phrase)]
    return " ".join(re.sub(pattern, "", text).split()).strip(" ,"), ", ".join(named)


def _named_background(text: str) -> tuple[str, str]:
    """ "a fox with hills in the background" -> "a fox", "hills"."""
    pattern = (
        r"(?:,? and|,)?\s*\b(?:(?:with|against) )?"
        r"((?:(?!\b(?:with|and|against|on|in)\b)[^,])+?(?: and [^,]+?)?)"
        r" (?:in the (?:far )?(?:background|distance|back)|as (?:the|a) background"
        r"|behind (?:it|them|him|her))\s*$"
    )
    match = re.search(pattern, text)
    if match is None or not match.start():
        return text, ""
    rest = text[: match.start()].strip(" ,")
    ground = match[1].strip()
    return (rest, ground) if rest else (text, "")


def _present(text: str) -> str:
    """Finite verbs as participles: "there is a cat that sits" -> "a cat sitting"."""
    text = re.sub(r"^(?:there (?:is|are)|this is|i see|show(?: me)?) ", "", text)
    text = re.sub(r"\b(?:(?:that|which|who) )?(?:is|are|was|were) (?=\w)", "", text)
    text = re.sub(r"\b(?:that|which|who) (?=\w)", "", text)
    words: list[str] = []
    for place, word in enumerate(text.split()):
        bare = word.strip(",")
        before = words[-1].strip(",") if words else ""
        # A verb comes after a noun: "a play", "to sleep" and "the rest" are none.
        base = next((b for b in (bare, bare[:-1], bare[:-2]) if b in en.VERBS and bare in _forms(b)), "")
        is_verb = place >= 1 and before and before not in en.DETERMINERS and not places_at([before], 0)
        plural_only = base == bare and not is_plural(before)
        if is_verb and base and not plural_only and before not in en.ADJECTIVES:
            word = word.replace(bare, en.VERBS[base])
        elif is_verb and bare in en.PAST:
            word = word.replace(bare, en.PAST[bare])
        words.append(word)
    return " ".join(words)


def _forms(base: str) -> set[str]:
    return {base, f"{base}s", f"{base}es", f"{base[:-1]}ies" if base.endswith("y") else f"{base}s"}


def _without_moments(text: str) -> tuple[str, list[str]]:
    """When and in which weather, apart: "a car at night on a street" -> "a car on a street", "at night"."""
    listed = "|".join(sorted(en.MOMENTS, key=len, reverse=True))
    ends = r"(?=$|,| (?:and|with|while|on|in|at|near|by|under|over|next|behind|against|through)\b)"
    begins = r"\b((?:at|in|during|on|before|after)(?: the| an?)?(?: [\w-]+)??(?: [\w-]+)? "
    pattern = rf"{begins}(?:{listed})){ends}"
    found: list[str] = []
    for match in re.finditer(pattern, text):
        inner = re.split(r" (?=(?:at|in|during|on) )", match[1])[-1]
        found.append(inner)
    for moment in found:
        text = re.sub(rf"(?:^| |,)*\b{re.escape(moment)}\b,?", " ", text, count=1)
    return " ".join(text.split()).strip(" ,"), found


def _clauses(text: str) -> list[str]:
    """Parts with a place of their own: "a cat on a sofa and a dog on a rug"; tags of style are left out."""
    sections = [section.strip() for section in re.split(r"[,;]", text) if section.strip()]
    if not sections:
        return []
    leading = places_at(sections[0].split(), 0)
    kept = [sections[0]]
    listing = any(re.search(r"\band\b", section) for section in sections[1:])
    for section in sections[1:]:
        words = section.split()
        if words[0] in en.DETERMINERS or words[0] == "and" or words[0] in {"with", "while"}:
            kept.append(section)
        elif places_at(words, 0):
            kept[-1] += f" {section}"
        elif is_participle(words[0]):  # "on a cliff, watching the sea" is what the thing does
            before = kept[-1].split()
            start = (first_place(before) or (len(before),))[0]
            kept[-1] = " ".join([*before[:start], section, *before[start:]])
        elif listing or (leading and len(kept) == 1):
            kept.append(section)
    if leading and len(kept) > 1:
        return [kept[0], *_divided(" , ".join(kept[1:]))]
    return _divided(" , ".join(kept).replace(" , and ", " and ").replace(" , with ", " with "))


def _divided(text: str) -> list[str]:
    parts = re.split(r" (?:and|,|while|;) (?=(?:an?|the|two|three|four|some|several|his|her) )", text)
    clauses = [parts[0]]
    joints = re.findall(r" (and|,|while|;) (?=(?:an?|the|two|three|four|some|several|his|her) )", text)
    for joint, part in zip(joints, parts[1:], strict=True):
        if joint == "while" or (first_place(clauses[-1].split()) and first_place(part.split())):
            clauses.append(part)
        else:
            clauses[-1] += f" {joint} {part}"
    return clauses


def _clause(text: str) -> tuple[list[str], str]:
    """What stands in front in a clause, back to front, and its place ("" where it has none)."""
    words = text.split()
    leading = places_at(words, 0)
    if leading:  # "in a garden a cat sleeping"
        after = words[leading:]
        starts = (i for i, word in enumerate(after) if word in en.DETERMINERS and after[i - 1] != "of")
        second = next((i for i in starts if i > 0), 0)
        if not second:
            return [], " ".join(after)
        found, place = _clause(" ".join(after[second:]))
        return found, " ".join(after[:second]) + (f" and {place}" if place else "")
    found_at = first_place(words)
    if found_at is None:
        return _things_or_place(text)
    start, length, kind = found_at
    left, right = " ".join(words[:start]), words[start + length :]
    if kind == "place":
        return _in_place(left, " ".join(right), text)
    # Beside or behind a thing: it is one too, and what comes after it may be the place of both.
    end = phrase_end(right)
    other, rest = " ".join(right[:end]), " ".join(right[end:])
    if head(left) in en.PLACES and head(left) not in en.BUILT:
        return [], text
    if head(other) in en.PLACES:
        return _in_place(left, " ".join(right), text)
    more, place = _clause(f"{other} {rest}".strip())
    return [*_things(left), *more], place


def _in_place(left: str, place: str, text: str) -> tuple[list[str], str]:
    """What stands in a place; where that is a place itself, all of the clause lies behind."""
    if place.split(" ")[0] in en.PRONOUNS:
        return _things(left), ""
    if head(left) in en.PLACES and head(left) not in en.BUILT:
        return [], text
    company: list[str] = []
    for joint in (" with ", " next to ", " beside ", " and ", " , "):
        before, found, after = place.partition(joint)
        if found and (set(after.split()[:4]) & en.ANIMATE):
            place, company = before, _things(after)
            break
    return [*_things(left), *company], place


def _things_or_place(text: str) -> tuple[list[str], str]:
    """A clause that names no place: things, or a place with things."""
    first, _, company = text.partition(" with ")
    if head(first) in en.PLACES and " and " not in first:
        return (_things(company) if company else []), first
    return _things(text), ""


def _things(text: str) -> list[str]:
    """ "a cat and two dogs" -> "a cat", "a dog", "a dog"."""
    text = re.sub(rf" (?:{'|'.join(en.TOGETHER)}) ", " and ", text.strip(" ,"))
    parts: list[str] = []
    for part in re.split(r" and | , ", text):
        before = parts[-1] if parts else ""
        if before and _holds_on(before, part):
            parts[-1] += f" and {part}"
        else:
            parts.append(part)
    found: list[str] = []
    for number, part in enumerate(parts):
        if number and part.split(" ")[0] not in en.DETERMINERS and not is_plural(head(part)):
            article = parts[0].split(" ")[0]
            if article in {"a", "an"} and part:
                part = f"{'an' if part[0] in 'aeiou' else 'a'} {part}"
        first, _, company = part.partition(" with ")
        if company and set(company.split()[:3]) & en.ANIMATE:
            found += [*_each(first), *_things(company)]
        else:
            found += _each(part)
    return [thing for thing in found if thing]


def _holds_on(before: str, part: str) -> bool:
    """Whether "and" stands inside a thing: between adjectives, or in what a person holds."""
    last, first = before.split(" ")[-1], part.split(" ")[0]
    if first not in en.DETERMINERS and last in en.ADJECTIVES:
        return True
    words = before.split()
    acting = next((i for i, word in enumerate(words) if is_participle(word) or word == "with"), None)
    follows = acting is not None and len(words) > acting + 1 and not first_place(words)
    return follows and not set(part.split()[:4]) & en.ANIMATE


def _each(phrase: str) -> list[str]:
    """One thing in words fit for a prompt, as often as its number says."""
    words = [word for word in phrase.split() if word not in {"also", "both", "together"}]
    words = words[1:] if words and words[0] == "and" else words
    while words and (words[-1] in en.STATIC or words[-1] in en.PRONOUNS or places_at(words, len(words) - 1)):
        words.pop()
    if not words:
        return []
    if words[0] in en.POSSESSIVES and len(words) > 1:
        words[0] = "an" if words[1][0] in "aeiou" else "a"
    count = en.NUMBERS.get(words[0], 1)
    if count > 1:
        end = next((i for i, word in enumerate(words) if i and is_participle(word)), len(words))
        end = next((i for i, word in enumerate(words[:end]) if i and word in {"of", "with", "in"}), end)
        words[end - 1] = singular(words[end - 1])
        words[0] = "an" if words[1:] and words[1][0] in "aeiou" else "a"
    acting = words[-1]
    if len(words) > 2 and is_participle(acting) and words[0] in {"a", "an", "the"}:
        words = [words[0], acting, *words[1:-1]]  # "a cat sleeping" -> "a sleeping cat"
        if words[0] != "the":
            words[0] = "an" if acting[0] in "aeiou" else "a"
    elif len(words) == 2 and is_participle(acting) and is_plural(words[0]):
        words = [acting, words[0]]
    return [" ".join(words)] * count
