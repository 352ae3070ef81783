# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Bring every chest X-ray to one size, without randomness: what evaluation and inference see."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.transforms.view_cpu import image_plane, mask_plane
from monai_cxrssl.transforms.view_parameters import view_size

__all__ = ["ResizeCXR", "ResizeCXRd"]

_MODES = ("pad", "stretch", "crop")


class ResizeCXR(Transform):
    """Resize an image to a fixed size; where it shrinks, each pixel is the average of the area that it covers.

    Args:
        size: side of the result in pixels, or ``[height, width]``.
        mode: what happens to an image of another aspect ratio. ``"pad"`` keeps all of it and its proportions, centred
            on ``fill``; ``"stretch"`` keeps all of it and distorts it; ``"crop"`` keeps the proportions and cuts off
            what is too long, on both sides.
        fill: intensity in [0, 1] around a padded image.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    def __init__(self, size: int | Sequence[int] = 224, mode: str = "pad", fill: float = 0.0) -> None:
        self.size = view_size(size)
        if mode not in _MODES:
            raise ConfigurationError(f"mode is {mode!r}; choose one of {', '.join(map(repr, _MODES))}.")
        if not 0.0 <= fill <= 1.0:
            raise ConfigurationError(f"fill is {fill!r}; give an intensity between 0 (dark) and 1.")
        self.mode = mode
        self.fill = float(fill)

    def __call__(self, image: Any) -> torch.Tensor:
        """Resize one image.

        Args:
            image: array or tensor ``(1, H, W)``, uint8 or uint16 (full range), or floating point in [0, 1].

        Returns:
            Plain float32 tensor ``(1, h, w)`` in [0, 1].

        Raises:
            TypeError, ValueError: the image is not as described; the sentence says how.
        """
        plane = image_plane(image)
        if plane.dtype != np.float32:
            plane = plane.astype(np.float32) / np.float32(np.iinfo(plane.dtype).max)
        return torch.from_numpy(self._resize(plane, self.fill, nearest=False).clip(0, 1)[None])

    def apply_mask(self, mask: Any) -> torch.Tensor:
        """Resize a mask ``(1, H, W)`` of labels 0 to 255 with its image, nearest pixel, padded by 0: uint8."""
        return torch.from_numpy(self._resize(mask_plane(mask), 0, nearest=True)[None])

    def _resize(self, plane: np.ndarray, fill: float, nearest: bool) -> np.ndarray:
        rows, columns = plane.shape
        height, width = self.size
        if self.mode == "crop":
            kept_rows = max(1, min(rows, round(columns * height / width)))
            kept_columns = max(1, min(columns, round(rows * width / height)))
            top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
            plane = plane[top : top + kept_rows, left : left + kept_columns]
        if self.mode != "pad":
            return _resample(plane, (height, width), nearest)
        factor = min(height / rows, width / columns)
        inner = (max(1, min(height, round(rows * factor))), max(1, min(width, round(columns * factor))))
        padded = np.full((height, width), fill, dtype=plane.dtype)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        padded[top : top + inner[0], left : left + inner[1]] = _resample(plane, inner, nearest)
        return padded


class ResizeCXRd(MapTransform):
    """Dictionary form of :class:`ResizeCXR`.

    Args:
        keys: items with an image ``(1, H, W)``.
        size, mode, fill: see :class:`ResizeCXR`.
        mask_keys: items with a mask ``(1, H, W)``, resized with nearest pixels.
        allow_missing_keys: pass over ``keys`` and ``mask_keys`` that a dictionary lacks.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int | Sequence[int] = 224,
        mode: str = "pad",
        fill: float = 0.0,
        mask_keys: KeysCollection = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_keys = ensure_tuple(mask_keys)
        self.resize = ResizeCXR(size=size, mode=mode, fill=fill)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resize every image and mask of the item.

        Raises:
            KeyError: an item is missing.
            TypeError, ValueError: an image or a mask is not as described.
        """
        result = dict(data)
        for resize, keys in ((self.resize, self.keys), (self.resize.apply_mask, self.mask_keys)):
            for key in keys:
                if key in data:
                    result[key] = resize(data[key])
                elif not self.allow_missing_keys:
                    raise KeyError(f"The item has no {key!r} to resize; it has {', '.join(map(repr, data))}.")
        return result


def _resample(plane: np.ndarray, size: tuple[int, int], nearest: bool) -> np.ndarray:
    if nearest:
        return cv2.resize(plane, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    # OpenCV enlarges in area mode by repeating pixels, so an axis that grows is interpolated on its own.
    shrunk = (min(size[0], plane.shape[0]), min(size[1], plane.shape[1]))
    if shrunk != plane.shape:
        plane = cv2.resize(plane, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != size:
        plane = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    return plane
