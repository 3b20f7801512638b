"""Captions: cleaning, the style word each source gets, and how often a picture is drawn in training."""

from __future__ import annotations

import re
from typing import Any

# The nouns a newcomer types first; their pictures are drawn more often, so that they stand first.
COMMON_NOUNS = [
    "cat",
    "dog",
    "car",
    "tree",
    "house",
    "bird",
    "fish",
    "flower",
    "apple",
    "chair",
    "sofa",
    "table",
    "lamp",
    "bed",
    "boat",
    "bus",
    "truck",
    "airplane",
    "bicycle",
    "ball",
    "clock",
    "phone",
    "guitar",
    "umbrella",
    "hat",
    "shoe",
    "bear",
    "horse",
    "cow",
    "pig",
    "rabbit",
    "cup",
    "bottle",
    "banana",
    "pizza",
    "cake",
    "castle",
    "robot",
    "book",
    "butterfly",
]

# A hundred things that a person may expect to be known, by which the scoreboard judges.
FAMILIAR_NOUNS = (
    *COMMON_NOUNS,
    *("heart", "star", "moon", "cloud", "leaf", "mushroom", "cactus", "strawberry", "lemon", "pear"),
    *("watermelon", "hamburger", "doughnut", "egg", "bread", "rainbow", "elephant", "tiger", "whale"),
    *("penguin", "duck", "frog", "turtle", "snail", "camel", "monkey", "dinosaur", "dragon", "snake"),
    *("lion", "dolphin", "train", "scooter", "rocket", "helicopter", "tractor", "tent", "lantern"),
    *("candle", "key", "hammer", "pencil", "envelope", "gift", "balloon", "drum", "camera", "laptop"),
    *("microphone", "glasses", "helmet", "crown", "ring", "bell", "knife", "ladder", "snowman"),
    *("keyboard", "wrench", "anchor"),
)

# Plain names of pictures whose captions are more special than what a person types.
_ALIASES = {
    "soccer ball": "ball",
    "basketball": "ball",
    "volleyball": "ball",
    "tennis": "ball",
    "birthday cake": "cake",
    "shortcake": "cake",
    "cupcake": "cake",
    "mobile phone": "phone",
    "telephone": "phone",
    "top hat": "hat",
    "womans hat": "hat",
    "cowboy hat": "hat",
    "running shoe": "shoe",
    "mans shoe": "shoe",
    "high heeled shoe": "shoe",
    "flat shoe": "shoe",
    "red apple": "apple",
    "green apple": "apple",
    "tropical fish": "fish",
    "wine bottle": "bottle",
    "baby bottle": "bottle",
    "alarm clock": "clock",
    "mantelpiece clock": "clock",
    "coffee cup": "cup",
    "teacup without handle": "cup",
    "deciduous tree": "tree",
    "pickup truck": "truck",
    "delivery truck": "truck",
    "articulated lorry": "truck",
    "small airplane": "airplane",
    "sailboat": "boat",
    "motor boat": "boat",
    "speedboat": "boat",
    "closed book": "book",
    "open book": "book",
    "blue book": "book",
    "green book": "book",
    "orange book": "book",
    "cat face": "cat",
    "dog face": "dog",
    "rabbit face": "rabbit",
    "pig face": "pig",
    "cow face": "cow",
    "horse face": "horse",
    "bear face": "bear",
    "electric guitar": "guitar",
    "castle": "castle",
    "hibiscus": "flower",
    "rose": "flower",
    "tulip": "flower",
    "sunflower": "flower",
    "blossom": "flower",
    "white flower": "flower",
    "automobile": "car",
    "taxi": "car",
    "city bus": "bus",
    "parrot": "bird",
    "black bird": "bird",
    "couch": "sofa",
    "poodle": "dog",
    "house with garden": "house",
}

