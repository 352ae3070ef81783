# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM radiographs read whole, or their header alone."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.reading.dicom_header import Window, describe, read_header, text, transfer_syntax
from monai_cxrssl.data.reading.dicom_lookup import lookup_table
from monai_cxrssl.data.reading.dicom_pixels import decode_pixels
from monai_cxrssl.data.reading.display.orientation import is_transposed, to_upright, turn_words
from monai_cxrssl.data.reading.display.shutter import hidden_pixels, hide
from monai_cxrssl.data.reading.file_kind import file_kind, open_regular_file, refuse_damage
from monai_cxrssl.data.reading.film import Film, Fit, Note
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset, FileDataset

__all__ = ["film_of_dicom", "read_dicom", "read_dicom_element", "read_dicom_header", "read_without_pixels"]

_DEFLATED = "1.2.840.10008.1.2.1.99"
# Deflated DICOM: no image inflates beyond this.
MAX_INFLATED_BYTES = 512 * 2**20
_DAMAGED_HEADER = "has a damaged DICOM header ({})"


def read_dicom(path: str, data: bytes, window: Window, max_pixels: int, fit: Fit | None) -> Film:
    """Read a DICOM radiograph: its header, then its pixels, then its lookup table.

    ``window`` is as :func:`monai_cxrssl.data.reading.dicom_lookup.check_window` returns it; ``fit`` lets JPEG and
    JPEG 2000 be decoded at a lower resolution.

    Raises:
        CXRReadError: it is not one readable grey-scale image of at most ``max_pixels``, found before memory is taken.
    """
    return film_of_dicom(_parse(io.BytesIO(data), path), path, window, max_pixels, fit)


def film_of_dicom(ds: Dataset, path: str, window: Window, max_pixels: int, fit: Fit | None) -> Film:
    """Decode a data set with its pixels, as :func:`read_dicom` does; ``ds`` gets elements of functional groups."""
    with refuse_damage(path, _DAMAGED_HEADER, typed=True):
        header, pixel_data = read_header(ds, path, window, max_pixels)
        warnings = list(header.warnings)
        # Shutters are drawn on the full size.
        pixels, meaning = decode_pixels(header, pixel_data, warnings, None if header.shutter else fit)
        hidden = hidden_pixels(header.shutter, pixels.shape, warnings) if header.shutter else None
        table, inverted, used = lookup_table(header, pixels, meaning, window, warnings, hidden)
        if header.shutter and hidden is not None:
            pixels, table = hide(pixels, table, hidden, header.shutter.value)
        shape, spacing, orientation = (header.rows, header.columns), header.spacing, header.patient_orientation
        pixels = np.ascontiguousarray(to_upright(pixels, orientation))
        if is_transposed(orientation):
            shape, spacing = shape[::-1], spacing and spacing[::-1]
        if words := turn_words(orientation):
            warnings.append(Note("turned", words))
    fields = {**header.fields, "inverted": inverted, "window": used}
    return Film(path, pixels, table, shape, spacing, fields=fields, warnings=warnings)


def read_dicom_header(path: str | os.PathLike) -> dict[str, Any]:
    """Read who, what and which view of a DICOM file, without its pixels.

    Returns:
        ``patient_id``, ``study_id`` (StudyInstanceUID), ``view_position`` (``"PA"``, ``"AP"``, ``"LL"``, ``"RL"``,
        ``"LATERAL"`` or what the file says), ``modality``, ``sex`` (``"M"``, ``"F"``, ``"O"``), each ``""`` when
        unknown; ``age`` in years or None; ``rows``, ``columns`` as stored, or None; ``patient_orientation``, first
        letters of the directions of rows and columns, or nothing; ``sop_class`` in words; ``has_pixels``;
        ``name_digest`` and ``birth_date_digest``, see
        :func:`monai_cxrssl.data.reading.dicom_header.person_digest`.

    Raises:
        CXRReadError: not a DICOM file, or its header cannot be parsed.
    """
    ds, has_pixels = read_without_pixels(path)
    return {**describe(ds), "has_pixels": has_pixels}


def read_dicom_element(path: str | os.PathLike, keyword: str) -> str:
    """Read one element of a DICOM header as text, ``""`` when it is missing, by its keyword (``"AccessionNumber"``);
    errors as of :func:`read_dicom_header`."""
    ds, _ = read_without_pixels(path)
    with refuse_damage(path, _DAMAGED_HEADER, typed=True):
        return text(ds, keyword)


def read_without_pixels(path: str | os.PathLike) -> tuple[FileDataset, bool]:
    """Parse what stands before the pixels, and say whether there are pixels; errors as of :func:`read_dicom_header`."""
    name = os.fsdecode(path)
    has_pixels = False

    def before_pixels(tag: Any, vr: str | None, length: int) -> bool:
        nonlocal has_pixels
        # Kept before the value is skipped, so that an image can be told from a report.
        has_pixels = tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)
        return has_pixels

    with open_regular_file(name) as file:
        if file_kind(name, file.read(4096)) != "dicom":
            raise CXRReadError(name, "is not a DICOM file", "Only DICOM has a header of patient and study.")
        file.seek(0)
        ds = _parse(file, name, before_pixels)
    return ds, has_pixels


def _parse(file: Any, path: str, stop_when: Any = None) -> FileDataset:
    from pydicom.filereader import read_partial

    with refuse_damage(path, "is DICOM that cannot be parsed ({})", typed=True):
        _check_inflation(file, path)
        return read_partial(file, stop_when=stop_when, force=True)


def _check_inflation(file: Any, path: str) -> None:
    """Refuse a deflated data set that inflates without end, before pydicom inflates it in one go."""
    from pydicom.filereader import read_dataset

    # Read as pydicom reads it, since the group may be of any length and its stated length is not used there.
    file.seek(128)
    file.seek(132 if file.read(4) == b"DICM" else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    block = file.read() if transfer_syntax(meta) == _DEFLATED else b""
    file.seek(0)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    while block and not inflater.eof:
        total += len(inflater.decompress(block, 1 << 24))
        block = inflater.unconsumed_tail
        if total > MAX_INFLATED_BYTES:
            cause = f"inflates beyond {MAX_INFLATED_BYTES >> 20} MiB, as a decompression bomb does"
            raise CXRReadError(path, cause, "Check its origin.")
