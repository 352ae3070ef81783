# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""SimCLR: agreement between two augmented views of one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from monai_cxrssl.losses.nt_xent import NTXentLoss
from monai_cxrssl.methods.contrastive import ContrastiveMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.heads import ProjectionHead

__all__ = ["SimCLR"]


class SimCLR(ContrastiveMethod):
    """Contrast two views per sample against all other samples of the batch (Chen et al. 2020, arXiv 2002.05709).

    Args:
        projection_channels: length of the projection that the loss sees.
        hidden_channels: width of the head's hidden layers, by default the encoder's embedding length.
        projection_layers: linear layers of the head, 2 in SimCLR, 3 in SimCLRv2.
        gather: take the samples of all processes as negatives.
        mask_same_patient: do not take images of one patient as negatives of each other (our choice: two images of one
            chest are alike for a reason). The batch must then hold ``patient``.
    """

    num_views: ClassVar[int] = 2

    def __init__(
        self,
        network: Encoder,
        temperature: float = 0.1,
        projection_channels: int = 128,
        hidden_channels: int | None = None,
        projection_layers: int = 2,
        gather: bool = False,
        mask_same_patient: bool = True,
    ) -> None:
        super().__init__(network)
        self.projection_head = ProjectionHead(
            network.out_channels, hidden_channels, projection_channels, projection_layers
        )
        self.loss_function = NTXentLoss(temperature, gather=gather)
        self.mask_same_patient = mask_same_patient

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the projections ``(B, 2, D)`` of ``image`` ``(B, 2, 1, H, W)``."""
        views = batch["image"]
        # One pass over both views: batch normalisation then sees 2B images, as in the paper.
        projection = self.projection_head(self.network(views.transpose(0, 1).flatten(0, 1)))
        return projection.unflatten(0, (views.shape[1], -1)).transpose(0, 1)

    def contrast(self, embeddings: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of projections ``(B, 2, D)``; a ConfigurationError where patients to mask are not named."""
        first, second = embeddings.unbind(1)
        patients = self._patients(batch, self.mask_same_patient)
        loss = self.loss_function(first, second, patients)
        # Images that all look alike: the mean log of how many candidates a sample has.
        alike = torch.ones(len(first), 1, device=first.device)
        return {
            "loss": loss,
            "trivial_loss": self.loss_function(alike, alike, patients),
            "embedding": embeddings.detach().transpose(0, 1).flatten(0, 1),
        }
