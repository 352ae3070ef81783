# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM secondary capture of an image with overlay and scores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.dicom_results.capture_page import draw_page
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult
from monai_cxrssl.data.dicom_results.source import RESEARCH_USE, new_instance, saved, source_header, source_name
from monai_cxrssl.data.reading.dicom_header import patient_orientation
from monai_cxrssl.errors import CXRReadError

if TYPE_CHECKING:
    from highdicom.sc import SCImage
    from pydicom import Dataset

__all__ = ["write_capture"]

_SERIES_NUMBER = 902
# What was lost once is lost in a copy.
_INHERITED = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def write_capture(
    picture: np.ndarray,
    result: FilmResult,
    source: Any,
    path: str | os.PathLike,
    algorithm: Algorithm | None = None,
) -> Path:
    """Write a colour secondary capture for viewers that show neither SEG nor SR.

    Args:
        picture: ``(h, w)`` uint8, the image of any size, upright, bright = dense.
        result: what is drawn over it and beside it (:func:`~monai_cxrssl.data.dicom_results.capture_page.draw_page`).
        source: the DICOM image, or its data set; its header is read, not its pixels, and repaired where it must be.
        path: the file to write and to return.
        algorithm: that is named.

    Raises:
        CXRReadError: the source is no DICOM image, or a probability is no number.
        ConfigurationError: highdicom is not installed.
    """
    if not result.is_finite:
        raise CXRReadError(source_name(source), "has probabilities that are no numbers", "Check the weights.")
    header = source_header(source, "DICOM secondary capture")
    with saved(source, header, path, "DICOM secondary capture") as made:
        made.append(_capture(draw_page(picture, result, algorithm or Algorithm()), header))
    return Path(path)


def _capture(page: np.ndarray, header: Dataset) -> SCImage:
    from highdicom.sc import SCImage
    from pydicom import Dataset
    from pydicom.uid import ExplicitVRLittleEndian

    is_frontal = {"L", "R"} & set(patient_orientation(header))
    result = SCImage.from_ref_dataset(
        header,
        page,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        # highdicom asks for one; that of a lateral or unknown image is emptied below.
        patient_orientation=("L", "F"),
        **new_instance(_SERIES_NUMBER),
        series_description="Scores and overlay of a neural network, research use only",
        specific_character_set=header.SpecificCharacterSet,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    if not is_frontal:
        result.PatientOrientation = []
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    result.SourceImageSequence = [reference]
    result.ConversionType = "WSD"
    result.BurnedInAnnotation = header.get("BurnedInAnnotation") or "NO"
    result.ImageComments = RESEARCH_USE
    for keyword in _INHERITED:
        if header.get(keyword):
            setattr(result, keyword, header[keyword].value)
    return result
