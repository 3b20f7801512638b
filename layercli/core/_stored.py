"""Reading requests from JSON: fields that are known, texts that are texts, places that are numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from layercli.core.errors import LayercliError
from layercli.core.registry import suggest


def fields_of(cls: Any, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The stored values of a dataclass; raises LayercliError for a field that it has not."""
    known = {entry.name for entry in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise LayercliError(f'A {what} has no field "{unknown[0]}".', suggest(unknown[0], known))
    return dict(values)


def as_text(value: Any) -> str:
    """The value itself; raises TypeError for anything but a text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def texts_by_name(values: Any) -> dict[str, str]:
    """A mapping of texts to texts; raises TypeError or AttributeError for anything else."""
    return {as_text(key): as_text(value) for key, value in values.items()}


def places_by_name(values: Any) -> dict[str, tuple[float, ...]]:
    """A mapping of texts to places; raises TypeError, ValueError or AttributeError for anything else."""
    return {as_text(key): tuple(float(side) for side in place) for key, place in values.items()}
