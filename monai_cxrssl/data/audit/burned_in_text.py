# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Detection of text burned into the pixels.

Letters that a modality or a viewer writes are thin, of one grey value each, stand apart from what is around them, and
come in rows. Bones, wires and catheters lack one of these on most images. It is a rule of geometry, not a reader of
text: docs/security.md tells how much it finds and what it misses. A side marker (L, R) is no text, so that rows count
from four shapes on.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

__all__ = ["TextLine", "text_lines"]

# Letters of an image of 2,000 x 2,000 are some 20 to 60 pixels high; half as many are enough to tell them apart.
_LONGEST = 1024
_LOWEST = 6
_HIGHEST = 0.06  # of the longer side
_FEWEST = 4
# How much a stroke stands out, of 255: low ones find faint letters, high ones keep small letters apart.
_STEPS = (45, 70, 110)
# More shapes than that are grain, in which some would stand in a row by chance.
_MOST = 1500


class TextLine(NamedTuple):
    """A row of ``glyphs`` shapes that looks like text; ``box`` is first row, first column, rows, columns in pixels."""

    box: tuple[int, int, int, int]
    glyphs: int


def text_lines(pixels: np.ndarray) -> list[TextLine]:
    """Find rows of at least four shapes that look like burned-in text in ``(H, W)`` uint8 or uint16 pixels.

    The text may be bright or dark, and written across or upwards.
    """
    small, factor = _reduced(pixels)
    lines: list[TextLine] = []
    for picture in (small, 255 - small):
        # What is thinner than the square and brighter than around it.
        square = cv2.getStructuringElement(cv2.MORPH_RECT, (13, 13))
        thin = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, square)
        for step in _STEPS:
            shapes = _shapes(picture, thin > step)
            for order in ([0, 1, 2, 3, 4], [1, 0, 3, 2, 4]):  # across, then upwards
                lines += [_line(shapes[row], factor) for row in _rows_of(shapes[:, order])]
    kept: list[TextLine] = []
    for line in sorted(lines, key=lambda line: (-line.glyphs, line.box)):
        if not any(_overlap(line.box, other.box) for other in kept):
            kept.append(line)
    return kept


def _line(shapes: np.ndarray, factor: float) -> TextLine:
    first = shapes[:, :2].min(axis=0)
    last = (shapes[:, :2] + shapes[:, 2:4]).max(axis=0)
    top, left, rows, columns = (round(float(side) * factor) for side in (*first, *(last - first)))
    return TextLine((top, left, rows, columns), len(shapes))


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))


def _reduced(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """8 bits from the least to the largest value, the longer side at most ``_LONGEST``, and the factor back."""
    factor = max(1.0, max(pixels.shape) / _LONGEST)
    if factor > 1:
        size = (max(1, round(pixels.shape[1] / factor)), max(1, round(pixels.shape[0] / factor)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    low, high = int(pixels.min()), int(pixels.max())
    scaled = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1))
    return scaled.astype(np.uint8), factor


def _shapes(picture: np.ndarray, strokes: np.ndarray) -> np.ndarray:
    """Shapes of the size of letters: first row, first column, rows, columns, grey; ``(n, 5)`` float32."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=8)
    highest = max(20.0, _HIGHEST * max(picture.shape))
    found = []
    for number in range(1, count):
        left, top, width, height, area = stats[number].tolist()
        longest, shortest = max(width, height), min(width, height)
        if not (_LOWEST <= longest <= highest and shortest >= 2 and area >= 10):
            continue
        if area > 0.95 * width * height and longest < 3 * shortest:  # a block; an I or a 1 is a longer one
            continue
        window = np.s_[top : top + height, left : left + width]
        inside = labels[window] == number
        values = picture[window][inside]
        # Smoothing and scaling take grey from the border of a stroke; its core keeps it.
        core = float(np.percentile(values, 75))
        found.append((top, left, height, width, core))
        if len(found) > _MOST:
            return np.zeros((0, 5), dtype=np.float32)
    return np.array(found, dtype=np.float32).reshape(-1, 5)


def _rows_of(shapes: np.ndarray) -> list[np.ndarray]:
    """Rows of shapes (indices from left to right): of one height and grey, on one line, a letter's width apart."""
    order = np.argsort(shapes[:, 1], kind="stable")
    following = {}
    for place, index in enumerate(order):
        top, left, height, width, grey = shapes[index]
        if height < _LOWEST or width > 1.6 * height:
            continue
        others = order[place + 1 :]
        tops, lefts, heights, widths, greys = shapes[others].T
        gap = lefts - (left + width)
        near = (
            (gap > -0.3 * height)
            & (gap < 1.0 * height)
            & (np.abs(heights - height) <= np.maximum(1.5, 0.25 * height))
            & (np.abs((tops + heights) - (top + height)) <= np.maximum(1.5, 0.15 * height))
            & (np.abs(greys - grey) <= 24)
            & (widths <= 1.6 * heights)
        )
        if near.any():
            following[int(index)] = int(others[np.argmax(near)])
    rows = []
    taken: set[int] = set()
    for index in map(int, order):
        if index in taken or index not in following:
            continue
        row = [index]
        while row[-1] in following and following[row[-1]] not in taken:
            row.append(following[row[-1]])
            taken.add(row[-1])
        taken.add(index)
        if len(row) >= _FEWEST:
            rows.append(np.array(row))
    return rows
