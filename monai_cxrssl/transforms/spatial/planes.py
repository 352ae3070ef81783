# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Checked planes of images and masks, and sizes in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_cxrssl.errors import ConfigurationError

__all__ = ["image_plane", "mask_plane", "view_size"]


def _plane(array: Any, what: str) -> np.ndarray:
    if isinstance(array, torch.Tensor):
        plain = array.as_tensor() if hasattr(array, "as_tensor") else array
        plain = plain.detach().cpu()
        # numpy has no bfloat16.
        array = (plain.float() if plain.is_floating_point() else plain).numpy()
    elif not isinstance(array, np.ndarray):
        raise TypeError(f"The {what} is a {type(array).__name__}; give a numpy array or a tensor of shape (1, H, W).")
    if array.ndim != 3 or array.shape[0] != 1:
        raise ValueError(
            f"The {what} has shape {array.shape}; expected (1, H, W), one channel in front. "
            "Load it with LoadCXR, which returns that shape."
        )
    if array.size == 0:
        raise ValueError(f"The {what} has shape {array.shape}; it holds no pixels.")
    return array[0]


def image_plane(image: Any) -> np.ndarray:
    """Check an image ``(1, H, W)``, uint8 or uint16 (full range) or floating point in [0, 1], and return its pixels.

    They are a contiguous array ``(H, W)``, uint8, uint16 or float32.

    Raises:
        TypeError: no array, or of another type of number.
        ValueError: wrong shape, no pixels, NaN or infinite values, or values outside [0, 1].
    """
    plane = _plane(image, "image")
    if plane.dtype.kind == "f":
        plane = np.ascontiguousarray(plane, dtype=np.float32)
        low, high = float(plane.min()), float(plane.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            count = int(np.count_nonzero(~np.isfinite(plane)))
            raise ValueError(
                f"The image holds {count} NaN or infinite pixels of {plane.size}; leave it out or mend it before."
            )
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(
                f"The image is floating point with values from {low:g} to {high:g}; expected [0, 1]. "
                "Load it with LoadCXR, or give the integers themselves as uint8 or uint16."
            )
        return plane
    if plane.dtype.kind == "u" and plane.dtype.itemsize <= 2:
        return np.ascontiguousarray(plane, dtype=np.uint8 if plane.dtype.itemsize == 1 else np.uint16)
    raise TypeError(f"The image is of type {plane.dtype}; expected uint8, uint16, or floating point in [0, 1].")


def mask_plane(mask: Any) -> np.ndarray:
    """Check a mask ``(1, H, W)`` of bool or integer labels 0 to 255 and return it as contiguous uint8 ``(H, W)``.
    TypeError: no array; ValueError: wrong shape, no pixels, or values that are no labels."""
    plane = _plane(mask, "mask")
    if plane.dtype == np.uint8 or plane.dtype == np.bool_:
        return np.ascontiguousarray(plane, dtype=np.uint8)
    labels = plane.astype(np.uint8)
    if not np.array_equal(labels, plane):
        raise ValueError(
            f"The mask is of type {plane.dtype} with values from {plane.min():g} to {plane.max():g}; "
            "expected whole labels from 0 to 255."
        )
    return np.ascontiguousarray(labels)


def view_size(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels from one number (a square) or two; a ConfigurationError for all else, or a side below
    1."""
    sides = (size, size) if isinstance(size, (int, np.integer)) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in sides):
        raise ConfigurationError(f"size is {size!r}; give one side in pixels, or [height, width], each at least 1.")
    return int(sides[0]), int(sides[1])