# Captions that end in a common noun and show something else, or something around it.
_OTHER_THINGS = {
    "adventurer hat",
    "apple i book",
    "baby high chair",
    "beach with umbrella",
    "bedside table",
    "bonsai tree",
    "cable car",
    "camping lamp",
    "ceiling lamp",
    "chandelier lamp",
    "changing table",
    "closed umbrella",
    "clothes horse",
    "confetti ball",
    "corn dog",
    "couch and lamp",
    "crystal ball",
    "cuckoo clock",
    "cup cake",
    "diya lamp",
    "dog house",
    "doll house",
    "dressing table",
    "football table",
    "golf flag + ball",
    "hot dog",
    "leafless tree",
    "man bouncing ball",
    "man driving car",
    "man rowing boat",
    "mezzanine bed",
    "mirror ball",
    "moon cake",
    "pendant lamp",
    "person bouncing ball",
    "person in bed",
    "person rowing boat",
    "phoenix bird",
    "punching ball",
    "railway car",
    "rice ball",
    "sand castle",
    "simple pig",
    "slate apple",
    "street lamp",
    "tanabata tree",
    "timer clock",
    "tram car",
    "wilted flower",
    "woman bouncing ball",
    "woman rowing boat",
}

_STYLES = (
    ("3d render (textured)", "3d render"),
    ("3d render (room)", "3d render"),
    ("3d render (raytraced)", "3d render"),
    ("3d render (fluent 3d)", "glossy 3d"),
    ("vector gradient", "gradient"),
    ("soft vector", "cartoon"),
    ("flat vector", "flat"),
    ("clip art", "clip art"),
    ("photo/drawing", "photo"),
    ("photo", "photo"),
)


def style_word(style: str) -> str:
    """The word that names a picture's style in captions and prompts: `3d render`, `flat`, `photo`…"""
    lowered = style.lower()
    return next((word for start, word in _STYLES if lowered.startswith(start)), "drawing")


STYLE_WORDS = tuple(dict.fromkeys(word for _, word in _STYLES))


def plain_caption(caption: str) -> str:
    """Lower case, without brackets, trailing marks and doubled spaces."""
    text = re.sub(r"\([^)]*\)|[#|*_]", " ", caption.lower())
    return re.sub(r"\s+", " ", text).strip(" ,.-") or "an object"


def without_article(caption: str) -> str:
    """`a red apple` -> `red apple`."""
    return re.sub(r"^(a|an|the) ", "", caption)


def plain_noun(caption: str) -> str | None:
    """The common noun that a person would type for this caption, if there is one."""
    phrase = without_article(caption)
    if phrase in _OTHER_THINGS:
        return None
    if phrase in _ALIASES:
        return _ALIASES[phrase]
    last = phrase.split(",")[0].split(" ")[-1]
    return last if last in COMMON_NOUNS else None


def familiar_noun(caption: str) -> str | None:
    """The familiar noun that a caption shows, if it is one: its plain noun, or its last word.

    A hot dog is no dog: where the plain nouns leave out a caption that ends in one of theirs, so does this.
    """
    last = without_article(caption).split(",")[0].split(" ")[-1]
    noun = plain_noun(caption) or (last if last not in COMMON_NOUNS else "")
    return noun if noun in FAMILIAR_NOUNS else None


def article(noun: str) -> str:
    """`apple` -> `an apple`."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


# Singular words with an s at the end, and pairs that English treats as one thing.
_SINGULAR = re.compile(r"(ss|bus|glasses|scissors|cactus|octopus)$")
_WITHOUT_ARTICLE = re.compile(r"(a|an|the|two|three) ")


def with_article(name: str) -> str:
    """`apple` -> `an apple`; a plural word, and a name with its own article or number, stays as it is."""
    plural = " " not in name and name.endswith("s") and not _SINGULAR.search(name)
    return name if plural or _WITHOUT_ARTICLE.match(name) else article(name)


def words_of(identifier: str) -> str:
    """`hot-dog_2`, `PlayStation`, `iMac` -> `hot dog`, `play station`, `i mac`.

    Lower case, without the numbers at the end of words, which count variants.
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", identifier.replace("-", " ").replace("_", " "))
    numberless = re.sub(r"[0-9]+\b°?", " ", parted)
    return re.sub(r"\s+", " ", numberless).strip().lower()


def sampling_weight(row: dict[str, Any]) -> float:
    """How often a picture is drawn: 1 for a plain object, less for near-duplicates and noisy sources."""
    caption, weight = plain_caption(row["caption"]), 1.0
    if row.get("view") is not None:
        weight /= 4  # eight views of one model, worth about two pictures
    if row["source"] == "deb:openclipart-svg":
        weight *= 0.5
    if caption.endswith(" face") or re.search(
        r"\b(man|woman|person|men|women|hand|family|couple)\b", caption
    ):
        weight *= 0.25
    return weight
