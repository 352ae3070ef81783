# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Which number format a run computes in."""

from __future__ import annotations

import logging

import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["autocast_dtype"]

logger = logging.getLogger(__name__)

_NAMES = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "fp16": torch.float16, "float16": torch.float16}


def _cpu_gains_from_bf16() -> bool:
    # Without these instructions bfloat16 is emulated and slower than float32. The flags are read, not timed, so that
    # a machine always takes the same decision and a seed always gives the same figures.
    return torch.backends.mkldnn.is_available() and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def autocast_dtype(device: torch.device | str, amp: bool | str = "auto") -> torch.dtype | None:
    """Choose the type that autocast computes in; None for float32.

    ``amp`` is ``False`` for float32; ``"bf16"`` or ``"fp16"`` to insist; ``True`` or ``"auto"`` for bfloat16 where the
    device has instructions for it, else float16 on a GPU, else float32.

    Raises:
        ConfigurationError: when the name is unknown, or float16 is asked for on a CPU.
    """
    kind = torch.device(device).type
    if amp is False or amp is None or str(amp).lower() in ("false", "off", "fp32", "float32", "none"):
        return None
    if str(amp).lower() in ("auto", "true"):
        if kind == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return torch.bfloat16 if kind == "cpu" and _cpu_gains_from_bf16() else None
    if str(amp).lower() not in _NAMES:
        raise ConfigurationError(f"--amp must be auto, true, false, bf16 or fp16, got {amp!r}.")
    dtype = _NAMES[str(amp).lower()]
    if kind == "cpu" and dtype is torch.float16:
        raise ConfigurationError("float16 training needs a GPU; on a CPU use --amp bf16, auto or false.")
    return dtype
