# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Decoded image: stored pixels with their lookup table to intensities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.errors import CXRReadError

__all__ = [
    "LONGEST_ASPECT",
    "MAX_PIXELS",
    "Film",
    "Fit",
    "Note",
    "display_affine",
    "fit_of",
    "reduced_size",
    "small_size",
    "shrink_to",
    "apply_lookup",
    "min_max_table",
    "check_size",
]

# No detector gives more than 30 million pixels; above this a file is damaged or a decompression bomb.
MAX_PIXELS = 100_000_000

# Longest side in shorter sides: radiographs stay below 1.5, and a strip must not fill the memory.
LONGEST_ASPECT = 2

#: Rows and columns of an image in its file to those of the result, which are never more; None for all.
Fit = Callable[[int, int], tuple[int, int]]

# So many stored values in one grey level of 8 bits make rounding to whole ones harmless.
_FINE_LEVELS = 4 * 255

# OpenCV 5 looks up 16-bit images in vector code; OpenCV 4 takes 8-bit ones only.
_LUT_16_BIT = int(cv2.__version__.split(".")[0]) >= 5


class Note(str):
    """Sentence on how a file was read, with the ``kind`` that an audit counts it by: ``Note("window", "it ...")``."""

    kind: str

    def __new__(cls, kind: str, sentence: str) -> Note:
        """Return the sentence as text with a kind."""
        note = super().__new__(cls, sentence)
        note.kind = kind
        return note

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """Return what a copy is made of."""
        return self.kind, str(self)


@dataclass
class Film:
    """Stored pixels of one image, upright, with what is needed to show them.

    Args:
        path: the file.
        pixels: ``(H, W)``: uint8 or uint16 stored values (bit patterns where the file is signed), or float32.
        table: float64 intensities in [0, 1] of each stored value, 256 or 65,536 of them; None when ``pixels`` are
            float32 intensities in [0, 1] already.
        shape: rows and columns of the image in the file, upright; larger than ``pixels`` after a reduced decode.
        spacing: row and column spacing in mm, or None when the file does not say.
        affine: ``(4, 4)`` float64, (row, column, 0, 1) of the full-size image to RAS mm.
        fields: the metadata of the file that may be shown (an allow-list; never name or birth date).
        warnings: what was odd in the file and how it was understood, as :class:`Note`.
        fit: from ``shape`` to the size that is wanted, None for all pixels.
        slope: where not 0, the rise of the table from each stored value of the image to the next, the same throughout.
    """

    path: str
    pixels: np.ndarray
    table: np.ndarray | None
    shape: tuple[int, int]
    spacing: tuple[float, float] | None = None
    affine: np.ndarray | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    fit: Fit | None = None
    slope: float = 0.0

    def intensities(self) -> np.ndarray:
        """Return float32 ``(H, W)`` in [0, 1], of the size that is wanted."""
        if self.table is None:
            pixels = self.pixels
        else:
            pixels = apply_lookup(self.pixels, self.table.astype(np.float32))
        # Area averaging sums in float32, which may end one unit in the last place above 1.
        return pixels if self.fit is None else np.clip(self._fitted(pixels), 0.0, 1.0)

    def levels(self, bits: int) -> np.ndarray:
        """Return uint8 (``bits=8``) or uint16 (``bits=16``) ``(H, W)`` spanning the full range of the type."""
        top, dtype = (255, np.uint8) if bits == 8 else (65535, np.uint16)
        if self.table is None:
            return self._fitted(np.rint(self.pixels * np.float64(top)).astype(dtype))
        table = np.rint(self.table * top).astype(dtype)
        if self.pixels.dtype == dtype and np.array_equal(table, np.arange(top + 1)):
            return self._fitted(self.pixels)
        if bits == 8 and self.fit is not None and 0 < abs(self.slope) * _FINE_LEVELS <= 1:
            # The mean of a straight line's values is its value of the mean: few pixels are looked up, not all.
            return apply_lookup(self._fitted(self.pixels), table)
        return self._fitted(apply_lookup(self.pixels, table))

    def _fitted(self, pixels: np.ndarray) -> np.ndarray:
        return pixels if self.fit is None else shrink_to(pixels, self.fit(*self.shape))

    def metadata(self, shape: tuple[int, int]) -> dict[str, Any]:
        """Return the metadata of this image at a given size, as plain Python values and one array (``affine``)."""
        scale = (self.shape[0] / shape[0], self.shape[1] / shape[1])
        affine = display_affine(self.spacing) if self.affine is None else self.affine.copy()
        # The centre of the first pixel moves inwards when pixels grow.
        affine[:3, 3] += affine[:3, 0] * (scale[0] - 1) / 2 + affine[:3, 1] * (scale[1] - 1) / 2
        affine[:3, 0] *= scale[0]
        affine[:3, 1] *= scale[1]
        spacing = None if self.spacing is None else (self.spacing[0] * scale[0], self.spacing[1] * scale[1])
        names = ("view_position", "patient_id", "study_id", "photometric_interpretation", "bits_stored", "modality")
        defaults: dict[str, Any] = dict.fromkeys((*names, "inverted", "window"), "")
        return {
            "filename_or_obj": self.path,
            "spatial_shape": tuple(int(side) for side in shape),
            "original_channel_dim": 0,
            "affine": affine,
            "spacing": spacing,
            **defaults,
            **{"bits_stored": 8, "inverted": False, **self.fields},
            "warnings": list(self.warnings),
        }


