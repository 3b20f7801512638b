"""The receipt: how a picture was made, and how to make it again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from layercli.core.errors import LayercliError


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What made a stack; it travels inside every file.

    request: the request as JSON values; versions: package -> version; weights: file -> SHA-256;
    seconds: wall time; device: e.g. "cpu"; command: the shell line that repeats it; edits: what was done to
    the picture since, in order, each as JSON values.
    """

    request: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    command: str = ""
    edits: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds) or self.seconds < 0:
            raise LayercliError(f"A receipt cannot say {self.seconds} seconds.", "Give a time of 0 or more.")

    def to_json(self) -> str:
        """One line of JSON with sorted keys; raises LayercliError when the request is not JSON-able."""
        try:
            return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            message = f"The receipt cannot be written as JSON: {error}."
            raise LayercliError(message, "Put plain values in it.") from error

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read what to_json wrote; keys of later versions are passed over. Raises LayercliError."""
        hint = "The file's receipt is damaged; its layers may still be read."
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LayercliError(f"A receipt is not JSON: {error}.", hint) from error
        if not isinstance(data, dict):
            raise LayercliError("A receipt is not a JSON object.", hint)
        kinds: dict[str, type | tuple[type, ...]] = {
            "request": dict, "versions": dict, "weights": dict,
            "seconds": (int, float), "device": str, "command": str, "edits": list,
        }  # fmt: skip
        known = {key: data[key] for key in kinds if key in data}
        for key, value in known.items():
            if not isinstance(value, kinds[key]) or isinstance(value, bool):
                raise LayercliError(f'A receipt has a wrong value for "{key}".', hint)
        edits = known.pop("edits", [])
        if not all(isinstance(edit, dict) for edit in edits):
            raise LayercliError('A receipt has a wrong value for "edits".', hint)
        return cls(**known, edits=tuple(edits))
