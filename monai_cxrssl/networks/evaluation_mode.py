# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Look at a network without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["in_evaluation"]


@contextmanager
def in_evaluation(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and give every module its own mode back afterwards."""
    # MONAI's eval_mode gives back the mode of the whole network, and so thaws batch normalisation that was frozen.
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
