"""A guard for code that runs on Apple's GPUs, where none is: what they lack is refused on the CPU too."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WIDE = (torch.float64, torch.complex128)
LACKING = ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "linalg_solve_ex", "_linalg_solve_ex")
"""Operations that MPS has not, or not for all sizes; so are those that end in _aa."""

ON_THE_CPU = {("scaling.py", "able"), ("attention.py", "_overlaps"), ("codecs.py", "coarse_alpha")}
"""Where values are taken to the CPU first, by file and function, and brought back in float32."""


class AppleHas(TorchDispatchMode):
    """While it is on, float64 and what MPS lacks raise AssertionError, wherever they come from."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        wide = any(
            isinstance(value, torch.Tensor) and value.dtype in WIDE
            for value in tree_leaves((args, kwargs, answer))
        )
        lacking = name in LACKING or name.endswith("_aa")
        if (wide or lacking) and not _taken_to_the_cpu():
            raise AssertionError(f"{func} {'in float64' if wide else ''} is not for Apple's GPUs")
        return answer


def _taken_to_the_cpu() -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if (code.co_filename.rpartition("/")[2], code.co_name) in ON_THE_CPU:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
