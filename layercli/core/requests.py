"""What a person asked for: one frozen type per verb, JSON-able, no pixels, all defaults in one place."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from layercli.core._stored import as_text, fields_of, places_by_name, texts_by_name
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.registry import suggest

Harmonize = Literal["irh", "over", "none"]
Offload = Literal["none", "model", "sequential"]
Box = tuple[float, float, float, float]
"""left, top, right, bottom as fractions of the canvas."""

_TEXTS = (
    "prompt",
    "negative",
    "model",
    "method",
    "harmonize",
    "given",
    "style",
    "device",
    "dtype",
    "offload",
)
LARGEST_SEED = 2**63 - 1
LONGEST_PROMPT = 2000


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """Foregrounds (back to front) over a background, and how to sample them.

    No foreground is the background alone, one foreground and "" for the background is that one alone.

    boxes: (left, top, right, bottom) as fractions of the canvas, masks: paths of pictures of the canvas'
    size; the key of both is a foreground's prompt, a word of it, or its number from 1.
    given: path of a picture that is there: the background, or a foreground if parts of it are transparent.
    harmonize: "irh" gives the picture's light and shadow as layers of their own, "over" leaves the plain
    composite, "none" draws every layer by itself. offload: "model" keeps only the network at work on the
    device, "sequential" only the layer at work: less memory, more time, the same picture.
    Raises LayercliError on any value out of range.
    """

    foregrounds: tuple[str, ...]
    background: str
    prompt: str = ""
    negative: str = ""
    size: Size = Size(256, 256)
    seed: int = 0
    steps: int = 30
    guidance: float = 4.0
    model: str = "embedded"
    method: str = "layerfusion"
    options: Mapping[str, str] = field(default_factory=dict)
    harmonize: Harmonize = "irh"
    boxes: Mapping[str, Box] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    given: str = ""
    style: str = ""
    device: str = "auto"
    dtype: str = "auto"
    offload: Offload = "none"

    def __post_init__(self) -> None:
        if not isinstance(self.foregrounds, tuple):
            raise LayercliError(f"Foregrounds are a tuple, not {self.foregrounds!r}.")
        for prompt in self.foregrounds:
            _check_prompt(prompt, "foreground", '--fg "a cat"')
        if self.given and self.foregrounds and not str(self.background).strip():
            raise LayercliError(
                f"The background prompt is empty: what {self.given} shows is to be said in words too.",
                'Try: --bg "a sofa"',
            )
        if self.background or not self.alone:
            _check_prompt(self.background, "background", '--bg "a sofa"')
        for text in (self.prompt, self.negative, self.style):
            _check_length(text)
        _check_range("seed", self.seed, 0, LARGEST_SEED)
        _check_range("steps", self.steps, 1, 1000)
        if not (isinstance(self.guidance, int | float) and math.isfinite(self.guidance)):
            raise LayercliError(f"guidance is a number, not {self.guidance!r}.", "Try: --guidance 4")
        if not 0 <= self.guidance <= 100:
            raise LayercliError(f"guidance {self.guidance:g} is not from 0 to 100.", "Try: --guidance 4")
        if self.harmonize not in get_args(Harmonize):
            ways = suggest(self.harmonize, get_args(Harmonize))
            raise LayercliError(f'harmonize cannot be "{self.harmonize}".', ways)
        if self.offload not in get_args(Offload):
            raise LayercliError(
                f'offload cannot be "{self.offload}".', suggest(self.offload, get_args(Offload))
            )
        for key, box in self.boxes.items():
            self.foreground_index(key)
            _check_box(key, box)
        for key in self.masks:
            self.foreground_index(key)
        self._check_places_are_given_once()
        if self.given and not self.foregrounds:
            raise LayercliError(f"There is nothing to draw with {self.given}.", 'Try: --fg "a cat"')

    @property
    def alone(self) -> bool:
        """Whether it asks for a single frame: a background, or a foreground on transparency."""
        return len(self.foregrounds) + bool(self.background) == 1

    @property
    def layer_names(self) -> tuple[str, ...]:
        """One name per foreground, in order: its prompt, with " 2", " 3" after a repeated one."""
        names: list[str] = []
        for prompt in self.foregrounds:
            name, count = prompt.strip(), 1
            while name in names:
                count += 1
                name = f"{prompt.strip()} {count}"
            names.append(name)
        return tuple(names)

    @property
    def global_prompt(self) -> str:
        """The text of the whole picture: `prompt`, or else one made of the parts."""
        if self.prompt.strip():
            return self.prompt.strip()
        things = " and ".join(prompt.strip() for prompt in self.foregrounds)
        return ", ".join(part for part in (things, self.background.strip()) if part)

    def foreground_index(self, key: str) -> int:
        """Find the foreground that a key means: its number from 1, its prompt, or words of it alone."""
        wanted = key.strip().lower()
        prompts = [prompt.strip().lower() for prompt in self.foregrounds]
        if wanted.isdecimal() and 1 <= int(wanted) <= len(prompts):
            return int(wanted) - 1
        whole = [index for index, prompt in enumerate(prompts) if prompt == wanted]
        words = [index for index, prompt in enumerate(prompts) if _has_words(prompt, wanted)]
        found = whole or words
        listed = ", ".join(f"{number} {prompt}" for number, prompt in enumerate(self.foregrounds, 1))
        if not found:
            raise LayercliError(f'No foreground is called "{key}".', f"Foregrounds: {listed}.")
        if len(found) > 1:
            raise LayercliError(f'"{key}" means more than one foreground.', f"Say its number: {listed}.")
        return found[0]

    def box_of(self, index: int) -> Box | None:
        """The box of the foreground with this index from 0, if it has one."""
        return next((box for key, box in self.boxes.items() if self.foreground_index(key) == index), None)

    def mask_of(self, index: int) -> str | None:
        """The path of the mask of the foreground with this index from 0, if it has one."""
        return next((path for key, path in self.masks.items() if self.foreground_index(key) == index), None)

    def replace(self, **changes: Any) -> Self:
        """The same request with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, fit for a receipt."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        values["foregrounds"] = list(self.foregrounds)
        values["size"] = [self.size.width, self.size.height]
        values["options"] = dict(self.options)
        values["boxes"] = {key: list(box) for key, box in self.boxes.items()}
        values["masks"] = dict(self.masks)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of to_dict; unknown keys and values of another shape raise LayercliError."""
        given = fields_of(cls, values, "generate request")
        try:
            given["foregrounds"] = tuple(as_text(prompt) for prompt in given["foregrounds"])
            given["background"] = as_text(given["background"])
            if "size" in given:
                width, height = given["size"]
                given["size"] = Size(width, height)
            given["boxes"] = places_by_name(given.get("boxes", {}))
            for name in ("options", "masks"):
                given[name] = texts_by_name(given.get(name, {}))
            for name in _TEXTS:
                if name in given:
                    given[name] = as_text(given[name])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LayercliError(f"The stored request cannot be read: {error!r}.") from error
        return cls(**given)

    def to_json(self) -> str:
        """One JSON object, keys in the order of the fields."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of to_json."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise LayercliError(f"The stored request is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise LayercliError("The stored request is not a JSON object.")
        return cls.from_dict(values)

    def _check_places_are_given_once(self) -> None:
        for places in (self.boxes, self.masks):
            indices = [self.foreground_index(key) for key in places]
            for index in indices:
                if indices.count(index) > 1:
                    raise LayercliError(f'"{self.foregrounds[index]}" is given two places.', "Leave one out.")
        both = {self.foreground_index(key) for key in self.boxes} & {
            self.foreground_index(key) for key in self.masks
        }
        if both:
            prompt = self.foregrounds[min(both)]
            raise LayercliError(f'"{prompt}" has a box and a mask.', "Leave one of the two out.")


def _check_prompt(prompt: Any, which: str, example: str) -> None:
    if not isinstance(prompt, str) or not prompt.strip():
        raise LayercliError(f"The {which} prompt is empty.", f"Try: {example}")
    _check_length(prompt)


def _check_length(text: Any) -> None:
    if not isinstance(text, str):
        raise LayercliError(f"A prompt is a text, not {text!r}.")
    check_text(text, "A prompt")
    if len(text) > LONGEST_PROMPT:
        raise LayercliError(
            f'The prompt "{text[:20]}…" has {len(text)} characters; {LONGEST_PROMPT} is the most.',
            "Say it in fewer words.",
        )


def check_text(text: str, what: str) -> None:
    """Refuse a text that was typed in bytes which are not UTF-8: no file and no model takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LayercliError(f"{what} is not UTF-8 text: {text[:20]!a}.", "Type it again.") from None


def _check_range(name: str, value: Any, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise LayercliError(f"{name} is a whole number, not {value!r}.", f"Try: --{name} {max(least, 1)}")
    if not least <= value <= most:
        raise LayercliError(
            f"{name} {value} is not from {least} to {most}.", f"Try: --{name} {max(least, 1)}"
        )


def _check_box(key: str, box: Any) -> None:
    hint = f'Try: --box "{key}=0.1,0.4,0.5,0.9" (left, top, right, bottom as fractions of the canvas)'
    if not isinstance(box, tuple) or len(box) != 4:
        raise LayercliError(f'The box of "{key}" is not four numbers.', hint)
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        shown = ",".join(f"{side:g}" for side in box)
        raise LayercliError(f'The box of "{key}", {shown}, is not inside the canvas.', hint)


def _has_words(prompt: str, wanted: str) -> bool:
    return bool(wanted) and f" {wanted} " in f" {' '.join(prompt.replace(',', ' ').split())} "
