# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM Segmentation (SEG) of the lungs, tied to its radiograph.

Radiographs (CR, DX) are projections: hardly any has a position in the patient's coordinates, and none is made up, since
a viewer would place the mask by it. The mask has the image's rows and columns, and its pixels belong to those of the
image that the Derivation Image functional group names (PS3.3, A.51.5.1). Frame of reference, Patient Orientation and
Imager Pixel Spacing (at the detector, where organs are magnified) are the image's, where it has them. Plane Position,
Plane Orientation and Pixel Measures are written only if the image has all of ``_PLACE``; else its Pixel Spacing stands
beside Rows and Columns, since Table A.51-2 allows Pixel Measures in patient coordinates only. Slice Thickness, which a
projection has none of, counts because highdicom (0.28) reads no Pixel Measures without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.dicom_results.result import Algorithm
from monai_cxrssl.data.dicom_results.source import new_instance, saved, source_header, stored_mask

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from pydicom import Dataset

__all__ = ["write_lung_seg"]

_PLACE = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
_COPIED = ("PatientOrientation", "PixelSpacing", "ImagerPixelSpacing")
_SERIES_NUMBER = 900


def write_lung_seg(
    mask: Any, source: Any, path: str | os.PathLike, algorithm: Algorithm | None = None, structure: str = "lung"
) -> Path:
    """Write a mask as a binary DICOM SEG of one segment, "Lung" (SNOMED CT 39607008) or "Lesion" (52988006).

    The object takes patient and study from its source, and is a series of its own. Its UIDs are new each time.

    Args:
        mask: ``(H, W)`` of bool or of 0 and 1, on the image as ``read_cxr`` shows it, upright; the SEG lies on the
            image as it is stored.
        source: the DICOM image, or its data set; its header is read, not its pixels. Its character set becomes UTF-8,
            and dates, UIDs and ids that are missing or impossible are repaired in the SEG, which the log says.
        path: the file to write and to return; its folder is made, and an older one replaced in one step.
        algorithm: that drew the mask.
        structure: ``"lung"``; anything else is a lesion.

    Raises:
        CXRReadError: the source is no DICOM image, has no rows or columns, or is of another size.
        ConfigurationError: highdicom is not installed, or the mask holds other values.
    """
    header = source_header(source, "DICOM SEG")
    stored = stored_mask(mask, header, source)
    with saved(source, header, path, "DICOM SEG") as made:
        made.append(_segmentation(stored, header, algorithm or Algorithm(), structure))
    return Path(path)


def _segmentation(mask: np.ndarray, header: Dataset, algorithm: Algorithm, structure: str) -> Segmentation:
    import highdicom
    from pydicom.sr.codedict import codes

    is_lung = structure == "lung"
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Lung" if is_lung else "Lesion",
        segmented_property_category=(
            codes.SCT.AnatomicalStructure if is_lung else codes.SCT.MorphologicallyAbnormalStructure
        ),
        segmented_property_type=codes.SCT.Lung if is_lung else codes.SCT.Lesion,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm.identification(),
        display_color=highdicom.color.CIELabColor.from_string("cyan"),
    )
    kept = {keyword: header[keyword].value for keyword in _COPIED if header.get(keyword)}
    placed = all(header.get(keyword) for keyword in _PLACE)
    if not placed:
        kept.setdefault("PatientOrientation", None)  # type 2C: unknown, not absent
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
        segment_descriptions=[segment],
        **new_instance(_SERIES_NUMBER),
        series_description=f"{segment.segment_label} segmentation",
        content_label=segment.segment_label.upper(),
        content_description=f"{segment.segment_label}, drawn by a neural network",
        # A mask without lungs is still a frame that says so.
        omit_empty_frames=False,
    )
    for keyword, value in kept.items():
        setattr(result, keyword, value)
    return result
