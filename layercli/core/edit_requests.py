"""What a person asked to change: one step of an edit, JSON-able, no pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from layercli.core.errors import LayercliError

_HINT = 'Write: {"edit": "move", "layers": ["cat"], "by": "40,0"}'


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """One edit: its name, the layers it is for (names or globs), and its options as they are typed."""

    edit: str
    layers: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: {"edit": "move", "layers": ["cat"], "by": "40,0"}."""
        return {"edit": self.edit, "layers": list(self.layers), **self.options}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of to_dict; numbers, lists and true or false are read as if they were typed.

        Raises LayercliError for anything that is not such an object.
        """
        if not isinstance(values, dict) or not isinstance(values.get("edit"), str):
            raise LayercliError(f"This is no edit: {str(values)[:80]}.", _HINT)
        given = dict(values)
        edit, layers = given.pop("edit"), given.pop("layers", [])
        if "layer" in given and not layers:
            layers = given.pop("layer")
        layers = [layers] if isinstance(layers, str) else layers
        if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
            raise LayercliError(f'The layers of an edit "{edit}" are no list of names.', _HINT)
        return cls(
            edit=edit,
            layers=tuple(layers),
            options={str(key).replace("-", "_"): _typed(edit, key, value) for key, value in given.items()},
        )


def _typed(edit: str, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and all(isinstance(part, int | float | str) for part in value):
        return ",".join(part if isinstance(part, str) else repr(part) for part in value)
    raise LayercliError(f'The option "{key}" of "{edit}" is no text, number or list.', _HINT)
