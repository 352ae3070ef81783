# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Test images under drift."""

from __future__ import annotations

from typing import Any

import torch

from monai_cxrssl.transforms.corruptions.drift import DriftCorruption
from monai_cxrssl.transforms.spatial.resize import ResizeCXR

__all__ = ["Corrupted", "predictions_name"]


class Corrupted:
    """Resize an image for a network and corrupt it there, so that every network sees the same change.

    Args:
        side: of the image that is corrupted, pixels.
        drift: a name of :data:`~monai_cxrssl.transforms.corruptions.drift.DRIFTS`.
        final: side of the result, if another.
    """

    def __init__(self, side: int, drift: str, final: int | None = None) -> None:
        self.resize, self.corrupt = ResizeCXR(side), DriftCorruption(drift)
        self.final = None if final in (None, side) else ResizeCXR(final)
        self.size = self.resize.size

    def __call__(self, image: Any) -> torch.Tensor:
        """Return ``(1, side, side)`` float32 in [0, 1] of an image ``(1, H, W)``."""
        changed = self.corrupt(self.resize(image))
        return changed if self.final is None else self.final(changed)

    def apply_mask(self, mask: Any) -> torch.Tensor:
        """Resize a mask with its image."""
        return self.resize.apply_mask(mask)


def predictions_name(drift: str | None) -> str:
    """Name of the table of a cell's test predictions."""
    return "predictions.csv" if drift is None else f"predictions_{drift}.csv"
