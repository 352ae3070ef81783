# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of suspicious files: masks and colour."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.data.reading.dicom import read_dicom
from monai_cxrssl.data.reading.file_kind import read_whole_file
from monai_cxrssl.data.reading.film import MAX_PIXELS
from monai_cxrssl.data.reading.raster import read_raster
from monai_cxrssl.data.reading.volume import read_volume
from monai_cxrssl.errors import CXRReadError

__all__ = ["decode", "is_mask"]

#: Grey values that a drawing of labels has at most.
_LABELS = 16
#: Share of the pixels within a few levels of two values, in a mask that was compressed or resized.
_CLUSTERED, _LEVELS, _APART = 0.97, 8, 48


def decode(path: str, kind: str) -> np.ndarray:
    """Read stored values ``(H, W)`` without words in the log.

    Raises:
        CXRReadError: as of :func:`~monai_cxrssl.data.reading.read.read_film`.
    """
    data = read_whole_file(path)
    if kind == "dicom":
        return read_dicom(path, data, None, MAX_PIXELS, None).pixels
    if kind in ("png", "jpeg", "tiff", "bmp"):
        return read_raster(path, data, kind, MAX_PIXELS).pixels
    return read_volume(path, data, kind, MAX_PIXELS).pixels


def is_mask(path: str, kind: str, named: bool) -> bool:
    """Whether a file holds two values, or with a name that says mask few or one; not when it cannot be read."""
    try:
        pixels = decode(path, kind)
    except CXRReadError:
        return False
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        return named
    levels = pixels if pixels.dtype == np.uint8 else ((pixels - low) * (255 / (high - low))).astype(np.uint8)
    counts = np.bincount(levels.ravel(), minlength=256)
    distinct = np.count_nonzero(counts) if pixels.dtype == np.uint8 else len(np.unique(pixels))
    return bool(distinct <= (_LABELS if named else 2)) or _is_clustered(counts)


def _is_clustered(counts: np.ndarray) -> bool:
    """Whether nearly all pixels are close to one of two levels that are far apart."""
    first = int(counts.argmax())
    others = counts.copy()
    others[max(first - _APART, 0) : first + _APART + 1] = 0
    second = int(others.argmax())
    near = sum(counts[max(value - _LEVELS, 0) : value + _LEVELS + 1].sum() for value in (first, second))
    return bool(others[second] and near >= _CLUSTERED * counts.sum())