def display_affine(spacing: tuple[float, float] | None) -> np.ndarray:
    """Return the affine of an image stored rows first: rows run to -y, columns to -x of RAS, in mm (1 mm if unknown).

    That is the plane every viewer shows with the patient's right on the viewer's left; MONAI's 2D transforms look at x
    and y only, so y is the vertical.
    """
    row, column = spacing or (1.0, 1.0)
    return np.array([[0.0, -column, 0, 0], [-row, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def check_size(path: str, rows: int, columns: int, max_pixels: int) -> None:
    """Refuse (CXRReadError) a side below one pixel or more than ``max_pixels``, before memory is taken for it."""
    if rows < 1 or columns < 1:
        raise CXRReadError(path, f"says that it has {rows} rows and {columns} columns", "Export the image again.")
    if rows * columns > max_pixels:
        raise CXRReadError(
            path,
            f"says that it has {rows} x {columns} pixels, more than the limit of {max_pixels:,}",
            "The header is damaged or the file is a decompression bomb; raise max_pixels only if it is real.",
        )


def apply_lookup(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return ``table[pixels]`` by the fastest route: uint8 or uint16 ``(H, W)`` in, ``table``'s dtype out."""
    if pixels.dtype == np.uint8 or _LUT_16_BIT:
        return cv2.LUT(np.ascontiguousarray(pixels), table)
    return np.take(table, pixels)


def min_max_table(low: float, high: float, size: int = 65536) -> np.ndarray:
    """Return float64 intensities of ``0 … size - 1`` with ``low`` at 0 and ``high`` at 1; all 0 if they are equal."""
    if high <= low:
        return np.zeros(size)
    return np.clip((np.arange(size, dtype=np.float64) - low) / (high - low), 0.0, 1.0)


def fit_of(max_side: int | None, side: int | None) -> Fit | None:
    """Return what brings the longer side down to ``max_side``, or the shorter one to ``side``; None for neither."""
    if side is not None:
        return partial(small_size, side=side)
    return None if max_side is None else partial(reduced_size, max_side=max_side)


def small_size(rows: int, columns: int, side: int) -> tuple[int, int]:
    """Return the rows and columns of an image whose shorter side is brought down to ``side``, never up, or further
    where the longer one would exceed ``LONGEST_ASPECT * side``."""
    scale = min(side / min(rows, columns), LONGEST_ASPECT * side / max(rows, columns))
    return (rows, columns) if scale >= 1 else (max(1, round(rows * scale)), max(1, round(columns * scale)))


def reduced_size(rows: int, columns: int, max_side: int) -> tuple[int, int]:
    """Return the rows and columns of an image whose longer side is brought down to ``max_side``, never up."""
    scale = max_side / max(rows, columns)
    if scale >= 1:
        return rows, columns
    return max(1, math.floor(rows * scale + 0.5)), max(1, math.floor(columns * scale + 0.5))


def shrink_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduce ``(H, W)`` pixels to rows and columns by area averaging, which does not alias as sampling would."""
    if pixels.shape == size:
        return pixels
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
