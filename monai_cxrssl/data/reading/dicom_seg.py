# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM Segmentation (SEG) of the lungs, tied to its radiograph.

Radiographs (CR, DX) are projections: hardly any has a position in the patient's coordinates, and none is made up, since
a viewer would place the mask by it. The mask has the film's rows and columns, and its pixels belong to those of the
film that the Derivation Image functional group names (PS3.3, A.51.5.1). Frame of reference, Patient Orientation and
Imager Pixel Spacing (at the detector, where organs are magnified) are the film's, where it has them. Plane Position,
Plane Orientation and Pixel Measures are written only if the film has all of ``_PLACE``; else its Pixel Spacing stands
beside Rows and Columns, since Table A.51-2 allows Pixel Measures in patient coordinates only. Slice Thickness, which a
projection has none of, counts because highdicom (0.28) reads no Pixel Measures without it.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.dicom_header import patient_orientation
from monai_cxrssl.data.reading.display.header_repair import repaired_header
from monai_cxrssl.data.reading.display.orientation import to_stored
from monai_cxrssl.data.reading.file_kind import error_words
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import atomic_write
from monai_cxrssl.tiers import import_tier

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom import Dataset

__all__ = ["can_write_dicom_seg", "write_lung_seg"]

logger = logging.getLogger(__name__)

# The standard asks for these even where nothing is known (type 2), and highdicom reads them without asking whether they
# are there; de-identified and exported films often lack some.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
_PLACE = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
_COPIED = ("PatientOrientation", "PixelSpacing", "ImagerPixelSpacing")
# Series numbers of modalities are small; a viewer lists this one behind them.
_SERIES_NUMBER = 900


def can_write_dicom_seg() -> bool:
    """Return whether highdicom, which writes the files, is installed."""
    return find_spec("highdicom") is not None


def write_lung_seg(mask: Any, source: str | os.PathLike, path: str | os.PathLike, name: str = "monai_cxrssl") -> Path:
    """Write a lung mask as a binary DICOM SEG of one segment, "Lung" (SNOMED CT 39607008).

    The object takes patient and study from its source, and is a series of its own. Its UIDs are new each time.

    Args:
        mask: ``(H, W)`` of bool or of 0 and 1, on the film as ``read_cxr`` shows it, upright; the SEG lies on the
            film as it is stored.
        source: the DICOM film; its header is read, not its pixels. Its character set becomes UTF-8, and dates, UIDs
            and ids that are missing or impossible are repaired in the SEG, which the log says.
        path: the file to write and to return; its folder is made, and an older one replaced in one step.
        name: of the algorithm that drew the mask, up to 64 letters.

    Raises:
        CXRReadError: the source is no DICOM film, has no rows or columns, or is of another size.
        ConfigurationError: the mask holds other values.
        MissingTierError: highdicom is not installed.
    """
    import_tier("highdicom")
    drawn = np.asarray(mask)
    if drawn.ndim != 2 or not np.isin(drawn, (0, 1)).all():
        raise ConfigurationError(f"The mask is {drawn.dtype} of shape {drawn.shape}; expected (H, W) of 0 and 1.")
    film = os.fsdecode(source)
    header = _header(film)
    drawn = to_stored(drawn, patient_orientation(header))
    if drawn.shape != (header.Rows, header.Columns):
        cause = f"stores {header.Rows} x {header.Columns} pixels, and its mask has {drawn.shape[0]} x {drawn.shape[1]}"
        raise CXRReadError(film, cause, "Draw the mask on the film as it is stored.")
    target = Path(path)
    try:
        with atomic_write(target) as partial:
            _segmentation(drawn.astype(np.uint8), header, name).save_as(partial, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:  # pydicom and highdicom raise anything from KeyError to TypeError on odd headers
        partial.unlink(missing_ok=True)
        cause = f"has a header that a DICOM SEG cannot refer to ({error_words(error, typed=True)})"
        raise CXRReadError(film, cause, "Export the film again from its archive.") from error
    return target


def _header(film: str) -> Dataset:
    """Return the header of a film, repaired, with what highdicom needs of it."""
    stated, _ = read_without_pixels(film)
    missing = [keyword for keyword in ("Rows", "Columns") if not stated.get(keyword)]
    if missing:
        cause = f"lacks {', '.join(missing)}, by which a DICOM SEG refers to its source"
        raise CXRReadError(film, cause, "Use the mask as PNG or NIfTI, or export the film again from its archive.")
    header, repaired = repaired_header(stated, film)
    if repaired:
        logger.warning("%s: in the header of its DICOM SEG, %s", film, "; ".join(repaired))
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    # An empty one would be copied as the name of a coordinate system.
    if not header.get("FrameOfReferenceUID"):
        header.pop("FrameOfReferenceUID", None)
    return header


def _segmentation(mask: np.ndarray, header: Dataset, name: str) -> Segmentation:
    import highdicom
    from pydicom.sr.codedict import codes

    from monai_cxrssl import __version__

    # It tells of each module that it copies, some ten lines for a film.
    if logging.getLogger("highdicom").level == logging.NOTSET:
        logging.getLogger("highdicom").setLevel(logging.WARNING)
    lung = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Lung",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Lung,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=name, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        display_color=highdicom.color.CIELabColor.from_string("cyan"),
    )
    kept = {keyword: header[keyword].value for keyword in _COPIED if header.get(keyword)}
    placed = all(header.get(keyword) for keyword in _PLACE)
    if placed:
        del kept["PixelSpacing"]
    else:
        # highdicom goes by these; a part of them gives no place.
        for keyword in ("ImagePositionPatient", "PixelSpacing"):
            header.pop(keyword, None)
    result = highdicom.seg.Segmentation(
        source_images=[header],
        pixel_array=mask,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[lung],
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="monai_cxrssl contributors",
        manufacturer_model_name="monai_cxrssl",
        software_versions=__version__,
        # Required to hold something; software has none.
        device_serial_number="none",
        series_description="Lung segmentation",
        content_label="LUNG",
        content_description="Lungs, drawn by a neural network",
        # A mask without lungs is still a frame that says so.
        omit_empty_frames=False,
    )
    for keyword, value in kept.items():
        setattr(result, keyword, value)
    return result
