# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM radiographs read as Film."""

from __future__ import annotations

import io
import os
import re
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.reading.dicom_lookup import (
    Window,
    is_inverted,
    modality_values,
    numbers,
    padding_values,
    voi_intensities,
)
from monai_cxrssl.data.reading.dicom_pixels import read_pixel_module, read_stored_pixels
from monai_cxrssl.data.reading.file_kind import file_kind, open_regular_file, read_whole_file
from monai_cxrssl.data.reading.film import Film
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["read_dicom", "read_dicom_element", "read_dicom_header"]

_DEFLATED = "1.2.840.10008.1.2.1.99"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Deflated DICOM: no film inflates beyond this.
MAX_INFLATED_BYTES = 512 * 2**20
_REFETCH = "Fetch the file again from its source."
_FLIPPED = {"R": "mirrored (its rows run to the patient's right)", "H": "upside down (its columns run to the head)"}


def read_dicom_header(path: str | os.PathLike) -> dict[str, Any]:
    """Read who, what and which view of a DICOM file, without its pixels.

    Args:
        path: the file.

    Returns:
        ``patient_id``, ``study_id`` (StudyInstanceUID), ``view_position`` (``"PA"``, ``"AP"``, ``"LL"``, ``"RL"``,
        ``"LATERAL"`` or what the file says), ``modality``, ``sex`` (``"M"``, ``"F"``, ``"O"``), each ``""`` when
        unknown; ``age`` in years or None; ``rows``, ``columns`` or None; ``sop_class`` in words; ``has_pixels``.

    Raises:
        CXRReadError: not a DICOM file, or its header cannot be parsed.
    """
    ds, has_pixels = _read_header(os.fsdecode(path))
    age = re.fullmatch(r"0*(\d{1,3})([DWMY])", str(ds.get("PatientAge") or "").strip().upper())
    rows, columns = numbers(ds, "Rows"), numbers(ds, "Columns")
    return {
        **_identity(ds),
        "sex": str(ds.get("PatientSex") or "").strip().upper()[:1],
        "age": int(age[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[2]] if age else None,
        "rows": int(rows[0]) if rows else None,
        "columns": int(columns[0]) if columns else None,
        "sop_class": _sop_class(ds),
        "has_pixels": has_pixels,
    }


def read_dicom_element(path: str | os.PathLike, keyword: str) -> str:
    """Read one element of a DICOM header as text, without the pixels.

    Args:
        path: the file.
        keyword: the element's DICOM keyword, such as ``"AccessionNumber"``.

    Returns:
        The value without blanks around it; empty when the header lacks it.

    Raises:
        CXRReadError: not a DICOM file, or its header cannot be parsed.
    """
    name = os.fsdecode(path)
    ds, _ = _read_header(name)
    try:
        return str(ds.get(keyword) or "").strip()
    except Exception as error:  # a damaged element may fail in any of pydicom's converters
        raise CXRReadError(name, f"has a damaged DICOM header ({_words(error)})", _REFETCH) from error


def read_dicom(path: str, data: bytes | None, window: Window, max_pixels: int, max_side: int | None) -> Film:
    """Read a DICOM radiograph.

    Args:
        path: the file.
        data: its content, or None to read it.
        window: as :func:`monai_cxrssl.data.reading.dicom_lookup.check_window` returns it.
        max_pixels: a larger image is refused before memory is taken.
        max_side: lets JPEG 2000 be decoded at a lower resolution.

    Raises:
        CXRReadError: it is not one readable grey-scale film; the cause says what it is or what is wrong.
    """
    notes: list[str] = []
    ds = _parse(io.BytesIO(read_whole_file(path) if data is None else data), path)
    try:
        _check_is_image(ds, path)
        module = read_pixel_module(ds, path, max_pixels, notes)
        pixels, meaning = read_stored_pixels(ds, module, path, notes, max_side)
        table, inverted, used = _compose(ds, pixels, meaning, window, path, notes)
        _note_orientation(ds, notes)
        fields = {
            **_identity(ds),
            "photometric_interpretation": str(ds.get("PhotometricInterpretation") or "").strip().upper(),
            "bits_stored": module.bits_stored,
            "inverted": inverted,
            "window": used,
        }
    except CXRReadError:
        raise
    except Exception as error:  # a damaged element may fail in any of pydicom's converters
        raise CXRReadError(path, f"has a damaged DICOM header ({_words(error)})", _REFETCH) from error
    shape = (module.rows, module.columns)
    return Film(path, pixels, table, shape, spacing=_spacing(ds), fields=fields, warnings=notes)


def _compose(
    ds: Dataset, pixels: np.ndarray, meaning: np.ndarray, window: Window, path: str, notes: list[str]
) -> tuple[np.ndarray, bool, str]:
    """Return the lookup table of the bit patterns, whether it inverts, and the window in words."""
    values = modality_values(ds, meaning, path, notes)
    padding = padding_values(ds, meaning)
    inverted = is_inverted(ds, notes)
    table, used = voi_intensities(ds, values, window, path, notes)
    if table is None:
        counts = cv2.calcHist([pixels], [0], None, [len(meaning)], [0, len(meaning)])
        present = counts.ravel() > 0
        if padding is not None:
            present &= ~padding
        if present.any():
            low, high = values[present].min(), values[present].max()
            table = np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros(len(values))
        else:
            notes.append("every pixel is padding")
            low = high = 0.0
            table = np.zeros(len(values))
        used = f"min-max {low:g} {high:g}"
        # An image of one value has no contrast to invert.
        if high <= low:
            return table, inverted, used
    if inverted:
        table = 1.0 - table
    if padding is not None:
        table[padding] = 0.0
    return table, inverted, used


def _read_header(name: str) -> tuple[Dataset, bool]:
    """Return what stands before the pixels, and whether there are pixels."""
    with open_regular_file(name) as file:
        head = file.read(4096)
        if file_kind(name, head) != "dicom":
            raise CXRReadError(name, "is not a DICOM file", "Only DICOM has a header of patient and study.")
        file.seek(0)
        # The tag is kept in mind before its value is skipped, so that a film can be told from a report.
        last: list[int] = []

        def before_pixels(tag: Any, vr: str | None, length: int) -> bool:
            stop = tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)
            if stop:
                last.append(int(tag))
            return stop

        return _parse(file, name, stop_when=before_pixels), bool(last)


