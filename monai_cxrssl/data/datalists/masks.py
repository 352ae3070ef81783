# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks from run lengths, boxes, polygons, and left and right lungs.

Every mask here is ``(H, W)`` uint8 of 0 and 1, rows first, upright. Coordinates are pixels, ``x`` to the right and
``y`` down; the pixel in column ``c`` and row ``r`` covers ``[c, c + 1) x [r, r + 1)``, so its centre is
``(c + 0.5, r + 0.5)``. A pixel belongs to a box or a polygon when its centre lies inside.

Run lengths come in two conventions, which differ in more than their numbers:

- ``"kaggle"``: pairs of start and length; the first pixel is number 1; pixels are counted down the columns
  (column-major: number 2 lies below number 1). Most competitions use it.
- ``"siim"`` (SIIM-ACR Pneumothorax): pairs of gap and length, each gap counted from the end of the run before it, the
  first from pixel 0; pixels are counted down the columns too; ``-1`` stands for an empty mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["CONVENTIONS", "ORDERS", "boxes_to_mask", "merge_masks", "polygons_to_mask", "rle_decode", "rle_encode"]

CONVENTIONS = ("kaggle", "siim")
ORDERS = ("column", "row")


def rle_decode(rle: str, shape: tuple[int, int], convention: str = "kaggle", order: str = "column") -> np.ndarray:
    """Draw the mask that a run-length text describes: ``(H, W)`` uint8 {0, 1}.

    Args:
        rle: numbers separated by blanks, in pairs; empty, ``"nan"`` or ``"-1"`` is the empty mask.
        shape: ``(H, W)`` of the mask; SIIM's are 1024 x 1024.
        convention: ``"kaggle"`` or ``"siim"``, see above.
        order: ``"column"`` when pixels are counted down the columns, as both conventions do, or ``"row"``.

    Raises:
        DatalistError: the text is no such list, or a run lies outside the mask or overlaps the one before it.
        ConfigurationError: an unknown convention or order, or a shape that is none.
    """
    rows, columns = _checked(shape, convention, order)
    flat = np.zeros(rows * columns, np.uint8)
    text = rle.strip()
    if text.lower() in ("", "nan", "-1"):
        return flat.reshape(rows, columns)
    try:
        numbers = [int(part) for part in text.split()]
    except ValueError as error:
        raise DatalistError(f"The run-length text {_shown(text)} holds something other than whole numbers.") from error
    if len(numbers) % 2:
        raise DatalistError(f"The run-length text {_shown(text)} has {len(numbers)} numbers; expected pairs.")
    end = 0
    for first, length in zip(numbers[::2], numbers[1::2], strict=True):
        start = first - 1 if convention == "kaggle" else end + first
        if length < 1 or start < end or start + length > flat.size:
            raise DatalistError(
                f"The run {first} {length} of the run-length text {_shown(text)} is not a run after the one before it "
                f"within {rows} x {columns} pixels; check the mask's size and the convention ({convention})."
            )
        end = start + length
        flat[start:end] = 1
    return np.ascontiguousarray(flat.reshape((columns, rows)).T) if order == "column" else flat.reshape(rows, columns)


def rle_encode(mask: Any, convention: str = "kaggle", order: str = "column") -> str:
    """Write a mask ``(H, W)``, set where not 0, as run lengths; :func:`rle_decode` gives it back.

    An empty mask is ``""``, or ``"-1"`` in SIIM's convention.

    Raises:
        ConfigurationError: an unknown convention or order, or a mask that is not ``(H, W)``.
    """
    array = _plane(mask)
    _checked((array.shape[0], array.shape[1]), convention, order)
    flat = (array.T if order == "column" else array).reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=np.int8(0), append=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    if not starts.size:
        return "-1" if convention == "siim" else ""
    first = starts + 1 if convention == "kaggle" else starts - np.concatenate(([0], ends[:-1]))
    return " ".join(map(str, np.stack((first, ends - starts), axis=1).reshape(-1).tolist()))


