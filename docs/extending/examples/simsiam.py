# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A pretext method of one's own: SimSiam (Chen and He 2021, arXiv 2011.10566), agreement by a stopped gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from monai_cxrssl.methods import PretextMethod
from monai_cxrssl.networks import Encoder, ProjectionHead

__all__ = ["SimSiam"]


class SimSiam(PretextMethod):
    """Predict, from one view of an image, the projection of another view, which gets no gradient.

    Args:
        network: the encoder.
        projection_channels: length of the projection that is predicted.
        momentum: of the mean projection, which is only watched: see :meth:`after_step`.
    """

    num_views: ClassVar[int] = 2

    mean_projection: Tensor

    def __init__(self, network: Encoder, projection_channels: int = 128, momentum: float = 0.9) -> None:
        super().__init__(network)
        self.projection_head = ProjectionHead(network.out_channels, out_channels=projection_channels)
        self.predictor = ProjectionHead(projection_channels, hidden_channels=256, out_channels=projection_channels)
        self.momentum = float(momentum)
        # A buffer is in the state dict, and so in every checkpoint, but no optimiser moves it.
        self.register_buffer("mean_projection", torch.zeros(projection_channels))
        self._latest: Tensor | None = None

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of views ``(B, 2, 1, H, W)``, float in [0, 1]: minus the cosine, mean of both directions."""
        views = batch["image"].transpose(0, 1).flatten(0, 1)
        projected = self.projection_head(self.network(views))
        predicted, target = self.predictor(projected).float(), projected.detach().float()
        # The first half predicts the second half's projection, and the other way round.
        loss = -cosine_similarity(predicted, target.roll(len(target) // 2, 0), dim=1).mean()
        self._latest = target.mean(0)
        return {"loss": loss, "embedding": target}

    def after_step(self, progress: float) -> None:
        """Let the mean projection follow that of the last batch."""
        if self._latest is not None:
            self.mean_projection.lerp_(self._latest, 1 - self.momentum)
