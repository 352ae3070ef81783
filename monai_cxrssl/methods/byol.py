# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""BYOL: agreement of two views without negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.momentum import EMACopy, momentum_at

__all__ = ["BYOL"]


class BYOL(PretextMethod):
    """Bootstrap your own latent (Grill et al. 2020, arXiv 2006.07733).

    The online network, an encoder, a projector and a predictor, predicts from one view what the target network, a
    moving average of the online encoder and projector, makes of the other. The loss is 2 - 2 cosines, summed over both
    directions; there are no negatives. What is kept is the online encoder.

    Our choices: each view passes by itself, so that batch normalisation sees one view of every image at a time; the
    target normalises by the batch too, but drops nothing out; the running statistics of its batch normalisation are
    averaged like its weights.

    Args:
        momentum: of the target at the start; it rises to 1 along a cosine. 0.996 for 1,000 epochs in the paper, 0.99
            for 300.
        projection_channels: length of the projection that is predicted.
        hidden_channels: width of the hidden layer of projector and predictor.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    num_views: ClassVar[int] = 2

    def __init__(
        self,
        network: Encoder,
        momentum: float = 0.99,
        projection_channels: int = 256,
        hidden_channels: int = 4096,
    ) -> None:
        super().__init__(network)
        self.projector = ProjectionHead(network.out_channels, hidden_channels, projection_channels)
        self.predictor = ProjectionHead(projection_channels, hidden_channels, projection_channels)
        # In a tuple, so that the trained parts are not registered, saved and optimised a second time.
        self._online = (nn.Sequential(network, self.projector),)
        self.momentum = float(momentum)
        self.target = EMACopy(self._online[0], self.momentum, dropout=False)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch.

        ``embedding`` holds the projections of both views; ``trivial_loss`` is the loss of one answer for all images,
        the mean direction of the targets: 0 where these have collapsed.

        Args:
            batch: ``image`` ``(B, 2, 1, H, W)`` float in [0, 1].
        """
        first, second = batch["image"].unbind(1)
        projections = [self.projector(self.network(view)) for view in (first, second)]
        # Half precision would round 2 - 2 cosines of nearly equal vectors.
        targets = [normalize(self.target(view).float(), dim=1) for view in (second, first)]
        predictions = [normalize(self.predictor(projection).float(), dim=1) for projection in projections]
        loss = sum(2 - 2 * (one * other).sum(1).mean() for one, other in zip(predictions, targets, strict=True))
        trivial = sum(2 - 2 * torch.linalg.vector_norm(target.mean(0)) for target in targets)
        return {"loss": loss, "trivial_loss": trivial, "embedding": torch.cat(projections).detach()}

    def after_step(self, progress: float) -> None:
        """Move the target towards the online network."""
        self.target.update(self._online[0], momentum_at(progress, self.momentum))