def boxes_to_mask(boxes: Sequence[Sequence[float]], shape: tuple[int, int]) -> np.ndarray:
    """Mark the pixels whose centre lies in any of some boxes, on ``(H, W)`` uint8 {0, 1}.

    Args:
        boxes: ``[x1, y1, x2, y2]`` in pixels each, the second corner exclusive; parts outside the image are cut off.
        shape: ``(H, W)`` of the mask.

    Raises:
        DatalistError: a box is not four finite numbers, or its corners are exchanged.
        ConfigurationError: the shape is none.
    """
    rows, columns = _checked(shape)
    mask = np.zeros((rows, columns), np.uint8)
    for number, box in enumerate(boxes):
        corners = np.asarray(box, dtype=np.float64)
        if corners.shape != (4,) or not np.isfinite(corners).all() or (corners[2:] < corners[:2]).any():
            raise DatalistError(f"Box {number} is {box!r}; expected [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2.")
        # The first centre at or after a corner: half a pixel before it, rounded up.
        ends = np.ceil(corners - 0.5)
        x1, y1, x2, y2 = np.clip(ends, 0, [columns, rows, columns, rows]).astype(int).tolist()
        mask[y1:y2, x1:x2] = 1
    return mask


def polygons_to_mask(polygons: Sequence[Sequence[Sequence[float]]], shape: tuple[int, int]) -> np.ndarray:
    """Mark the pixels whose centre lies in any of some polygons, on ``(H, W)`` uint8 {0, 1}.

    Args:
        polygons: corners ``[[x, y], ...]`` in pixels of each; the last is joined to the first. Where one polygon
            crosses itself, the even-odd rule holds.
        shape: ``(H, W)`` of the mask.

    Raises:
        DatalistError: a polygon has fewer than three corners, or one that is not two finite numbers.
        ConfigurationError: the shape is none.
    """
    rows, columns = _checked(shape)
    mask = np.zeros((rows, columns), np.uint8)
    for number, polygon in enumerate(polygons):
        corners = np.asarray(polygon, dtype=np.float64)
        if corners.ndim != 2 or corners.shape[0] < 3 or corners.shape[1] != 2 or not np.isfinite(corners).all():
            raise DatalistError(f"Polygon {number} is no list of three or more corners [x, y].")
        mask |= _inside(corners, rows, columns)
    return mask


def merge_masks(*masks: Any) -> np.ndarray:
    """Join masks ``(H, W)`` on one grid, such as those of both lungs: uint8 {0, 1}, set where any of them is not 0.

    Raises:
        ConfigurationError: there is none, or they do not have one size.
    """
    planes = [_plane(mask) for mask in masks]
    if not planes:
        raise ConfigurationError("merge_masks was given no mask; expected one or more.")
    if any(plane.shape != planes[0].shape for plane in planes):
        sizes = ", ".join("x".join(map(str, plane.shape)) for plane in planes)
        raise ConfigurationError(f"The masks to merge are {sizes} pixels; expected one size, so resample them first.")
    return np.bitwise_or.reduce(planes).astype(np.uint8)


def _inside(corners: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Even-odd filling, row by row: between each pair of crossings of the line through the pixel centres."""
    mask = np.zeros((rows, columns), np.uint8)
    x1, y1 = corners.T
    x2, y2 = np.roll(corners, -1, axis=0).T
    first = max(0, int(np.ceil(corners[:, 1].min() - 0.5)))
    last = min(rows, int(np.ceil(corners[:, 1].max() - 0.5)))
    for row in range(first, last):
        y = row + 0.5
        # Half-open, so that a corner on the line counts for one of its two edges.
        crossed = (y1 <= y) != (y2 <= y)
        slope = (x2[crossed] - x1[crossed]) / (y2[crossed] - y1[crossed])
        crossings = np.sort(x1[crossed] + (y - y1[crossed]) * slope)
        ends = np.clip(np.ceil(crossings - 0.5), 0, columns).astype(int).tolist()
        for start, stop in list(pairwise(ends))[::2]:
            mask[row, start:stop] = 1
    return mask


def _plane(mask: Any) -> np.ndarray:
    array = np.asarray(mask)
    if array.ndim != 2:
        raise ConfigurationError(f"A mask has the shape {array.shape}; expected (H, W).")
    return (array != 0).astype(np.int8)


def _checked(shape: tuple[int, int], convention: str = "kaggle", order: str = "column") -> tuple[int, int]:
    if convention not in CONVENTIONS or order not in ORDERS:
        raise ConfigurationError(
            f"convention is {convention!r} and order {order!r}; expected one of {', '.join(CONVENTIONS)} and one of "
            f"{', '.join(ORDERS)}."
        )
    if len(shape) != 2 or min(shape) < 1:
        raise ConfigurationError(f"The shape of a mask is {shape!r}; expected (H, W), both at least 1.")
    return int(shape[0]), int(shape[1])


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
