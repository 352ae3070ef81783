# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Turning images and their masks upright by Patient Orientation (0020,0020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = [
    *("FilmTurn", "boxes_to_upright", "is_known", "is_on_its_side", "is_transposed", "to_stored", "to_upright"),
    "turn_words",
]

_OPPOSITE = {"L": "R", "R": "L", "H": "F", "F": "H", "A": "P", "P": "A"}
_VERTICAL = "HF"
_WORDS = {"R": "to the right of the patient", "L": "to the left", "H": "to the head", "F": "to the feet"}
_WORDS |= {"A": "to the front", "P": "to the back"}
# Rounding of sizes in a chain of exports changes an aspect by less.
_ASPECT_TOLERANCE = 0.05


@dataclass(frozen=True)
class FilmTurn:
    """Patient Orientation by which an image was turned upright, and its rows and columns as stored."""

    orientation: tuple[str, ...]
    shape: tuple[int, int]

    def follow(self, mask: np.ndarray) -> tuple[np.ndarray, str]:
        """Return a mask ``(H, W)`` upright, and what was done, in words.

        Its proportions tell a mask of the stored pixels from one of the upright image where the two differ. Where they
        do not, it is taken as drawn upright, as this package writes masks.
        """
        if is_transposed(self.orientation) and is_on_its_side(mask.shape, self.shape[::-1]):
            return to_upright(mask, self.orientation), "was drawn on the stored image, and turned upright with it"
        return mask, "was taken as drawn on the image turned upright, which is stored otherwise; check it"


def is_known(orientation: tuple[str, ...]) -> bool:
    """Return whether two directions of the patient are given of which just one goes from head to feet or back."""
    return (
        len(orientation) == 2
        and all(direction in _OPPOSITE for direction in orientation)
        and sum(direction in _VERTICAL for direction in orientation) == 1
    )


def is_transposed(orientation: tuple[str, ...]) -> bool:
    """Return whether rows of the upright image are columns of the stored one."""
    return is_known(orientation) and orientation[0] in _VERTICAL


def to_upright(pixels: np.ndarray, orientation: tuple[str, ...]) -> np.ndarray:
    """Return ``(H, W)`` pixels with columns that run to the feet and, of a frontal image, rows that run to the left.

    Args:
        pixels: as stored.
        orientation: directions of rows and columns: L, R, A, P, H or F; an image of other directions is left as it is.
            A lateral image has no such side: it is rotated, never mirrored, so that it looks the way it was taken.
    """
    for step in _steps(orientation):
        pixels = step(pixels)
    return pixels


def to_stored(pixels: np.ndarray, orientation: tuple[str, ...]) -> np.ndarray:
    """Return ``(H, W)`` pixels of an upright image as the file stores them: undo :func:`to_upright`."""
    for step in reversed(_steps(orientation)):  # each step undoes itself
        pixels = step(pixels)
    return pixels


def is_on_its_side(shape: tuple[int, ...], film: tuple[int, int]) -> bool:
    """Return whether a mask's ``(H, W)`` has the proportions of an image's rows and columns exchanged."""
    aspect, upright = math.log(shape[0] / shape[1]), math.log(film[0] / film[1])
    return abs(aspect + upright) <= _ASPECT_TOLERANCE < abs(aspect - upright)


def boxes_to_upright(boxes: np.ndarray, orientation: tuple[str, ...], shape: tuple[int, int]) -> np.ndarray:
    """Return float64 ``(N, 4)`` boxes of x1, y1, x2, y2 on the upright image; ``shape`` is of the stored one."""
    # The corners of the stored image go where its pixels go.
    boxes, (rows, columns) = np.array(boxes, dtype=np.float64).reshape(-1, 4), shape
    for step in _steps(orientation):
        if step is np.transpose:
            boxes, rows, columns = boxes[:, [1, 0, 3, 2]], columns, rows
        elif step is np.flipud:
            boxes[:, [1, 3]] = rows - boxes[:, [3, 1]]
        else:
            boxes[:, [0, 2]] = columns - boxes[:, [2, 0]]
    return boxes


def turn_words(orientation: tuple[str, ...]) -> str:
    """Return how the image is stored, if not upright, else ``""``."""
    if not _steps(orientation):
        return ""
    row, column = (_WORDS[direction] for direction in orientation)
    return f"the header says that rows run {row} and columns {column}; the image was turned upright"


def _steps(orientation: tuple[str, ...]) -> list[Callable[[np.ndarray], np.ndarray]]:
    if not is_known(orientation):
        return []
    row, column = orientation
    steps: list[Callable[[np.ndarray], np.ndarray]] = [np.transpose] if row in _VERTICAL else []
    if steps:
        row, column = column, row
    if column == "H":
        steps.append(np.flipud)
    mirrored = row == "R"
    if row in "AP":
        # A transposition and each flip mirror: of a rotation there is an even number.
        mirrored = len(steps) % 2 == 1
    if mirrored:
        steps.append(np.fliplr)
    return steps
