# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM header of a chest X-ray, or of something else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.dicom_header import describe, text
from monai_cxrssl.data.sources.chest_film.body_part import other_body_part
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["KEPT_MODALITIES", "header_of", "read_film_header", "why_no_film"]

logger = logging.getLogger(__name__)

KEPT_MODALITIES = frozenset({"CR", "DX", "DR", "RG", "RF", "OT", ""})
_REFERENCES = ("SourceImageSequence", "ReferencedImageSequence", "ReferencedInstanceSequence")
_RAW_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.3.1")
_TIMES = ("Acquisition", "Content")
#: Texts on what was taken, those of the image before those of the study.
_DESCRIPTIONS = (
    "ProtocolName", "SeriesDescription", "AcquisitionDeviceProcessingDescription", "PerformedProcedureStepDescription",
    "RequestedProcedureDescription", "StudyDescription",
)  # fmt: skip
_OTHER_OBJECTS = ("Segmentation", "RT Dose", "Parametric Map", "Surface")


def read_film_header(path: str) -> dict[str, Any]:
    """Read what tells whether a DICOM file is an image, and whose, without its pixels.

    Returns:
        what :func:`~monai_cxrssl.data.reading.dicom.read_dicom_header` does, and ``frames``, ``colour`` (stored so; it
        may hold grey), ``bits``, ``raw`` (FOR PROCESSING), ``body_part`` (the word that says another part than the
        chest, or empty), ``instance``, ``references``, ``acquired``, ``number``. ``broken_off``: nothing but the file
        meta information is there.

    Raises:
        CXRReadError: not a DICOM file, or its header cannot be parsed.
    """
    ds, has_pixels = read_without_pixels(path)
    return {**describe(ds), "has_pixels": has_pixels, "broken_off": not len(ds), **_kind_of_image(ds), **_exposure(ds)}


def header_of(path: str, header_reader: Callable[[str], dict[str, Any]] | None = None) -> dict[str, Any]:
    """Read a header, by default as :func:`read_film_header`; empty when it cannot be read."""
    try:
        return (header_reader or read_film_header)(path) or {}
    except Exception as error:  # pydicom raises many kinds on damaged files; the reader will name the cause
        logger.debug("no DICOM header in %s (%s)", path, error)
        return {}


def why_no_film(path: str, header: Mapping[str, Any], modalities: Collection[str]) -> tuple[str, str]:
    """Return the kind of what is left out and its detail, both empty for images and where the header does not tell."""
    if not header or header.get("broken_off"):
        return "", ""  # damaged: the reader will name the cause
    words = str(header.get("sop_class") or "").removeprefix("a DICOM ")
    if not header.get("has_pixels", True):
        return "no_pixels", words
    modality = str(header.get("modality") or "").strip().upper()
    if modality not in modalities:
        return "modality", modality or "no modality"
    if header.get("bits") == 1 or any(word in words for word in _OTHER_OBJECTS):
        return "mask", words
    if (header.get("frames") or 1) > 1:
        return "frames", ""
    if header.get("body_part"):
        return "body_part", str(header["body_part"])
    if header.get("colour") and _holds_colour(path):
        return "colour", ""
    return "", ""


def _kind_of_image(ds: Dataset) -> dict[str, Any]:
    samples, photometric = _whole(ds, "SamplesPerPixel"), text(ds, "PhotometricInterpretation").upper()
    intent = text(ds, "PresentationIntentType").upper()
    return {
        "frames": _whole(ds, "NumberOfFrames"),
        "bits": _whole(ds, "BitsAllocated"),
        "colour": (samples or 1) > 1 or (bool(photometric) and not photometric.startswith("MONOCHROME")),
        "raw": intent == "FOR PROCESSING" or (not intent and text(ds, "SOPClassUID") in _RAW_CLASSES),
        "body_part": other_body_part(
            text(ds, "BodyPartExamined"),
            " ".join(_meanings(ds, "AnatomicRegionSequence")),
            " ".join([text(ds, "ViewPosition"), *_meanings(ds, "ViewCodeSequence")]),
            [text(ds, keyword) for keyword in _DESCRIPTIONS],
        ),
    }


def _exposure(ds: Dataset) -> dict[str, Any]:
    """What tells which exposure an image is of."""
    sequences = [ds.get(keyword) or [] for keyword in _REFERENCES]
    references = {text(item, "ReferencedSOPInstanceUID") for sequence in sequences for item in sequence}
    times = (text(ds, f"{event}DateTime") or text(ds, f"{event}Date") + text(ds, f"{event}Time") for event in _TIMES)
    return {
        "instance": text(ds, "SOPInstanceUID"),
        "references": frozenset(references - {""}),
        # To the second, with a date: two systems round the fractions differently.
        "acquired": next((time[:14] for time in times if len(time) >= 14), ""),
        "number": text(ds, "InstanceNumber"),
    }


def _meanings(ds: Dataset, keyword: str) -> list[str]:
    return [text(item, "CodeMeaning") for item in ds.get(keyword) or []]


def _whole(ds: Dataset, keyword: str) -> int | None:
    try:
        return int(str(ds.get(keyword)))
    except ValueError:
        return None


def _holds_colour(path: str) -> bool:
    """Whether the reader refuses the pixels as colour: grey ones that are stored as colour are an image."""
    from monai_cxrssl.data.sources.chest_film.pixels import decode

    try:
        decode(path, "dicom")
    except CXRReadError as error:
        return "colour" in error.cause
    return False
