"""What to type for an edit with an option that could not be read."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from layercli.core.edit_requests import EditRequest
from layercli.core.errors import as_word

_PLAIN = {int: "1", float: "0.5", bool: "yes"}
_LISTS = {(int, 2): "40,0", (int, 4): "0,0,40,40", (float, 4): "0.1,0.4,0.5,0.9"}
_ANY = "…"


def command(module: types.ModuleType, request: EditRequest, field: str, text: str) -> str:
    """The words of an edit with a value in place of the one that was typed, or that is missing, for a field.

    module: of the edit; text: what was typed.
    """
    kinds = get_type_hints(module.Options)
    options = {**request.options, field: _value(kinds[field], text)}
    needs_layers = getattr(module, "LAYERS", "many") in ("many", "one")
    layers = [as_word(name) for name in request.layers] or (["LAYER"] if needs_layers else [])
    bare = [_quoted(options.pop(word)) for word in getattr(module, "WORDS", ()) if word in options]
    return " ".join([request.edit, *layers, *bare, *_flags(options, kinds)])


def _value(kind: Any, text: str) -> str:
    """A value of a type; of several words the one most like the text."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _value(next(argument for argument in arguments if argument is not type(None)), text)
    if origin is Literal:
        words = [str(argument) for argument in arguments]
        return (difflib.get_close_matches(text.lower(), words, 1) or words)[0]
    if origin is tuple:
        return _LISTS.get((arguments[0], len(arguments)), _ANY)
    return _PLAIN.get(kind, _ANY)


def _flags(options: Mapping[str, str], kinds: Mapping[str, Any]) -> list[str]:
    said = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if kinds.get(key) is bool and value in ("yes", "no"):
            said.append(f"--{name}" if value == "yes" else f"--no-{name}")
        else:
            said.append(f"--{name} {_quoted(value)}")
    return said


def _quoted(value: str) -> str:
    return value if value == _ANY else as_word(value)
