# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A pretext method of one's own: BYOL (Grill et al. 2020, arXiv 2006.07733), agreement without negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from monai_cxrssl.methods import PretextMethod
from monai_cxrssl.networks import EMACopy, Encoder, ProjectionHead, momentum_at

__all__ = ["BYOL"]


class BYOL(PretextMethod):
    """Predict, from one view of an image, what a slowly following twin makes of another view.

    Args:
        network: the encoder.
        momentum: of the twin at the start; it rises to 1 along a cosine.
        projection_channels: length of the projection that is predicted.
    """

    num_views: ClassVar[int] = 2

    def __init__(self, network: Encoder, momentum: float = 0.996, projection_channels: int = 128) -> None:
        super().__init__(network)
        self.momentum = float(momentum)
        self.projection_head = ProjectionHead(network.out_channels, out_channels=projection_channels)
        self.predictor = ProjectionHead(projection_channels, hidden_channels=256, out_channels=projection_channels)
        # Without a gradient: the twin is in the state dict, and so in every checkpoint, but no optimiser moves it.
        self.twin = EMACopy(nn.Sequential(network, self.projection_head), self.momentum)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of views ``(B, 2, 1, H, W)``, float in [0, 1]: 2 - 2 cosines, the mean of both directions."""
        views = batch["image"].transpose(0, 1).flatten(0, 1)
        predicted = self.predictor(self.projection_head(self.network(views))).float()
        target = self.twin(views).float()
        # The first half predicts the second half's target, and the other way round.
        loss = 2 - 2 * cosine_similarity(predicted, target.roll(len(target) // 2, 0), dim=1).mean()
        return {"loss": loss, "embedding": predicted.detach()}

    def after_step(self, progress: float) -> None:
        """Move the twin towards the encoder and its head."""
        self.twin.update(nn.Sequential(self.network, self.projection_head), momentum_at(progress, self.momentum))
