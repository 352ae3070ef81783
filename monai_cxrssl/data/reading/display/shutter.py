# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Display shutters (PS3.3 C.7.6.11): rectangular, circular and polygonal."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from monai_cxrssl.data.reading.film import Note

__all__ = ["Shutter", "hidden_pixels", "hide"]

_SHAPES = ("RECTANGULAR", "CIRCULAR", "POLYGONAL")


@dataclass(frozen=True)
class Shutter:
    """Shutters of an image, as its header writes them: rows and columns from 1, edges and circle within the picture.

    Args:
        shapes: in capitals; what each of the shapes leaves visible, all together leave visible.
        edges: left and right column, upper and lower row; None where one is missing, as the next two.
        circle: row and column of its centre, and its radius.
        vertices: row and column of each vertex of the polygon.
        value: of the hidden pixels, in [0, 1].
    """

    shapes: tuple[str, ...]
    edges: tuple[float, float, float, float] | None = None
    circle: tuple[float, float, float] | None = None
    vertices: tuple[tuple[float, float], ...] | None = None
    value: float = 0.0


def hidden_pixels(shutter: Shutter, shape: tuple[int, int], notes: list[str]) -> np.ndarray | None:
    """Return bool ``shape``, true where a shutter hides the image; None where none does."""
    visible = np.ones(shape, np.uint8)
    for name in shutter.shapes:
        seen = _visible(shutter, name, shape)
        if seen is None or not (visible & seen).any():
            why = "is of an unknown shape" if name not in _SHAPES else "is incomplete" if seen is None else "hides all"
            notes.append(Note("shutter", f"the display shutter {name} {why}; it was left out"))
        else:
            visible &= seen
    return None if visible.all() else visible == 0


def hide(pixels: np.ndarray, table: np.ndarray, hidden: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Return stored pixels and lookup table of an image whose ``hidden`` pixels show ``value``.

    They get a bit pattern that shows it already, or one that no visible pixel has, or that which comes nearest.
    """
    nearest = int(np.abs(table - value).argmin())
    if abs(table[nearest] - value) > 1e-6:
        counts = cv2.calcHist([pixels], [0], (~hidden).astype(np.uint8), [len(table)], [0, len(table)]).ravel()
        free = np.flatnonzero(counts == 0)
        if free.size:
            nearest, table = int(free[0]), table.copy()
            table[nearest] = value
    return np.where(hidden, pixels.dtype.type(nearest), pixels), table


def _visible(shutter: Shutter, name: str, shape: tuple[int, int]) -> np.ndarray | None:
    """Return uint8 ``shape``, 1 where this shape leaves the image visible; None where it is unknown or incomplete."""
    rows, columns = shape
    row, column = np.arange(1, rows + 1)[:, None], np.arange(1, columns + 1)
    if name == "RECTANGULAR" and shutter.edges:
        left, right, upper, lower = shutter.edges
        seen = (column >= left) & (column <= right) & (row >= upper) & (row <= lower)
        return seen.astype(np.uint8)
    if name == "CIRCULAR" and shutter.circle:
        center_row, center_column, radius = shutter.circle
        return ((row - center_row) ** 2 + (column - center_column) ** 2 <= radius**2).astype(np.uint8)
    if name == "POLYGONAL" and shutter.vertices and len(shutter.vertices) > 2:
        points = np.array([(x - 1, y - 1) for y, x in shutter.vertices])
        # Far beyond the image, OpenCV's fixed-point coordinates would wrap round.
        points = np.rint(np.clip(points, -30000, 30000)).astype(np.int32)
        return cv2.fillPoly(np.zeros(shape, np.uint8), [points], 1)
    return None
