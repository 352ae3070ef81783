# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Label head: pooling, layers of a projection head, norm, dropout, linear layer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.parts.head_layers import HeadLayers
from monai_cxrssl.networks.parts.pooling import Pooling, last_features

__all__ = ["HEAD_NORMS", "LabelHead", "label_logits"]

HEAD_NORMS = ("none", "layer", "batch")


class LabelHead(nn.Sequential):
    """What reads labels off an encoder's last features.

    Names and initialisation are those of smp's ``ClassificationHead``, whose flattening stands where the norm is here:
    without one, and by the mean, the two are the same. Behind a norm the linear layer starts as timm's, at a standard
    deviation of .02.

    Args:
        pool: makes one vector of the features.
        num_classes: outputs.
        dropout: share of the vector that is dropped in training.
        norm: ``"layer"``, the ``fc_norm`` of transformers (timm, DeiT, MAE), for they end in a residual stream of any
            size; ``"batch"``, without weights, as linear probes of them have it (MAE); or ``"none"``.
        projection: layers of pretraining's head between the pooling and the norm (SimCLRv2), as ``projection``.

    Raises:
        ConfigurationError: an unknown norm.
    """

    def __init__(
        self,
        pool: Pooling,
        num_classes: int,
        dropout: float = 0.0,
        norm: str = "none",
        projection: HeadLayers | None = None,
    ) -> None:
        width = pool.out_channels if projection is None else projection.out_channels
        norms: dict[str, Any] = {
            "none": nn.Identity, "layer": lambda: nn.LayerNorm(width, eps=1e-6),
            "batch": lambda: nn.BatchNorm1d(width, affine=False, eps=1e-6),
        }  # fmt: skip
        if norm not in norms:
            raise ConfigurationError(f"The norm of the label head is {norm!r}; expected {', '.join(HEAD_NORMS)}.")
        linear = nn.Linear(width, num_classes)
        if norm == "none":
            nn.init.xavier_uniform_(linear.weight)
        else:
            nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        drop = nn.Dropout(dropout) if dropout else nn.Identity()
        between = {} if projection is None else {"projection": projection}
        super().__init__(OrderedDict({"0": pool, **between, "1": norms[norm](), "2": drop, "3": linear}))

    def forward(self, feature_map: Tensor, prefix_tokens: Tensor | None = None) -> Tensor:
        """Return logits ``(B, num_classes)`` of a map ``(B, C, h, w)`` and prefix tokens ``(B, P, C)``."""
        pool, *others = self
        embedding = pool(feature_map, prefix_tokens)
        for module in others:
            embedding = module(embedding)
        return embedding


def label_logits(network: nn.Module, features: Any) -> Tensor:
    """Return the logits of a network's label head for what its encoder gave, by autocast or not.

    Within autocast the head computes in float32: a sum of hundreds of products that cancel would lose in bfloat16 what
    tells classes apart.

    Args:
        network: one of this package, or of segmentation-models-pytorch with ``aux_params``.
        features: of its encoder.
    """
    head: Any = network.classification_head
    feature_map, prefix_tokens = last_features(features)
    parts: list[Any] = [feature_map, prefix_tokens] if isinstance(head, LabelHead) else [feature_map]
    if torch.is_autocast_enabled(feature_map.device.type):
        with torch.autocast(feature_map.device.type, enabled=False):
            return head(*(part if part is None else part.float() for part in parts))
    return head(*parts)
