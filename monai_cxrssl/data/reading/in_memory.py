# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Images from DICOM data sets and arrays in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.reading.dicom import film_of_dicom
from monai_cxrssl.data.reading.dicom_header import Window
from monai_cxrssl.data.reading.dicom_lookup import check_window
from monai_cxrssl.data.reading.file_kind import refuse_damage
from monai_cxrssl.data.reading.film import MAX_PIXELS, Film, check_size, fit_of
from monai_cxrssl.data.reading.raster import to_unit
from monai_cxrssl.data.reading.writer import ROWS_FIRST
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["film_in_memory", "is_in_memory"]

# They describe how pixels were stored, which those of an array are not any more.
_STORAGE = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PlanarConfiguration", "ExtendedOffsetTable")
_UPRIGHT = "give its DICOM header, or an image of uint8, uint16, or floats from 0 to 1, upright, bone bright"


def is_in_memory(image: Any) -> bool:
    """Return whether an image is one in memory, not the path of one."""
    return not isinstance(image, (str, bytes, os.PathLike))


def film_in_memory(
    image: Any,
    header: Dataset | Mapping[str, Any] | None = None,
    window: Window = "first",
    max_pixels: int = MAX_PIXELS,
    side: int | None = None,
) -> Film:
    """Make the image that its file would be read as.

    Args:
        image: a pydicom data set with its pixels, compressed or not; or ``(1, H, W)``, ``(H, W)`` or, of three samples,
            ``(H, W, 3)``: an array, tensor or ``MetaTensor``.
        header: of an array that holds stored values, as pydicom's ``pixel_array`` gives them, before rescaling, window
            and inversion: a data set, or its values by keyword (``{"PhotometricInterpretation": "MONOCHROME1", ...}``).
            An array without one is upright and bright where dense, as :class:`monai_cxrssl.transforms.LoadCXR` loads
            it, of floats in [0, 1], or of uint8 or uint16, which are taken as those of a picture; spacing and affine
            are those of a ``MetaTensor`` that this package loaded.
        window, max_pixels, side: as in :func:`monai_cxrssl.data.reading.read.read_cxr_uint`.

    Raises:
        CXRReadError: it is not one chest X-ray.
    """
    from pydicom import Dataset

    window = check_window(window)
    fit = fit_of(None, side)
    if not isinstance(image, Dataset) and header is None:
        film = _upright_film(image, max_pixels)
    else:
        about: Any = image if isinstance(image, Dataset) else header
        name = str(getattr(about, "filename", None) or f"image {about.get('SOPInstanceUID', 'in memory')}")
        with refuse_damage(name, "cannot be decoded ({})", typed=True):
            ds = _copied(about) if isinstance(image, Dataset) else _with_pixels(_copied(about), image, name)
            film = film_of_dicom(ds, name, window, max_pixels, fit)
    film.fit = fit
    return film


def _copied(header: Any) -> Dataset:
    """Return a data set of its own, to which elements may be added."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset

    if not isinstance(header, Dataset):
        ds = Dataset()
        for keyword, value in header.items():
            if value is not None:
                setattr(ds, keyword, value)
    else:
        ds = Dataset(dict(header.items()))
        implicit, little = header.original_encoding
        ds.set_original_encoding(implicit, little, header.original_character_set)
    ds.file_meta = getattr(header, "file_meta", None) or FileMetaDataset()
    return ds


def _with_pixels(ds: Dataset, image: Any, name: str) -> Dataset:
    """Put an array into a data set as native pixels."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    pixels = _plane(image, name, samples=3)
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 2:
        stored = pixels.astype(np.int32)
        if not np.array_equal(stored, pixels) or stored.min(initial=0) < -32768 or stored.max(initial=0) > 65535:
            cause = f"is an array of {pixels.dtype} that holds no stored values of 8 or 16 bits"
            raise CXRReadError(name, cause, "Give what pydicom's pixel_array gives, before any rescaling.")
        pixels = stored.astype(np.int16 if stored.min(initial=0) < 0 else np.uint16)
    rows, columns = pixels.shape[:2]
    for keyword, side in (("Rows", rows), ("Columns", columns)):
        if ds.get(keyword, side) != side:
            cause = f"is an array of {rows} x {columns} pixels, and its header says {keyword} {ds.get(keyword)}"
            raise CXRReadError(name, cause, "Give the header of this image, and the image as it is stored.")
    for keyword in _STORAGE:
        ds.pop(keyword, None)
    bits = 8 * pixels.dtype.itemsize
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, 1 if pixels.ndim == 2 else 3
    if pixels.ndim == 3:
        # pydicom's pixel_array is RGB whatever was stored.
        ds.PlanarConfiguration, ds.PhotometricInterpretation = 0, "RGB"
    stored_bits = min(int(ds.get("BitsStored") or bits), bits)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, stored_bits, stored_bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW"
    ds.set_original_encoding(False, True, ds.get("SpecificCharacterSet"))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _upright_film(image: Any, max_pixels: int) -> Film:
    metadata = dict(getattr(image, "meta", None) or {})
    metadata = metadata if metadata.get(ROWS_FIRST) else {}
    name = str(metadata.get("filename_or_obj") or "image in memory")
    pixels = _plane(image, name)
    check_size(name, pixels.shape[0], pixels.shape[1], max_pixels)
    table = None
    if pixels.dtype in (np.uint8, np.uint16):
        pixels, table = to_unit(name, pixels)
    elif pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = pixels.astype(np.float32, copy=False)
    else:
        span = f" from {pixels.min():g} to {pixels.max():g}" if pixels.size else ""
        raise CXRReadError(
            name,
            f"is an array of {pixels.dtype}{span}, of which nothing says how it is shown",
            f"{_UPRIGHT.capitalize()}.",
        )
    spacing = np.asarray(metadata.get("spacing", (np.nan, np.nan)), dtype=np.float64)
    affine = metadata.get("affine")
    return Film(
        name,
        np.ascontiguousarray(pixels),
        table,
        (pixels.shape[0], pixels.shape[1]),
        None if np.isnan(spacing).any() else (float(spacing[0]), float(spacing[1])),
        None if affine is None else np.array(affine, dtype=np.float64),
        # As of a picture's file, so that the means are taken in the same order.
        slope=0.0 if table is None else float(np.abs(np.diff(table)).max()),
    )


def _plane(image: Any, name: str, samples: int = 1) -> np.ndarray:
    """Return ``(H, W)``, or ``(H, W, 3)`` where there may be three samples."""
    pixels = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    if pixels.ndim == 3 and pixels.shape[0] == 1:
        return pixels[0]
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] == samples == 3):
        return pixels
    raise CXRReadError(name, f"is an array of shape {pixels.shape}", "Give one image, (1, H, W) or (H, W).")
