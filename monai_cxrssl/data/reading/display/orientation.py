# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Turning films upright by Patient Orientation (0020,0020)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["is_transposed", "is_known", "to_stored", "to_upright", "turn_words"]

_OPPOSITE = {"L": "R", "R": "L", "H": "F", "F": "H", "A": "P", "P": "A"}
_VERTICAL = "HF"
_WORDS = {"R": "to the right of the patient", "L": "to the left", "H": "to the head", "F": "to the feet"}
_WORDS |= {"A": "to the front", "P": "to the back"}


def is_known(orientation: tuple[str, ...]) -> bool:
    """Return whether two directions of the patient are given of which just one goes from head to feet or back."""
    return (
        len(orientation) == 2
        and all(direction in _OPPOSITE for direction in orientation)
        and sum(direction in _VERTICAL for direction in orientation) == 1
    )


def is_transposed(orientation: tuple[str, ...]) -> bool:
    """Return whether rows of the upright film are columns of the stored one."""
    return is_known(orientation) and orientation[0] in _VERTICAL


def to_upright(pixels: np.ndarray, orientation: tuple[str, ...]) -> np.ndarray:
    """Return ``(H, W)`` pixels with columns that run to the feet and, of a frontal film, rows that run to the left.

    Args:
        pixels: as stored.
        orientation: directions of rows and columns: L, R, A, P, H or F; a film of other directions is left as it is.
            A lateral film has no such side: it is rotated, never mirrored, so that it looks the way it was taken.
    """
    for step in _steps(orientation):
        pixels = step(pixels)
    return pixels


def to_stored(pixels: np.ndarray, orientation: tuple[str, ...]) -> np.ndarray:
    """Return ``(H, W)`` pixels of an upright film as the file stores them: undo :func:`to_upright`."""
    for step in reversed(_steps(orientation)):  # each step undoes itself
        pixels = step(pixels)
    return pixels


def turn_words(orientation: tuple[str, ...]) -> str:
    """Return how the film is stored, if not upright, else ``""``."""
    if not _steps(orientation):
        return ""
    row, column = (_WORDS[direction] for direction in orientation)
    return f"the header says that rows run {row} and columns {column}; the film was turned upright"


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
