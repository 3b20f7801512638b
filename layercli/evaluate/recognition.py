"""Recognition: whether the embedded classifier finds in a foreground the thing that its prompt names.

The classifier learned from real objects and has never seen a generated picture. Its accuracy on real objects
that were kept back is the ceiling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from layercli.evaluate._sample import NotJudged, Sample
from layercli.vision.object_net import embedded_net, look

NEEDS = ""
NUMBERS = {
    "top1": ("foreground", "higher", "", 0.0),
    "top5": ("foreground", "higher", "", 0.0),
}
SYNONYMS: Mapping[str, str] = {
    "kitty": "cat", "kitten": "cat", "puppy": "dog", "hound": "dog", "automobile": "car", "sedan": "car",
    "armchair": "chair", "couch": "sofa", "plane": "airplane", "aeroplane": "airplane", "bike": "bicycle",
    "ship": "boat", "lorry": "truck", "pony": "horse", "bunny": "rabbit", "hare": "rabbit", "mug": "cup",
    "cottage": "house", "home": "house", "telephone": "phone", "smartphone": "phone", "blossom": "flower",
    "rose": "flower", "sneaker": "shoe", "spectacles": "glasses", "present": "gift", "burger": "hamburger",
    "donut": "doughnut", "sparrow": "bird", "novel": "book", "piglet": "pig", "android": "robot",
    "canine": "dog", "jet": "airplane", "airliner": "airplane", "cycle": "bicycle", "stallion": "horse",
    "hog": "pig", "yacht": "boat", "vessel": "boat", "fortress": "castle", "eyeglasses": "glasses",
    "cellphone": "phone", "textbook": "book",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """There is nothing to choose."""


def measure(sample: Sample, options: Options) -> dict[str, float]:
    """Top-1 and top-5 over the foregrounds whose prompt names one of the classifier's nouns."""
    net = embedded_net()
    nouns = net.nouns
    wanted = [(noun_in(layer.prompt or layer.name, nouns), layer) for layer in sample.foregrounds]
    known = [(noun, layer) for noun, layer in wanted if noun]
    if not known:
        raise NotJudged("no foreground's prompt names a thing that the classifier knows")
    chances = [chance for _, chance in look(net, [sample.placed(layer) for _, layer in known])]
    places = [place_of(chance, nouns.index(noun)) for chance, (noun, _) in zip(chances, known, strict=True)]
    return {f"top{most}": float(np.mean([place < most for place in places])) for most in (1, 5)}


def noun_in(prompt: str, nouns: tuple[str, ...]) -> str:
    """The thing that a prompt names: the last noun before a comma or "with", "on", …; "" for none."""
    head = re.split(r",| (?:with|on|in|of|at|by|under|near|and|wearing|holding) ", prompt.lower())[0]
    for word in reversed(re.findall(r"[a-z]+", head)):
        for form in (word, word.removesuffix("s"), word.removesuffix("es")):
            if form in nouns:
                return form
            if SYNONYMS.get(form) in nouns:
                return SYNONYMS[form]
    return ""


def place_of(chances: np.ndarray, index: int) -> int:
    """How many names the classifier finds likelier than this one."""
    return int((chances > chances[index]).sum())
