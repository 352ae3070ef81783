# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The light head that turns tokens back into an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from monai_cxrssl.errors import ConfigurationError

__all__ = ["GMMLHead", "mean_of_blocks"]


class GMMLHead(nn.Module):
    """Normalise each token, pass linear layers with GELU and a transposed convolution of one patch (arXiv 2211.12944).

    The output has no activation (our choice): where the target is black or white, a sigmoid would starve the gradient.

    Args:
        in_channels: length of a token.
        patch_size: side in pixels of the square that a token becomes.

    Raises:
        ConfigurationError: when ``layers`` is negative.

    Example:
        >>> GMMLHead(8, patch_size=16)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, in_channels: int, patch_size: int, out_channels: int = 1, layers: int = 3) -> None:
        super().__init__()
        if layers < 0:
            raise ConfigurationError(f"A reconstruction head cannot have {layers} linear layers; give 0 or more.")
        blocks: list[nn.Module] = []
        for _ in range(layers):
            blocks += [nn.Linear(in_channels, in_channels), nn.GELU()]
        self.norm = nn.LayerNorm(in_channels)
        self.layers = nn.Sequential(*blocks)
        self.to_pixels = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=patch_size, stride=patch_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return images ``(B, out_channels, h * patch_size, w * patch_size)`` of tokens ``(B, in_channels, h, w)``."""
        return self.to_pixels(self.layers(self.norm(tokens.permute(0, 2, 3, 1))).permute(0, 3, 1, 2))


def mean_of_blocks(maps: Sequence[Tensor]) -> Tensor:
    """Average token maps ``(B, C, h, w)`` of several blocks, each token brought to mean 0 and variance 1 before.

    Tokens grow from block to block; averaged as they are, the last block would drown the others.
    """
    tokens = [layer_norm(tokens.permute(0, 2, 3, 1), tokens.shape[1:2]) for tokens in maps]
    return torch.stack(tokens).mean(0).permute(0, 3, 1, 2)
