# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Holes over the lungs, for a network to fill in (inpainting-CXR)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform
from torch import Tensor

from monai_cxrssl.errors import ConfigurationError

__all__ = ["InpaintHoles", "InpaintHolesd"]


class InpaintHoles(Randomizable, Transform):
    """Blank rectangles that are centred on the lungs, after inpainting-CXR (Ridzuan et al. 2022, arXiv 2201.06052).

    Every sample has its own holes, all drawn and blanked at once on the device of the images. Each is centred on a
    pixel drawn uniformly from the sample's lung mask, with a height and a width drawn independently; what reaches over
    the border is cut off, and holes may overlap. A sample whose mask is empty, because its view shows no lung, gets
    holes anywhere (our choices throughout; the number of two is said to be the paper's). An option out of its range is
    a ConfigurationError.

    Args:
        holes: number of holes per sample.
        hole_size: smallest and largest side of a hole, as fractions of the image's height and width.
        fill: intensity in [0, 1] inside the holes.

    Example:
        >>> corrupted, mask = InpaintHoles()(torch.ones(4, 1, 64, 64), torch.ones(4, 1, 64, 64))
        >>> bool((corrupted == 0).eq(mask).all())
        True
    """

    def __init__(self, holes: int = 2, hole_size: Sequence[float] = (0.15, 0.35), fill: float = 0.0) -> None:
        if int(holes) != holes or holes < 1:
            raise ConfigurationError(f"holes is {holes!r}; give the number of holes per image, at least 1.")
        sizes = tuple(float(size) for size in hole_size)
        if len(sizes) != 2 or not 0 < sizes[0] <= sizes[1] <= 1:
            raise ConfigurationError(
                f"hole_size is {hole_size!r}; give the smallest and the largest side as fractions of the image's, "
                "above 0 and at most 1."
            )
        if not 0 <= fill <= 1:
            raise ConfigurationError(f"fill is {fill!r}; give an intensity between 0 (dark) and 1.")
        self.holes, self.hole_size, self.fill = int(holes), sizes, float(fill)

    def __call__(  # type: ignore[override]
        self, images: Tensor, lung_mask: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Blank holes in every sample; a ConfigurationError if the mask is not on the grid of the images.

        Args:
            images: ``(B, C, H, W)`` float in [0, 1], or one sample ``(C, H, W)``.
            lung_mask: ``(B, 1, H, W)`` or ``(1, H, W)``, bool or a number; lung is what is not 0.
            generator: what to draw from, on the device of the images; by default one seeded by ``self.R``.

        Returns:
            The images with their holes, a copy; and the bool mask ``(B, 1, H, W)`` of exactly the pixels that were
            blanked. For one sample both lack the first axis.
        """
        if images.ndim == 3 and lung_mask.ndim == 3:
            corrupted, mask = self(images[None], lung_mask[None], generator)
            return corrupted[0], mask[0]
        if images.ndim != 4 or lung_mask.shape != (images.shape[0], 1, *images.shape[2:]):
            raise ConfigurationError(
                f"The images have shape {tuple(images.shape)} and their lung masks {tuple(lung_mask.shape)}; expected "
                "(B, C, H, W) and (B, 1, H, W) with the same B, H and W."
            )
        mask = self.draw(lung_mask, generator)
        return torch.where(mask, torch.as_tensor(self.fill, dtype=images.dtype, device=images.device), images), mask

    def draw(self, lung_mask: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw holes without blanking anything: bool ``(B, 1, H, W)`` for lung masks ``(B, 1, H, W)``."""
        # Without the metadata of the lung mask, which its holes would hand on to the images.
        lung_mask = lung_mask.as_tensor() if isinstance(lung_mask, MetaTensor) else lung_mask
        device, (size, _, rows, columns) = lung_mask.device, lung_mask.shape
        if generator is None:
            generator = torch.Generator(device).manual_seed(int(self.R.randint(2**31)))
        lung = lung_mask.reshape(size, -1) != 0
        weights = (lung | ~lung.any(dim=1, keepdim=True)).float()
        center = torch.multinomial(weights, self.holes, replacement=True, generator=generator)
        low, high = self.hole_size
        # Half a height and half a width of every hole, in pixels.
        half = low + (high - low) * torch.rand(2, size, self.holes, device=device, generator=generator)
        distance_y = (torch.arange(rows, device=device) - (center // columns)[..., None]).abs()
        distance_x = (torch.arange(columns, device=device) - (center % columns)[..., None]).abs()
        inside_y = distance_y <= half[0, ..., None] * (rows / 2)
        inside_x = distance_x <= half[1, ..., None] * (columns / 2)
        return (inside_y[..., :, None] & inside_x[..., None, :]).any(dim=1)[:, None]


class InpaintHolesd(MapTransform, Randomizable):
    """Dictionary form of :class:`InpaintHoles`: one draw, shared by all its keys.

    Args:
        keys: images ``(B, C, H, W)`` or ``(C, H, W)`` to blank holes in; a ``MetaTensor`` keeps its metadata.
        lung_mask_key: item with their lung masks.
        hole_mask_key: item that the bool mask of the holes is written to.
        allow_missing_keys: pass over ``keys`` that a dictionary lacks.
        holes, hole_size, fill: see :class:`InpaintHoles`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        lung_mask_key: str = "lung_mask",
        hole_mask_key: str = "hole_mask",
        allow_missing_keys: bool = False,
        holes: int = 2,
        hole_size: Sequence[float] = (0.15, 0.35),
        fill: float = 0.0,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.lung_mask_key, self.hole_mask_key = lung_mask_key, hole_mask_key
        self.inpaint_holes = InpaintHoles(holes, hole_size, fill)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> InpaintHolesd:
        """Seed the draws, as in :class:`monai.transforms.Randomizable`."""
        self.inpaint_holes.set_random_state(seed=seed, state=state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Blank the same holes in every key. KeyError: an item is missing; ConfigurationError: the grids differ."""
        result = dict(data)
        if self.lung_mask_key not in data:
            raise KeyError(
                f"The item has no {self.lung_mask_key!r} to place holes by; it has {', '.join(map(str, data))}."
            )
        seed = int(self.inpaint_holes.R.randint(2**31))
        lung_mask = torch.as_tensor(data[self.lung_mask_key])
        for key in self.key_iterator(result):
            image = torch.as_tensor(data[key])
            generator = torch.Generator(image.device).manual_seed(seed)
            result[key], result[self.hole_mask_key] = self.inpaint_holes(image, lung_mask, generator)
        return result
