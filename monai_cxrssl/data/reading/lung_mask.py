# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Lung masks as uint8 {0, 1} on their image's grid.

GIF, which no image comes in, is read for masks: the SCR outlines of JSRT are published in it.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.dicom_header import numbers, patient_orientation
from monai_cxrssl.data.reading.display.frame import lift_functional_groups
from monai_cxrssl.data.reading.display.orientation import FilmTurn, is_on_its_side, turn_words
from monai_cxrssl.data.reading.file_kind import open_regular_file, read_whole_file, refuse_damage
from monai_cxrssl.data.reading.film import MAX_PIXELS, Film, check_size
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.errors import CXRReadError

__all__ = ["read_lung_mask", "film_turn", "mask_values", "binarise", "is_polarity_inverted"]

logger = logging.getLogger(__name__)

# A label map names left and right lung, perhaps heart-free regions; a picture saved as JPEG has dozens of values.
_MOST_LABELS = 8


def read_lung_mask(
    path: str | os.PathLike | Sequence[str | os.PathLike],
    shape: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    image: str | os.PathLike | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a lung mask, or a left and a right one that are merged.

    Every label other than the background counts as lung. A mask that marks everything but the lungs is turned round,
    and the log says so. A mask of another size than its image is resampled to it by nearest neighbour.
    Of a DICOM image that was turned upright, a mask with the proportions of the stored pixels is turned with it; any
    other is taken as drawn upright. The log says either.

    Args:
        path: one file (PNG, JPEG, TIFF, BMP, GIF, NIfTI, MHA, NRRD, DICOM), or ``[left, right]``.
        shape: rows and columns of the image; by default those of the (first) mask.
        max_pixels: a larger image is refused before memory is taken.
        image: file of the image, whose header tells whether it was turned.

    Returns:
        uint8 ``(H, W)`` of 0 and 1 (lung), upright; and its metadata, as of ``read_cxr``.

    Raises:
        CXRReadError: a file cannot be read, lies on its side although its image was not turned, or the list is empty.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not paths:
        raise CXRReadError("", "no lung mask was given", "Name one file or the two of [left, right].")
    films = [_read(name, max_pixels) for name in paths]
    masks, warnings, turn = [], [], film_turn(image)
    for film in films:
        mask = binarise(_values(film))
        if is_polarity_inverted(mask):
            mask = 1 - mask
            warnings.append(f"{film.path} marked everything but the lungs (its border is set) and was turned round")
        if not mask.any():
            warnings.append(f"{film.path} marks no lung at all")
        if turn and not any(getattr(note, "kind", "") == "turned" for note in film.warnings):
            mask, words = turn.follow(mask)
            warnings.append(f"{film.path} {words}")
            if mask.shape != film.shape:
                film.shape, film.spacing, film.affine = mask.shape, film.spacing and film.spacing[::-1], None
        if shape and is_on_its_side(mask.shape, shape):
            cause = f"has {mask.shape[0]} x {mask.shape[1]} pixels, but its image has {shape[0]} x {shape[1]} upright"
            raise CXRReadError(film.path, cause, "Turn the mask by a quarter, as its image is shown.")
        masks.append(mask)
    for warning in warnings:
        logger.warning("%s", warning)
    rows, columns = shape or masks[0].shape
    metadata = films[0].metadata((rows, columns))
    metadata["warnings"] += warnings
    masks = [cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT) for mask in masks]
    return np.max(masks, axis=0), metadata


def film_turn(image: str | os.PathLike | None) -> FilmTurn | None:
    """Return how the reader turns an image's file; None where it does not, or the file is gone or no DICOM."""
    if image is None:
        return None
    try:
        ds, _ = read_without_pixels(image)
    except CXRReadError:
        return None
    lift_functional_groups(ds)
    orientation, rows, columns = patient_orientation(ds), numbers(ds, "Rows"), numbers(ds, "Columns")
    if not rows or not columns or not turn_words(orientation):
        return None
    return FilmTurn(orientation, (int(rows[0]), int(columns[0])))


def mask_values(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read the numbers ``(H, W)`` in a mask's file, as :func:`binarise` takes them.

    Raises:
        CXRReadError: the file cannot be read.
    """
    return _values(_read(path, max_pixels))


def binarise(values: np.ndarray) -> np.ndarray:
    """Return uint8 {0, 1} of a mask ``(H, W)`` of any number type: 1 where the lung is. Few distinct values are labels,
    of which all but the lowest are lung; many (lossy compression, smooth edges) are divided half way between two."""
    distinct = np.unique(values)
    if len(distinct) == 1:
        return np.full(values.shape, distinct[0] > 0, np.uint8)
    if len(distinct) <= _MOST_LABELS:
        return (values > distinct[0]).astype(np.uint8)
    return (values > (float(distinct[0]) + float(distinct[-1])) / 2).astype(np.uint8)


def is_polarity_inverted(mask: np.ndarray) -> bool:
    """Return whether a mask ``(H, W)`` of 0 and 1 marks the background: lungs do not fill an image's outermost ring."""
    if min(mask.shape) < 3:
        return False
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return bool(border.mean() > 0.5)


def _read(path: str | os.PathLike, max_pixels: int) -> Film:
    with open_regular_file(path) as file:
        is_gif = file.read(4) == b"GIF8"
    return _read_gif(os.fsdecode(path), max_pixels) if is_gif else read_film(path, window=None, max_pixels=max_pixels)


def _read_gif(path: str, max_pixels: int) -> Film:
    """Read a GIF of one frame, its palette as brightness."""
    from PIL import Image

    data = io.BytesIO(read_whole_file(path))
    with (
        refuse_damage(path, "is a truncated or damaged GIF ({})", "Copy or download it again."),
        Image.open(data, formats=("GIF",)) as image,
    ):
        columns, rows = image.size
        check_size(path, rows, columns, max_pixels)
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            raise CXRReadError(path, f"holds {frames} frames, not one mask", "Save the frame wanted as PNG.")
        fields = {"photometric_interpretation": image.mode, "window": "0 to 255"}
        pixels = np.ascontiguousarray(image.convert("L"))
    return Film(path, pixels, np.arange(256) / 255.0, (rows, columns), fields=fields)


def _values(film: Film) -> np.ndarray:
    """Return the numbers in the file; those of DICOM after its own inversion, so that marked is bright."""
    if film.table is None or (film.pixels.dtype == np.uint8 and np.all(np.diff(film.table) > 0)):
        return film.pixels
    return film.intensities()
