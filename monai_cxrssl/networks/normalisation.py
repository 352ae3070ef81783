# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Input normalisation of encoders: mean, standard deviation and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["IDENTITY", "InputNormalisation", "Normalisation"]


@dataclass(frozen=True)
class Normalisation:
    """What an encoder expects in place of grey values in [0, 1]: ``(image * scale - mean) / std``.

    Args:
        mean: one value, or one for each of the three channels that the encoder was trained with.
        std: as many.
        scale: factor of the image, 1 where mean and standard deviation are of images in [0, 1].
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0

    @property
    def channels(self) -> int:
        """Channels of the normalised image: one where all channels of the encoder would see the same values."""
        return 1 if len(set(self.mean)) == len(set(self.std)) == 1 else len(self.mean)

    def described(self) -> dict[str, Any]:
        """Return the entries of a description of weights: ``input_mean``, ``input_std``, ``input_scale``."""
        return {"input_mean": list(self.mean), "input_std": list(self.std), "input_scale": self.scale}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Normalisation:
        """Read what :meth:`described` wrote; a description of before has none, and its weights want none."""
        return cls(
            tuple(description.get("input_mean", IDENTITY.mean)),
            tuple(description.get("input_std", IDENTITY.std)),
            float(description.get("input_scale", IDENTITY.scale)),
        )


IDENTITY = Normalisation()


class InputNormalisation(nn.Module):
    """Normalise grey images in front of an encoder.

    A step of its own, for a convolution pads with zeros after it: folded into the first layer, the borders would
    differ. Where the channels of the encoder were normalised each by its own values, a grey image becomes as many
    channels, for a stem summed over them would see one value in place of three. Nothing of it stands in the state dict.

    Args:
        normalisation: what the encoder expects.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, normalisation: Normalisation = IDENTITY) -> None:
        super().__init__()
        self.normalisation = normalisation
        number = normalisation.channels
        self.identity = normalisation == IDENTITY
        self.scale = normalisation.scale
        for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
            value = torch.tensor(values[:number], dtype=torch.float32).view(1, number, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return ``(B, channels, H, W)`` of images ``(B, 1, H, W)``, floats in [0, 1]; the image itself by default."""
        if self.identity:
            return image
        return (image * self.scale - self.mean) / self.std
