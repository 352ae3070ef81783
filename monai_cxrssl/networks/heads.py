# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Small networks that sit on an encoder during pretraining."""

from __future__ import annotations

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["ProjectionHead"]


class ProjectionHead(nn.Module):
    """The multi-layer perceptron between an encoder and a contrastive loss (Chen et al. 2020, arXiv 2002.05709).

    Hidden layers are linear, batch normalisation, ReLU; the last layer is linear. SimCLR's code normalises its output
    once more, which would hide a collapse from who watches the projections; we leave that out.

    Args:
        layers: number of linear layers, 2 in SimCLR, 3 in SimCLRv2.
        norm: ``False`` for hidden layers without batch normalisation, as MoCo v2 has them.

    Raises:
        ConfigurationError: when ``layers`` is less than 1.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | None = None,
        out_channels: int = 128,
        layers: int = 2,
        norm: bool = True,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigurationError(f"A projection head needs at least one layer, got {layers}.")
        hidden = hidden_channels or in_channels
        blocks: list[nn.Module] = []
        width = in_channels
        for _ in range(layers - 1):
            # The bias would be removed again by the normalisation that follows.
            blocks += [nn.Linear(width, hidden, bias=not norm), *([nn.BatchNorm1d(hidden)] if norm else [])]
            blocks.append(nn.ReLU(inplace=True))
            width = hidden
        blocks.append(nn.Linear(width, out_channels))
        self.layers = nn.Sequential(*blocks)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map ``(B, in_channels)`` to ``(B, out_channels)``, not normalised."""
        return self.layers(embedding)
