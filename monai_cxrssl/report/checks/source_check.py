# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Probe of the data source in the features."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from monai_cxrssl.data.datalists.datalist_schema import is_unknown
from monai_cxrssl.networks.fine_tuned.ensemble import pooled_features_of
from monai_cxrssl.probing.embedding import embed
from monai_cxrssl.probing.source_probe import predict_source
from monai_cxrssl.report.checks.checked_images import CheckedImages

__all__ = ["PooledFeatures", "check_source"]


class PooledFeatures(nn.Module):
    """What the label head reads: the pooled features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, D)`` of images ``(B, 1, H, W)``."""
        return pooled_features_of(self.network, image)


def check_source(
    network: nn.Module, checked: CheckedImages, device: torch.device | str, amp: bool | str = "auto", seed: int = 0
) -> dict[str, Any]:
    """Predict the source of the images from the features, cross-validated by patient.

    The network is in evaluation mode, on the device; the images' items name the ``source``.

    Returns:
        A :class:`~monai_cxrssl.probing.SourcePrediction` as plain JSON values: ``macro_auc`` (``value``, ``ci_low``,
        ``ci_high``, or null where it cannot be assessed), ``auc`` by source, ``images``, ``left_out`` and ``text``.
    """
    sources = [None if is_unknown(item.get("source")) else str(item["source"]) for item in checked.items]
    features = None
    if len({name for name in sources if name}) > 1:
        chosen: Any = Subset(checked.dataset, checked.positions.tolist())
        label = "features" if checked.progress else False
        features = embed(PooledFeatures(network), chosen, device, checked.batch_size, amp=amp, progress=label)
    if features is None:
        # One source needs no features to be found too few; the words are those of the probe.
        features = torch.zeros(len(checked), 1).numpy()
    return _finite(asdict(predict_source(features, sources, checked.patients, seed=seed)))


def _finite(value: Any) -> Any:
    """Return plain JSON values with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
