"""From the words of a command line to a request, and back to a command line."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.requests import Box, GenerateRequest
from layercli.models.entries import default_steps

_SAID_FIRST = ("foregrounds", "background")
"""The fields whose flags, --fg and --bg, open a command line."""


def default_of(name: str) -> Any:
    """The default of a field of GenerateRequest, for a help text."""
    return next(field.default for field in dataclasses.fields(GenerateRequest) if field.name == name)


def pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Read repeated KEY=VALUE texts; a text without "=" or a key given twice raises LayercliError."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise LayercliError(f'"{text}" is not KEY=VALUE.', f"Try: {flag} key=value")
        if key in found:
            raise LayercliError(f'{flag} gives "{key}" twice.', "Leave one of the two out.")
        found[key] = value.strip()
    return found


def box(key: str, text: str) -> Box:
    """Read "0.1,0.4,0.5,0.9": left, top, right and bottom as fractions of the canvas."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise LayercliError(
            f'The box of "{key}", "{text}", is not four numbers.',
            f'Try: --box "{key}=0.1,0.4,0.5,0.9" (left, top, right, bottom as fractions of the canvas)',
        ) from None
    return (left, top, right, bottom)


def build_request(given: Mapping[str, Any], repeated: GenerateRequest | None = None) -> GenerateRequest:
    """Make a request out of the options that were given, over a stored one or over the defaults.

    given: field -> value as typed, with None or an empty list for what was left out.
    """
    fields = {field.name for field in dataclasses.fields(GenerateRequest)}
    asked = {name: value for name, value in given.items() if name in fields and value not in (None, [], ())}
    if "foregrounds" in asked:
        asked["foregrounds"] = tuple(asked["foregrounds"])
    if "size" in asked:
        asked["size"] = Size.parse(asked["size"])
    if "options" in asked:
        asked["options"] = pairs(asked["options"], "-O")
    if "masks" in asked:
        asked["masks"] = pairs(asked["masks"], "--mask")
    if "boxes" in asked:
        asked["boxes"] = {key: box(key, text) for key, text in pairs(asked["boxes"], "--box").items()}
    if repeated is not None:
        return repeated.replace(**asked)
    things = len(asked.get("foregrounds", ()))
    if asked.get("background") == "" and "given" not in asked:  # a request means by it: none
        raise LayercliError("The background prompt is empty.", 'Try: --bg "a sofa", or leave out --bg')
    if "background" not in asked and things != 1 and not (things and "given" in asked):
        what = "background" if "foregrounds" in asked else "picture"
        raise LayercliError(f"There is no {what} to draw.", 'Try: layercli generate --fg "…" --bg "…"')
    asked = {"foregrounds": (), "background": "", **asked}
    asked.setdefault("steps", default_steps(asked.get("model", GenerateRequest.model)))
    return GenerateRequest(**asked)


def command_line(request: GenerateRequest) -> str:
    """The shell line that makes this picture again; only what differs from the defaults is said."""
    words = ["layercli", "generate"]
    for prompt in request.foregrounds:
        words += ["--fg", prompt]
    if request.background:
        words += ["--bg", request.background]
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        usual = default_steps(request.model) if field.name == "steps" else field.default
        said = field.name == "size" and request.given  # a picture that is given has a size of its own
        if field.name in _SAID_FIRST or isinstance(value, Mapping) or (value == usual and not said):
            continue
        words += [f"--{field.name}", f"{value:g}" if isinstance(value, float) else str(value)]
    for key, sides in request.boxes.items():
        words += ["--box", f"{key}={','.join(f'{side:g}' for side in sides)}"]
    for key, path in request.masks.items():
        words += ["--mask", f"{key}={path}"]
    for key, text in request.options.items():
        words += ["-O", f"{key}={text}"]
    return shlex.join(words)
