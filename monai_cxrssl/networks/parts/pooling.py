# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pooling of feature maps and class tokens into one embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.normalisation import normalised_features

__all__ = ["POOLINGS", "Pooling", "last_features", "pooled_features"]

POOLINGS = ("mean", "cls", "cls+mean", "mean+std")


def last_features(features: Any) -> tuple[Tensor, Tensor | None]:
    """Return the last map ``(B, C, h, w)`` of what an smp encoder gives, and its prefix tokens ``(B, P, C)``, if any.

    Args:
        features: maps of a convolutional encoder, or maps and prefix tokens of a vision transformer.
    """
    maps, prefix = features if isinstance(features, tuple) else (features, [None])
    return maps[-1], prefix[-1]


class Pooling(nn.Module):
    """Make one vector of an encoder's last features, without weights.

    ``mean`` is the mean over all positions, ``mean+std`` with their standard deviation beside it, ``cls`` the class
    token and ``cls+mean`` the token with the mean beside it.

    Args:
        pooling: one of these, or ``"auto"``: ``cls+mean`` where the encoder has a class token, else ``mean``.
        encoder: of smp.
        encoder_name: for messages.

    Attributes:
        name: what is done.
        out_channels: length of the vector.
        takes_token: whether the class token is in it.

    Raises:
        ConfigurationError: an unknown pooling, or one by a class token that the encoder does not have.
    """

    def __init__(self, pooling: str, encoder: nn.Module, encoder_name: str) -> None:
        super().__init__()
        if pooling not in ("auto", *POOLINGS):
            raise ConfigurationError(f"The pooling is {pooling!r}; expected auto, {', '.join(POOLINGS)}.")
        # Registers are prefix tokens too, and stand behind a class token, if any.
        model = getattr(encoder, "model", None)
        token = bool(getattr(encoder, "has_prefix_tokens", False)) and getattr(model, "cls_token", None) is not None
        if pooling == "auto":
            pooling = "cls+mean" if token else "mean"
        if "cls" in pooling and not token:
            raise ConfigurationError(
                f"The pooling {pooling} takes the class token of a vision transformer, and {encoder_name} has none; "
                "choose mean or mean+std."
            )
        self.name = pooling
        self.takes_token, self._mean, self._std = (part in pooling for part in ("cls", "mean", "std"))
        self.out_channels = int(encoder.out_channels[-1]) * (1 + pooling.count("+"))  # type: ignore[index]

    def forward(self, feature_map: Tensor, prefix_tokens: Tensor | None = None) -> Tensor:
        """Return ``(B, out_channels)`` of :func:`last_features`."""
        parts = []
        if self.takes_token:
            assert prefix_tokens is not None  # the constructor asked for a class token
            parts.append(prefix_tokens[:, 0])
        if self._mean:
            parts.append(torch.flatten(nn.functional.adaptive_avg_pool2d(feature_map, 1), 1))
        if self._std:
            # The root has no gradient at 0, where all positions are alike.
            variance = feature_map.float().flatten(2).var(-1, correction=0)
            parts.append((variance + 1e-12).sqrt().to(feature_map.dtype))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def extra_repr(self) -> str:
        """Say what is done."""
        return self.name


def pooled_features(network: nn.Module, image: Tensor) -> Tensor:
    """Return the embeddings ``(B, D)`` of images ``(B, 1, H, W)`` that a network's label head reads or would read.

    Args:
        network: of this package, or of segmentation-models-pytorch, whose maps are averaged.
        image: float in [0, 1].
    """
    feature_map, prefix_tokens = last_features(normalised_features(network, image))
    pool = getattr(network, "pool", None)
    return feature_map.mean((2, 3)) if pool is None else pool(feature_map, prefix_tokens)
