"""What tests of methods share: a small request, and whether two stacks are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from layercli.core.layers import LayerStack
from layercli.core.requests import GenerateRequest
from layercli.models.family import Model


def asked(model: Model, **changes: Any) -> GenerateRequest:
    settings: dict[str, Any] = {
        "foregrounds": ("a dog", "a ball"),
        "background": "a beach",
        "size": model.native_size,
        "steps": 3,
        "seed": 7,
    }
    return GenerateRequest(**settings | changes)


def same(one: LayerStack, two: LayerStack) -> bool:
    return one.names == two.names and all(
        a.offset == b.offset and np.array_equal(a.rgba, b.rgba)
        for a, b in zip(one.layers, two.layers, strict=True)
    )
