# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What every pretext method offers to the trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from monai_cxrssl.networks import Encoder

__all__ = ["PretextMethod"]


class PretextMethod(nn.Module, ABC):
    """An encoder, the parts that a pretext task adds to it, and the loss of a batch.

    Args:
        network: the encoder to train; what remains after pretraining.
    """

    def __init__(self, network: Encoder) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss``, a scalar that carries the gradient, and ``embedding`` ``(N, D)``, watched for collapse."""

    def after_step(self) -> None:
        """Update what no gradient updates (a momentum encoder, a queue); called after each optimiser step."""
