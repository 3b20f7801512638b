"""What a device computes fast: number types and memory layouts, chosen by what its processor can do."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from layercli.core.errors import LayercliError


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 has instructions of its own; emulated on a CPU it is ten times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # absent from older torch
        return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))
    return False


def mixed_precision(name: str, device: torch.device) -> str:
    """How a training step computes: "bf16", "fp16" or "no" (float32); "auto" takes the fast one."""
    if name not in ("auto", "fp32", "bf16", "fp16"):
        raise LayercliError(f'There is no precision called "{name}".', "Use one of: auto, fp32, bf16, fp16.")
    if name != "auto":
        return name.replace("fp32", "no")
    if has_fast_bfloat16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "no"


def fast_autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 where the device is faster with it, for passes whose result is rounded anyway."""
    return torch.autocast(device.type, torch.bfloat16) if has_fast_bfloat16(device) else nullcontext()


def fast_layout(device: torch.device) -> torch.memory_format:
    """How convolutions want their pictures: channels last, but for two kinds of devices.

    In float32 with AVX2 alone, training steps of the embedded UNet are 1.2 times faster with planes. On
    Apple's GPUs gradients through channels last are thirty times slower, and of some operations wrong
    (pytorch issues 193349 and 175189).
    """
    last = device.type == "cuda" or has_fast_bfloat16(device)
    return torch.channels_last if last else torch.contiguous_format
