# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixel spacing of images, and of the grid after resizing.

DICOM states it in its header, NIfTI, MHA and NRRD in their affine; JSRT's raw images are all of one. PNG, JPEG, TIFF
and BMP state the resolution of a print.

Example:
    >>> grid_spacing((2048, 1024), (256, 256), "pad", spacing=(0.2, 0.2))
    (1.6, 1.6)
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.dicom_header import numbers
from monai_cxrssl.data.reading.file_kind import file_kind, open_regular_file
from monai_cxrssl.data.reading.jsrt_img import JSRT_BYTES
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["film_spacing", "grid_spacing", "plausible_spacing"]

Spacing = tuple[float, float]

# In this order. Pixel Spacing is the distance in the patient where the image was calibrated, and equals the one at the
# detector where it was not (DICOM PS3.3, 10.7.1.1), so it is the better of the two whenever it is there. Imager Pixel
# Spacing is the distance at the detector, where an organ is magnified by 5 to 20 %. Nominal Scanned Pixel Spacing is
# that of a digitised sheet of image.
_ATTRIBUTES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")

# A side of an image in mm: a cropped image of a newborn, and a sheet of a whole spine.
_SHORTEST, _LONGEST = 30.0, 1300.0
# Detectors have square pixels; images distorted by an export hardly exceed this.
_LARGEST_RATIO = 4.0


def film_spacing(path: str | os.PathLike) -> Spacing | None:
    """Return row and column spacing of an image in mm, upright and at its full size.

    A DICOM header is read without its pixels; NIfTI, MHA, NRRD and JSRT files are read whole. None where
    :func:`plausible_spacing` refuses it, or for the 1 x 1 mm that programs write into NIfTI, MHA and NRRD when they
    know none. CXRReadError: the file cannot be read.
    """
    name = os.fsdecode(path)
    with open_regular_file(name) as file:
        head = file.read(4096)
        size = os.fstat(file.fileno()).st_size
    if size == JSRT_BYTES and Path(name).suffix.lower() == ".img":
        film = read_film(name)
        return plausible_spacing(film.spacing, film.shape)
    kind = file_kind(name, head)
    if kind == "dicom":
        return _dicom_spacing(name)
    if kind in ("png", "jpeg", "tiff", "bmp"):
        return None
    film = read_film(name, window=None)
    if film.spacing is not None and all(math.isclose(side, 1.0, rel_tol=1e-6) for side in film.spacing):
        return None
    return plausible_spacing(film.spacing, film.shape)


def plausible_spacing(spacing: Sequence[float] | None, shape: Sequence[int | None]) -> Spacing | None:
    """Return a row and column spacing in mm if a chest X-ray of ``shape`` (rows and columns, None where unknown) can
    have it.

    None: it is no pair of positive finite numbers, its pixels are four times as long as wide, or the image would be
    shorter than 3 cm or longer than 130 cm.
    """
    if spacing is None or len(spacing) != 2:
        return None
    row, column = (float(value) for value in spacing)
    # NaN fails each comparison, so it ends here too.
    if not (0 < row < math.inf and 0 < column < math.inf and 1 / _LARGEST_RATIO < row / column < _LARGEST_RATIO):
        return None
    for pixels, side in zip(shape, (row, column), strict=True):
        if pixels is not None and not _SHORTEST <= pixels * side <= _LONGEST:
            return None
    return row, column


def grid_spacing(
    film_shape: Sequence[int], grid_shape: Sequence[int], mode: str = "pad", spacing: Sequence[float] | None = None
) -> Spacing:
    """Return row and column spacing, in mm, of the grid that a whole image was resized to.

    Args:
        film_shape, grid_shape: rows and columns.
        mode: of :class:`monai_cxrssl.transforms.ResizeCXR`: ``"pad"``, ``"stretch"`` or ``"crop"``.
        spacing: row and column spacing of the image in mm; None for a result in pixels of the image.

    Raises:
        ConfigurationError: another mode.
        DatalistError: a shape or spacing that is not two positive numbers.
    """
    for what, pair in (("film_shape", film_shape), ("grid_shape", grid_shape), ("spacing", spacing or (1.0, 1.0))):
        if len(pair) != 2 or not all(0 < value < math.inf for value in pair):
            raise DatalistError(f"{what} is {tuple(pair)}; expected two positive numbers, for rows and columns.")
    rows, columns = film_shape
    height, width = grid_shape
    if mode == "pad":
        factor = min(height / rows, width / columns)
        # The image is drawn on whole pixels, so the two directions may differ by a rounding.
        height, width = (max(1, min(height, round(rows * factor))), max(1, min(width, round(columns * factor))))
    elif mode == "crop":
        kept = (round(columns * height / width), round(rows * width / height))
        rows, columns = max(1, min(rows, kept[0])), max(1, min(columns, kept[1]))
    elif mode != "stretch":
        raise ConfigurationError(f"mode is {mode!r}; choose one of 'pad', 'stretch', 'crop'.")
    row, column = spacing or (1.0, 1.0)
    return float(row) * rows / height, float(column) * columns / width


def _dicom_spacing(name: str) -> Spacing | None:
    ds, _ = read_without_pixels(name)
    sides = [numbers(ds, keyword) for keyword in ("Rows", "Columns")]
    shape = [int(side[0]) if side else None for side in sides]
    spacings = (plausible_spacing(numbers(ds, keyword), shape) for keyword in _ATTRIBUTES)
    return next((spacing for spacing in spacings if spacing is not None), None)
