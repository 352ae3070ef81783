# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Check that the asked device exists."""

from __future__ import annotations

import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["require_device"]


def require_device(device: torch.device | str | int) -> torch.device:
    """Return a device that can compute here, such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigurationError: there is no such kind of device, or this machine has none of it, or not as many.
    """
    try:
        found = torch.device(f"cuda:{device}" if isinstance(device, int) else device)
    except (RuntimeError, TypeError, ValueError):
        raise ConfigurationError(
            f"--device is {device!r}, which torch does not know; expected cpu, cuda, or cuda:1 for the second GPU."
        ) from None
    if found.type == "cuda":
        _require_gpu(found)
        return found
    try:
        # Other accelerators have no count that all versions of torch tell alike; so one is tried.
        torch.zeros(1, device=found).add_(1).cpu()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ConfigurationError(
            f"--device is {str(found)!r}, on which torch cannot compute here ({reason}); give another, such as cpu."
        ) from None
    return found


def _require_gpu(device: torch.device) -> None:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        why = "torch finds no GPU here" if torch.backends.cuda.is_built() else "this torch was built without CUDA"
        raise ConfigurationError(
            f"--device is {str(device)!r}, but {why}. Use --device cpu, or look at the driver with nvidia-smi and at "
            "CUDA_VISIBLE_DEVICES."
        )
    if (device.index or 0) >= count:
        raise ConfigurationError(
            f"--device is {str(device)!r}, but torch sees {count} GPU(s) here, cuda:0 to cuda:{count - 1}. Give one of "
            "them; with torchrun start no more processes than GPUs."
        )
