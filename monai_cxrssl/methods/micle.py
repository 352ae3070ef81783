# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MICLe: agreement between two different images of one patient."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.simclr import SimCLR
from monai_cxrssl.networks import Encoder

__all__ = ["MICLe"]


class MICLe(SimCLR):
    """Multi-instance contrastive learning (Azizi et al. 2021, arXiv 2101.05224).

    The network and the loss are SimCLR's; what differs is the pair, two crops of *different* images of one patient,
    which :class:`monai_cxrssl.data.PairSampler` draws after its SimCLR epochs. Images of one patient are never
    negatives of each other (our choice, always on here).

    Args:
        network: the encoder.
        temperature: of the NT-Xent loss.
        projection_channels: length of the projection.
        hidden_channels: width of the head's hidden layers, by default the encoder's embedding length.
        projection_layers: linear layers of the head.
        gather: take the samples of all processes as negatives.
    """

    def __init__(
        self,
        network: Encoder,
        temperature: float = 0.1,
        projection_channels: int = 128,
        hidden_channels: int | None = None,
        projection_layers: int = 2,
        gather: bool = False,
    ) -> None:
        super().__init__(
            network,
            temperature,
            projection_channels,
            hidden_channels,
            projection_layers,
            gather,
            mask_same_patient=True,
        )

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch of bags; see :meth:`SimCLR.forward`.

        Raises:
            ConfigurationError: when the batch does not say which patient each pair is of.
        """
        if "patient" not in batch:
            raise ConfigurationError("MICLe needs the patient of every pair: the batch holds no 'patient'.")
        return super().forward(batch)
