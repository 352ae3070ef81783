# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Projection head of DINO with a weight-normalised last layer."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DINOHead"]


class DINOHead(nn.Module):
    """Three linear layers with GELU, a unit vector, and its cosines to K prototypes (Caron et al. 2021, appendix C).

    The last layer is weight-normalised with a fixed length of 1: the output is the cosine of the bottleneck to each
    prototype.

    Args:
        in_channels: length of the embedding.
        prototypes: K, length of the output.
        hidden_channels: width of the two hidden layers.
        bottleneck_channels: length of the unit vector.

    Example:
        >>> DINOHead(8, prototypes=32)(torch.zeros(2, 8)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self, in_channels: int, prototypes: int = 65536, hidden_channels: int = 2048, bottleneck_channels: int = 256
    ) -> None:
        super().__init__()
        widths = [in_channels, hidden_channels, hidden_channels, bottleneck_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck_channels))
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, embedding: Tensor, frozen: bool = False) -> Tensor:
        """Map ``(B, in_channels)`` to cosines ``(B, K)``.

        Args:
            embedding: of any floating type.
            frozen: give the prototypes a gradient of zero, not none, which data-parallel training would wait for.
        """
        weight = F.normalize(self.prototypes, dim=1)
        if frozen:
            weight = weight.detach() + 0 * weight
        return F.linear(F.normalize(self.layers(embedding), dim=1), weight)
