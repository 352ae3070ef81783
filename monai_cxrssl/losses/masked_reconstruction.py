# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reconstruction error on the corrupted pixels only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError

__all__ = ["MaskedReconstructionLoss"]


class MaskedReconstructionLoss(nn.Module):
    """Mean absolute (``"l1"``) or squared (``"l2"``) error over the pixels of a mask; others get no gradient at all.

    The mean is over all masked pixels of the batch, so that every masked pixel weighs the same, whichever sample it is
    of; a sample with a small mask weighs less than one with a large mask (our choice). Pixels outside are replaced
    before the difference is taken, not multiplied by zero after it: what is not finite there does no harm either.

    Used by GMML (Anwar et al. 2022, arXiv 2211.12944: L1 on the corrupted pixels) and by inpainting. Another norm
    raises a ConfigurationError.

    Example:
        >>> mask = torch.tensor([[[[1, 0], [0, 0]]]])
        >>> MaskedReconstructionLoss()(torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2), mask)
        tensor(0.5000)
    """

    def __init__(self, norm: str = "l1") -> None:
        super().__init__()
        if norm not in ("l1", "l2"):
            raise ConfigurationError(f"The norm of a reconstruction loss is {norm!r}; expected 'l1' or 'l2'.")
        self.norm = norm

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the mean error of the masked pixels ``(B, C, H, W)``, a float32 scalar (float64 for float64 input).

        Where nothing is masked it is 0, still with a gradient of 0 to ``prediction``.

        Args:
            mask: ``(B, 1, H, W)`` or ``(B, C, H, W)``, bool or a number; what is not 0 counts.

        Raises:
            ConfigurationError: when the shapes do not fit.
        """
        if (
            prediction.shape != target.shape
            or prediction.ndim != 4
            or mask.shape not in (prediction.shape, (prediction.shape[0], 1, *prediction.shape[2:]))
        ):
            raise ConfigurationError(
                f"A masked reconstruction loss got a prediction {tuple(prediction.shape)}, a target "
                f"{tuple(target.shape)} and a mask {tuple(mask.shape)}; expected (B, C, H, W) twice and (B, 1, H, W)."
            )
        # Half precision would lose the sum of a few thousand small errors.
        with torch.autocast(prediction.device.type, enabled=False):
            precision = torch.promote_types(prediction.dtype, torch.float32)
            inside = (mask != 0).expand_as(prediction)
            prediction = torch.where(inside, prediction.to(precision), 0.0)
            error = prediction - torch.where(inside, target.to(precision), 0.0)
            total = (error.abs() if self.norm == "l1" else error.square()).sum()
            return total / inside.sum().clamp(min=1)
