# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Corruptions that test a network under drift: contrast, noise, blur."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.transforms import GaussianSmooth, RandGaussianNoise

from monai_cxrssl.errors import ConfigurationError

__all__ = ["DRIFTS", "DriftCorruption"]

#: Corruptions by name, and what each does to an image in [0, 1] at strength 1.
DRIFTS = {
    "contrast": "half the contrast around the mean of the image",
    "noise": "Gaussian noise of standard deviation 0.1",
    "blur": "a Gaussian blur of a hundredth of the shorter side",
}
_CONTRAST, _NOISE, _BLUR = 0.5, 0.1, 0.01


class DriftCorruption:
    """Change an image as another machine or another setting might; the same image always in the same way.

    Args:
        kind: one of :data:`DRIFTS`.
        strength: 0 leaves the image as it is, 1 is what :data:`DRIFTS` says, 2 twice as much; at contrast at most 2.
        seed: of the noise.

    Raises:
        ConfigurationError: an unknown kind or a strength out of range.

    Example:
        >>> DriftCorruption("contrast")(torch.tensor([[[0.2, 0.6]]]))
        tensor([[[0.3000, 0.5000]]])
    """

    def __init__(self, kind: str, strength: float = 1.0, seed: int = 0) -> None:
        if kind not in DRIFTS:
            raise ConfigurationError(f"The drift is {kind!r}; choose one of {', '.join(DRIFTS)}.")
        if not 0 <= strength <= (2 if kind == "contrast" else float("inf")):
            raise ConfigurationError(
                f"The strength of {kind} is {strength:g}; expected 0 or more, at contrast up to 2."
            )
        self.kind, self.strength, self.seed = kind, float(strength), int(seed)

    def __call__(self, image: Any) -> torch.Tensor:
        """Return the image ``(1, H, W)``, float in [0, 1], corrupted and clipped to [0, 1]."""
        plane: torch.Tensor = torch.as_tensor(image)
        if self.strength == 0:
            return plane
        if self.kind == "contrast":
            changed = plane.mean() + (1 - (1 - _CONTRAST) * self.strength) * (plane - plane.mean())
        elif self.kind == "noise":
            # Of the pixels, not of the place in the data set: a subset gets the same noise.
            digest = np.ascontiguousarray(plane.numpy()).view(np.uint8).astype(np.uint64).sum()
            noise = RandGaussianNoise(prob=1.0, std=_NOISE * self.strength, sample_std=False)
            noise.set_random_state(seed=(self.seed + int(digest)) % 2**32)
            changed = torch.as_tensor(noise(plane))
        else:
            changed = GaussianSmooth(sigma=_BLUR * self.strength * min(plane.shape[-2:]))(plane)
        return changed.clip(0, 1)
