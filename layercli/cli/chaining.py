"""From the words of a command line to the edits they mean: EDIT LAYER… VALUE --option value then EDIT …"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from layercli.core import registry
from layercli.core.edit_requests import EditRequest
from layercli.core.errors import LayercliError

EDITS = "layercli.edit"
THEN = "then"
BOXES = (
    "L,T,R,B: left, top, right and bottom, as fractions of the canvas: 0.1,0.4,0.5,0.9.",
    "L,T,W,H: left, top, width and height, in pixels of the canvas: 20,10,80,60.",
)
"""What the letters in the usage of edits stand for."""
_SHOWN = {
    "str": "TEXT", "int": "N", "float": "X", "tuple[int, int]": "X,Y",
    "tuple[int, int, int, int]": "L,T,W,H", "tuple[float, float, float, float]": "L,T,R,B",
}  # fmt: skip


def requests_of(words: Sequence[str]) -> list[EditRequest]:
    """The edits of a command line, split at "then"; raises LayercliError."""
    return [_request(part) for part in _split(words)]


def script_of(path: Path) -> Any:
    """What a JSON or YAML file says; raises LayercliError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LayercliError(f"There is no file {path}.", "Look at the spelling: ls") from None
    except UnicodeDecodeError as error:
        raise LayercliError(f"{path} is no text.", "Save it as UTF-8.") from error
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            import yaml

            return yaml.safe_load(text)
        from layercli.formats._reading import strict_json

        return strict_json(text)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise LayercliError(f"The script {path} cannot be read: {why}.", "Look at that place.") from error
    except Exception as error:  # yaml.YAMLError, which is no ValueError
        why = " ".join(str(error).split())[:120]
        raise LayercliError(f"The script {path} cannot be read: {why}.", "Look at that place.") from error


def words_of(request: EditRequest) -> list[str]:
    """The words that mean this edit."""
    words = [request.edit, *request.layers]
    for key, value in request.options.items():
        words += [f"--{key.replace('_', '-')}={value}"]
    return words


def usage(name: str) -> str:
    """How an edit is written, in one line: "opacity LAYER… TO"."""
    constants = _constants(name)
    fields = registry.outline(EDITS, name)
    layers = {"many": ["LAYER…"], "one": ["LAYER"], "any": ["[LAYER…]"], "none": []}[constants["LAYERS"]]
    words = [
        field.upper() if " = " not in fields[field] else f"[{field.upper()}]" for field in constants["WORDS"]
    ]
    rest = [
        _option(field, kind)
        for field, kind in fields.items()
        if field not in constants["WORDS"] and field != "model"  # --model is for the whole run
    ]
    return " ".join([name, *layers, *words, *rest])


def _option(field: str, kind: str) -> str:
    flag = f"--{field.replace('_', '-')}"
    if kind.startswith("bool"):
        return f"[--no-{flag[2:]}]" if kind.endswith("True") else f"[{flag}]"
    said = " ".join(kind.partition(" = ")[0].replace(" | None", "").split())
    shown = _SHOWN.get(said, "A,B,C,D" if said.startswith("tuple") else "")
    if said.startswith("Literal"):
        shown = "|".join(re.findall(r"['\"]([^'\"]+)['\"]", said))
    return f"{flag} {shown or 'VALUE'}" if " = " not in kind else f"[{flag} {shown or 'VALUE'}]"


def _split(words: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, THEN]:
        if word != THEN:
            part.append(word)
            continue
        if not part:
            raise LayercliError(
                'There is no edit before or after a "then".' if len(words) else "There is no edit to do.",
                "Try: layercli edit a.psd move cat --by 40,0 then hide dog",
            )
        yield part
        part = []


def _request(words: Sequence[str]) -> EditRequest:
    name = words[0]
    known = registry.plugins(EDITS)
    if name.startswith("-"):
        raise LayercliError(f"No such option: {name}.", "Try: layercli edit --help")
    if name not in known:
        raise LayercliError(f'There is no edit "{name}".', registry.suggest(name, known))
    fields = registry.outline(EDITS, name)
    bare: list[str] = []
    options: dict[str, str] = {}
    waiting = iter(words[1:])
    for word in waiting:
        if not word.startswith("--"):
            bare.append(word)
            continue
        flag, equals, value = word[2:].partition("=")
        field = flag.replace("-", "_")
        if field.startswith("no_") and fields.get(field[3:], "").startswith("bool"):
            field, equals, value = field[3:], "=", "no"
        if field not in fields:
            flags = [f"--{key.replace('_', '-')}" for key in fields]
            raise LayercliError(f'{name} has no option "--{flag}".', registry.suggest(f"--{flag}", flags))
        if not equals:
            value = "yes" if fields[field].startswith("bool") else next(waiting, "")
            if not value:
                raise LayercliError(f"--{flag} of {name} has no value.", f"Usage: {usage(name)}")
        if field in options:
            raise LayercliError(f"{name} is given --{flag} twice.", "Leave one of the two out.")
        options[field] = value
    layers, values = _sorted(name, bare, fields, options)
    return EditRequest(edit=name, layers=tuple(layers), options=values | options)


def _sorted(
    name: str, bare: list[str], fields: dict[str, str], options: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Tell layers from values among the words without a flag."""
    constants = _constants(name)
    open_ = [field for field in constants["WORDS"] if field not in options]
    most = {"none": 0, "one": 1}.get(constants["LAYERS"], len(bare))
    values: dict[str, str] = {}
    if most == len(bare) and most > 0:  # several layers: values stand behind them, where they look like any
        for field in reversed(open_):
            if bare and (" = " not in fields[field] or _looks_like(bare[-1], fields[field])):
                values[field] = bare.pop()
        return bare, values
    layers, rest = bare[:most], bare[most:]
    if len(rest) > len(open_):
        raise LayercliError(f'{name} cannot use "{rest[len(open_)]}".', f"Usage: {usage(name)}")
    return layers, dict(zip(open_, rest, strict=False))


def _looks_like(word: str, kind: str) -> bool:
    if kind.startswith("Literal"):
        return f"'{word}'" in kind
    return re.fullmatch(r"[-+]?[\d.,]+%?|\d+x\d+|.*\.\w{2,4}|.*/", word) is not None


def _constants(name: str) -> dict[str, Any]:
    layers = registry.constants(EDITS, "LAYERS")
    words = registry.constants(EDITS, "WORDS")
    return {"LAYERS": layers.get(name, "many"), "WORDS": words.get(name, ())}
