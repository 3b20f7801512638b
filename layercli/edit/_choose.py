"""Which layers a person means: by name, by glob, by group."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence

from layercli.core.errors import LayercliError
from layercli.core.layers import LayerStack


def choose(stack: LayerStack, patterns: Sequence[str], *, one: bool = False) -> tuple[str, ...]:
    """The layers that the patterns mean, back to front, each once.

    A pattern is a layer's name, in any case where that is clear; else a glob ("cat*"); else a group, by its
    name or path ("effects", "effects/light"), for all layers in it. one: exactly one layer must be meant.
    Raises LayercliError, with the names there are, for none or for too many.
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
        if len(folded) > 1:
            listed = ", ".join(f'"{name}"' for name in folded)
            raise LayercliError(f'"{pattern}" may be {listed}.', "Write the name as it is.")
        return folded
    globbed = [name for name in stack.names if fnmatch.fnmatchcase(name.casefold(), pattern.casefold())]
    return globbed or [
        layer.name for layer in stack.layers if pattern.strip("/") in _names_of_groups(layer.group)
    ]


def _names_of_groups(group: tuple[str, ...]) -> set[str]:
    """Every name and path by which the groups around a layer may be called."""
    return {*group, *("/".join(group[: depth + 1]) for depth in range(len(group)))}


def _missing(stack: LayerStack, pattern: str) -> LayercliError:
    listed = ", ".join(stack.names) or "none"
    near = difflib.get_close_matches(pattern, stack.names, 1)
    hint = f'Did you mean "{near[0]}"?' if near else "Name one of these layers."
    kind = f'No layer matches "{pattern}"' if any(c in pattern for c in "*?[") else f'No layer "{pattern}"'
    return LayercliError(f"{kind}. Layers: {listed}.", hint)
