"""Which layers a person means: by name, by glob, by group."""

from __future__ import annotations

import difflib
import fnmatch
import re
import warnings
from collections.abc import Sequence

from layercli.core.errors import LayercliError, Note
from layercli.core.layers import LayerStack
from layercli.edit._effects import is_effect

_SHORTEST = 2
"""Letters that a part of a name has at least."""


class NearName(Note):
    """A layer was found by a part of its name."""


def choose(stack: LayerStack, patterns: Sequence[str], *, one: bool = False) -> tuple[str, ...]:
    """The layers that the patterns mean, back to front, each once.

    A pattern is a layer's name, in any case where that is clear; else a glob ("cat*"); else a group, by its
    name or path ("effects", "effects/light"), for all layers in it; else words of one name alone, the last of
    which may be cut short ("cat" for "a cat"), which a NearName warning tells. one: exactly one layer must be
    meant. Raises LayercliError, with the names there are, for none or for too many.
    """
    found: set[str] = set()
    for pattern in patterns:
        meant = _meant(stack, pattern)
        if not meant:
            raise _missing(stack, pattern)
        found.update(meant)
    chosen = tuple(name for name in stack.names if name in found)
    if one and len(chosen) != 1:
        said = '", "'.join(patterns)
        listed = ", ".join(f'"{name}"' for name in chosen)
        raise LayercliError(f'"{said}" means {len(chosen)} layers: {listed}.', "Name one of them.")
    return chosen


def _meant(stack: LayerStack, pattern: str) -> list[str]:
    if pattern in stack.names:
        return [pattern]
    folded = [name for name in stack.names if name.casefold() == pattern.casefold()]
    if folded:
        return _only(pattern, folded)
    globbed = [name for name in stack.names if fnmatch.fnmatchcase(name.casefold(), pattern.casefold())]
    grouped = [layer.name for layer in stack.layers if pattern.strip("/") in _names_of_groups(layer.group)]
    return globbed or grouped or _near(stack, pattern)


def _near(stack: LayerStack, pattern: str) -> list[str]:
    """The one layer whose name holds the pattern as words; of an object and its shadows, the object."""
    words = pattern.casefold().strip()
    if len(words) < _SHORTEST:
        return []
    for ending in (r"(?!\w)", ""):
        part = re.compile(rf"(?<!\w){re.escape(words)}{ending}")
        holding = [layer for layer in stack.layers if part.search(layer.name.casefold())]
        things = [layer for layer in holding if not is_effect(layer)]
        if holding:
            [name] = _only(pattern, [layer.name for layer in things or holding])
            warnings.warn(f'"{pattern}" was read as "{name}".', NearName, stacklevel=2)
            return [name]
    return []


def _only(pattern: str, names: list[str]) -> list[str]:
    """The names, of which there may be one; raises LayercliError for more."""
    if len(names) > 1:
        listed = ", ".join(f'"{name}"' for name in names)
        raise LayercliError(f'"{pattern}" may be {listed}.', "Write the name as it is.")
    return names


def _names_of_groups(group: tuple[str, ...]) -> set[str]:
    """Every name and path by which the groups around a layer may be called."""
    return {*group, *("/".join(group[: depth + 1]) for depth in range(len(group)))}


def _missing(stack: LayerStack, pattern: str) -> LayercliError:
    listed = ", ".join(stack.names) or "none"
    near = difflib.get_close_matches(pattern, stack.names, 1)
    hint = f'Did you mean "{near[0]}"?' if near else "Name one of these layers."
    kind = f'No layer matches "{pattern}"' if any(c in pattern for c in "*?[") else f'No layer "{pattern}"'
    return LayercliError(f"{kind}. Layers: {listed}.", hint)
