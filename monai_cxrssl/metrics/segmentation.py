# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Overlap of predicted and true masks, image by image."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["overlap_per_image"]


def overlap_per_image(prediction: Tensor, mask: Tensor, metric: str = "dice", empty: float = 1.0) -> Tensor:
    """Return Dice, ``2 |A n B| / (|A| + |B|)``, or IoU, ``|A n B| / |A u B|``, of each image and channel.

    Args:
        prediction: ``(B, C, H, W)``, bool or numbers; what is not 0 belongs to the mask. Threshold it first.
        mask: the truth, of the same shape.
        metric: ``"dice"`` or ``"iou"``.
        empty: the figure where both are empty: 1 (nothing to find, nothing found), or NaN to leave such images out of
            :func:`~monai_cxrssl.metrics.bootstrap_mean`.

    Returns:
        ``(B, C)`` float64 in [0, 1].

    Raises:
        ConfigurationError: another metric.
        DatalistError: when the shapes differ.

    Example:
        >>> overlap_per_image(torch.tensor([[[[1, 1]]]]), torch.tensor([[[[0, 1]]]]))
        tensor([[0.6667]], dtype=torch.float64)
    """
    if metric not in ("dice", "iou"):
        raise ConfigurationError(f"The overlap metric is {metric!r}; expected 'dice' or 'iou'.")
    if prediction.ndim != 4 or prediction.shape != mask.shape:
        raise DatalistError(
            f"The predicted masks are {tuple(prediction.shape)} and the true ones {tuple(mask.shape)}; expected (B, C, "
            "H, W) twice."
        )
    found, true = (prediction != 0).flatten(2), (mask != 0).flatten(2)
    both = (found & true).sum(dim=2).double()
    either = (found | true).sum(dim=2).double()
    figure = both / either if metric == "iou" else 2 * both / (both + either)
    return torch.where(either == 0, torch.full_like(figure, empty), figure)