def _parse(file: Any, path: str, stop_when: Any = None) -> Dataset:
    from pydicom.filereader import read_partial

    try:
        _check_inflation(file, path)
        return read_partial(file, stop_when=stop_when, force=True)
    except CXRReadError:
        raise
    except Exception as error:  # pydicom raises anything from EOFError to RecursionError on damaged files
        raise CXRReadError(path, f"is DICOM that cannot be parsed ({_words(error)})", _REFETCH) from error


def _check_inflation(file: Any, path: str) -> None:
    """Refuse a deflated data set that inflates without end, before pydicom inflates it in one go."""
    from pydicom.filereader import read_dataset

    # Read as pydicom reads it, since the group may be of any length and its stated length is not used there.
    file.seek(128)
    file.seek(132 if file.read(4) == b"DICM" else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    deflated = str(meta.get("TransferSyntaxUID", "")) == _DEFLATED
    block = file.read() if deflated else b""
    file.seek(0)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    while block and not inflater.eof:
        total += len(inflater.decompress(block, 1 << 24))
        block = inflater.unconsumed_tail
        if total > MAX_INFLATED_BYTES:
            raise CXRReadError(
                path,
                f"inflates beyond {MAX_INFLATED_BYTES >> 20} MiB, as a decompression bomb does",
                "Check its origin.",
            )


def _check_is_image(ds: Dataset, path: str) -> None:
    what = _sop_class(ds)
    present = [keyword for keyword in _PIXELS if keyword in ds]
    if not present:
        if "DirectoryRecordSequence" in ds:
            what = "Media Storage Directory (DICOMDIR)"
        if not len(ds):
            raise CXRReadError(path, "is DICOM that breaks off before its first image", _REFETCH)
        raise CXRReadError(
            path,
            f"holds no pixel data: it is {what}",
            "Give the image itself; if it should be one, it was cut.",
        )
    if any(word in what for word in ("Segmentation", "RT Dose", "Parametric Map", "Surface")) or "PixelData" not in ds:
        raise CXRReadError(path, f"is {what}, not an X-ray image", "Give the radiograph itself.")


def _sop_class(ds: Dataset) -> str:
    uid = ds.get("SOPClassUID") or getattr(ds, "file_meta", {}).get("MediaStorageSOPClassUID")
    return f"a DICOM {uid.name}" if uid else "a DICOM file of no stated class"


def _identity(ds: Dataset) -> dict[str, str]:
    return {
        "patient_id": str(ds.get("PatientID") or "").strip(),
        "study_id": str(ds.get("StudyInstanceUID") or "").strip(),
        "view_position": _view_position(ds),
        "modality": str(ds.get("Modality") or "").strip().upper(),
    }


def _view_position(ds: Dataset) -> str:
    said = str(ds.get("ViewPosition") or "").strip().upper()
    if said:
        return said
    sequence = ds.get("ViewCodeSequence") or []
    meaning = str(sequence[0].get("CodeMeaning") or "").lower() if len(sequence) else ""
    for words, view in (
        (("postero-anterior", "posteroanterior", "posterior-anterior"), "PA"),
        (("antero-posterior", "anteroposterior", "anterior-posterior"), "AP"),
        (("left lateral",), "LL"),
        (("right lateral",), "RL"),
        (("lateral",), "LATERAL"),
    ):
        if any(word in meaning for word in words):
            return view
    return ""


def _spacing(ds: Dataset) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        found = numbers(ds, keyword)
        if found and len(found) == 2 and min(found) > 0 and np.isfinite(found).all():
            return found[0], found[1]
    return None


def _note_orientation(ds: Dataset, notes: list[str]) -> None:
    """Say so, but turn nothing, where the header contradicts the way in which chest films are stored."""
    orientation = ds.get("PatientOrientation")
    if orientation is None or isinstance(orientation, str) or len(orientation) != 2:
        return
    for said, letter in zip(orientation, "RH", strict=True):
        if str(said).upper()[:1] == letter:
            notes.append(f"the header says that the film is stored {_FLIPPED[letter]}; it was left as stored")


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
