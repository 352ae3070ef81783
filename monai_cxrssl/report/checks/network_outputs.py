# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Forward pass of a fine-tuned network for the checks of the report."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from monai_cxrssl.hardware.precision import autocast_dtype
from monai_cxrssl.networks.fine_tuned.ensemble import label_logits_of
from monai_cxrssl.networks.parts.named_logits import named_logits
from monai_cxrssl.networks.prediction_head import PredictionHead

__all__ = ["NetworkOutputs"]


class NetworkOutputs:
    """Run a network without gradients and in the precision of its evaluation.

    The network is a :class:`~monai_cxrssl.networks.MultiTaskNet`, or an ensemble of such, in evaluation mode, on the
    device; for ``amp`` see :func:`monai_cxrssl.hardware.autocast_dtype`.
    """

    def __init__(
        self, network: nn.Module, head: PredictionHead, device: torch.device | str, amp: bool | str = "auto"
    ) -> None:
        self.network = network
        self.head = head
        self.device = torch.device(device)
        self.autocast_dtype = autocast_dtype(self.device, amp)

    def autocast(self) -> torch.autocast:
        """Return the context of the precision."""
        return torch.autocast(self.device.type, self.autocast_dtype, enabled=self.autocast_dtype is not None)

    def masks(self, image: Tensor) -> np.ndarray:
        """Return the masks ``(B, channels, H, W)``, bool, that are drawn on images ``(B, 1, H, W)``."""
        with torch.inference_mode(), self.autocast():
            logits = named_logits(self.network, self.network(image.to(self.device)))["mask"]
        return self.head.mark(logits.float()).cpu().numpy()

    def scores(self, image: Tensor) -> np.ndarray:
        """Return probabilities ``(B, C)`` float64 of images ``(B, 1, H, W)``; NaN where a logit is not finite."""
        # The decoder is spared, which takes more time than the encoder.
        with torch.inference_mode(), self.autocast():
            logits = label_logits_of(self.network, image.to(self.device))
        scores = self.head.predict({"label": logits})["label"]
        return torch.where(scores.isfinite(), scores, torch.nan).numpy()
