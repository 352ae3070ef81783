# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Chest X-ray files of any format as NumPy arrays."""

from __future__ import annotations

import logging
import os
from typing import Any, Literal, overload

import numpy as np

from monai_cxrssl.data.reading.dicom import read_dicom
from monai_cxrssl.data.reading.dicom_header import Window
from monai_cxrssl.data.reading.dicom_lookup import check_window
from monai_cxrssl.data.reading.file_kind import file_kind, read_whole_file, refuse_damage
from monai_cxrssl.data.reading.film import MAX_PIXELS, Film, Fit, fit_of
from monai_cxrssl.data.reading.jsrt_img import read_jsrt_image
from monai_cxrssl.data.reading.raster import read_raster
from monai_cxrssl.data.reading.volume import read_volume
from monai_cxrssl.errors import ConfigurationError, CXRReadError

__all__ = ["check_limits", "read_cxr", "read_cxr_uint", "read_film"]

logger = logging.getLogger(__name__)

Path = str | os.PathLike


def read_cxr(
    path: Path, window: Window = "first", max_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read one chest X-ray of any format.

    Args:
        path: the file; its content decides on the format, not its name.
        window: for DICOM: ``"first"`` takes the VOI LUT, else the first window, that the file prefers; an index takes
            that window, counted from 0; ``[center, width]`` in modality values; None or ``"none"`` takes the image's
            own minimum and maximum, and so does a file without a window.
        max_side: reduce the image by area averaging so that its longer side is at most this, in pixels.
        max_pixels: an image of more pixels is refused before memory is taken.

    Returns:
        float32 ``(H, W)`` in [0, 1], upright, bright = dense; and its metadata: ``filename_or_obj``,
        ``spatial_shape``, ``original_channel_dim``, ``affine``, ``spacing`` ((row, column) in mm or None),
        ``view_position``, ``patient_id``, ``study_id``, ``photometric_interpretation``, ``bits_stored``, ``modality``,
        ``inverted``, ``window`` (what was used, in words) and ``warnings`` (a list of sentences).

    Raises:
        CXRReadError: the file cannot be read as one chest X-ray; it says why and what to do.
        ConfigurationError: an argument is impossible.
    """
    film = read_film(path, window, max_side, max_pixels)
    pixels = film.intensities()
    return pixels, film.metadata(pixels.shape)


@overload
def read_cxr_uint(
    path: Path,
    bits: int = ...,
    window: Window = ...,
    max_side: int | None = ...,
    max_pixels: int = ...,
    *,
    side: int | None = ...,
) -> np.ndarray: ...


@overload
def read_cxr_uint(
    path: Path,
    bits: int = ...,
    window: Window = ...,
    max_side: int | None = ...,
    max_pixels: int = ...,
    *,
    with_metadata: Literal[True],
    side: int | None = ...,
) -> tuple[np.ndarray, dict[str, Any]]: ...


def read_cxr_uint(
    path: Path,
    bits: int = 8,
    window: Window = "first",
    max_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    with_metadata: bool = False,
    side: int | None = None,
) -> np.ndarray | tuple[np.ndarray, dict[str, Any]]:
    """Read one chest X-ray as integers: the same image as :func:`read_cxr`, times 255 or 65,535 and rounded.

    DICOM goes from stored values to the result in one lookup, which is the fastest way to fill a cache. Other arguments
    and errors are those of :func:`read_cxr`.

    Args:
        bits: 8 for uint8, 16 for uint16.
        with_metadata: return the metadata of :func:`read_cxr` as well.
        side: in place of ``max_side``: reduce the image so that its shorter side is at most this, in pixels, and the
            longer one at most twice as long.

    Returns:
        uint8 or uint16 ``(H, W)``, or that and its metadata.
    """
    if bits not in (8, 16):
        raise ConfigurationError(f"bits is {bits!r}; expected 8 or 16.")
    film = read_film(path, window, max_side, max_pixels, side)
    pixels = film.levels(bits)
    return (pixels, film.metadata(pixels.shape)) if with_metadata else pixels


def check_limits(max_side: int | None, max_pixels: int, side: int | None = None) -> None:
    """Refuse limits of an image's size that are no numbers of pixels with a ConfigurationError."""
    for name, value in (("max_side", max_side), ("side", side)):
        if value is not None and (not isinstance(value, (int, np.integer)) or value < 1):
            raise ConfigurationError(f"{name} is {value!r}; expected a number of pixels from 1, or null for all.")
    if max_side is not None and side is not None:
        raise ConfigurationError(f"max_side {max_side} and side {side} are given; expected one of them.")
    if max_pixels < 1:
        raise ConfigurationError(f"max_pixels is {max_pixels!r}; expected a number of pixels from 1.")


def read_film(
    path: Path,
    window: Window = "first",
    max_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    side: int | None = None,
) -> Film:
    """Read one image, its stored values and lookup table apart; arguments and errors are those of
    :func:`read_cxr_uint`."""
    window = check_window(window)
    check_limits(max_side, max_pixels, side)
    fit = fit_of(max_side, side)
    name = os.fsdecode(path)
    # No library's exception may stop a run without the name of the file.
    with refuse_damage(name, "cannot be decoded ({})", typed=True):
        try:
            data = read_whole_file(name)
            # First, because the raw format has no header, and a white border makes it look like a file of zeros.
            film = read_jsrt_image(name, data, max_pixels)
            if film is None:
                film = _decode(name, data, file_kind(name, data[:4096]), window, fit, max_pixels)
        except MemoryError as error:
            raise CXRReadError(name, "needs more memory than there is", "Lower max_pixels or free memory.") from error
    film.fit = fit
    for warning in film.warnings:
        logger.warning("%s: %s", name, warning)
    return film


def _decode(name: str, data: bytes, kind: str, window: Window, fit: Fit | None, max_pixels: int) -> Film:
    if kind == "dicom":
        return read_dicom(name, data, window, max_pixels, fit)
    if kind in ("png", "jpeg", "tiff", "bmp"):
        return read_raster(name, data, kind, max_pixels, window, fit)
    return read_volume(name, data, kind, max_pixels)
