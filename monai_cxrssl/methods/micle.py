# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MICLe: agreement between two different images of one patient."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.simclr import SimCLR

__all__ = ["MICLe"]


class MICLe(SimCLR):
    """Multi-instance contrastive learning (Azizi et al. 2021, arXiv 2101.05224).

    The network, the loss and the options are those of :class:`SimCLR`; what differs is the pair, two crops of
    *different* images of one patient, which :class:`monai_cxrssl.data.PairSampler` draws after its SimCLR epochs. With
    ``mask_same_patient``, which is on by default, other images of the patient are never negatives (our choice).
    """

    def contrast(self, embeddings: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of bags, see :meth:`SimCLR.contrast`. Without ``patient`` it is a ConfigurationError."""
        if "patient" not in batch:
            raise ConfigurationError("MICLe needs the patient of every pair: the batch holds no 'patient'.")
        return super().contrast(embeddings, batch)
