# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Logits of a network's branches by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["named_logits"]


def named_logits(network: nn.Module, output: Any) -> dict[str, Tensor]:
    """Return a network's output as ``{"label": (B, C), "mask": (B, M, H, W)}`` or one of both.

    Args:
        network: what gave the output; only where that is bare it must have ``branches``, as a
            :class:`~monai_cxrssl.networks.MultiTaskNet` of any ``return_dict`` has.
        output: logits by name, a tensor, or a tuple of tensors.

    Raises:
        ConfigurationError: nothing names bare outputs.
    """
    if isinstance(output, Mapping):
        return dict(output)
    branches = getattr(network, "branches", None)
    if branches is None:
        raise ConfigurationError(
            f"A {type(network).__name__} returns {type(output).__name__} without names; expected a dictionary with "
            "'label', 'mask' or both, or a MultiTaskNet."
        )
    outputs = output if isinstance(output, tuple) else (output,)
    return dict(zip(branches, outputs, strict=True))
