# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""An encoder without batch normalisation, in which no sample depends on another one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SmallEncoder(nn.Module):
    """Two convolutions with group normalisation: ``(B, 1, H, W)`` in, ``(B, 16)`` out."""

    out_channels = 16

    def __init__(self, seed: int = 0, dropout: float = 0.0, normalisation: str = "group") -> None:
        super().__init__()
        torch.manual_seed(seed)
        norm = nn.GroupNorm(2, 8) if normalisation == "group" else nn.BatchNorm2d(8)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2), norm, nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.encoder(image).mean((2, 3))


def views(size: int, seed: int = 0, side: int = 16) -> dict[str, Tensor]:
    """A batch of two views, two images per patient."""
    image = torch.rand(size, 2, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return {"image": image, "patient": torch.arange(size) // 2}
