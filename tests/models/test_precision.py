"""Number types and layouts follow what the device can do."""

from __future__ import annotations

import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.models.precision import fast_autocast, fast_layout, has_fast_bfloat16, mixed_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({}, False),
        ({"avx2": True, "avx512_f": True}, False),
        ({"avx512_bf16": True}, True),
        ({"bf16": True}, True),
    ],
)
def test_a_cpu_uses_bfloat16_only_with_instructions_for_it(
    capabilities: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_fast_bfloat16(CPU) is fast
    assert mixed_precision("auto", CPU) == ("bf16" if fast else "no")
    assert fast_layout(CPU) == (torch.channels_last if fast else torch.contiguous_format)
    with fast_autocast(CPU):
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype == (torch.bfloat16 if fast else torch.float32)


def test_apples_gpus_have_planes_and_no_bfloat16_of_their_own() -> None:
    device = torch.device("mps")
    assert fast_layout(device) == torch.contiguous_format
    assert mixed_precision("auto", device) == "no"
    with fast_autocast(device):
        assert not torch.is_autocast_enabled("mps")


def test_an_older_torch_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert mixed_precision("auto", CPU) == "no"


def test_a_named_precision_is_taken_as_it_is() -> None:
    assert [mixed_precision(name, CPU) for name in ("fp32", "bf16", "fp16")] == ["no", "bf16", "fp16"]
    with pytest.raises(LayercliError, match='no precision called "int3"'):
        mixed_precision("int3", CPU)
