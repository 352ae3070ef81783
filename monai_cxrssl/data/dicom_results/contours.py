# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM presentation state (GSPS) of mask contours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from monai_cxrssl.data.dicom_results.source import new_instance, saved, source_header, stored_mask

if TYPE_CHECKING:
    from highdicom.pr import GraphicObject, GrayscaleSoftcopyPresentationState
    from pydicom import Dataset

__all__ = ["write_contours"]

_SERIES_NUMBER = 903
# Points of one polyline: Graphic Data is FL, whose length in Explicit VR is below 65,536 bytes.
_MOST_POINTS = 8000


def write_contours(mask: Any, source: Any, path: str | os.PathLike, structure: str = "lung") -> Path:
    """Write the outlines of a mask as a grayscale softcopy presentation state of its image.

    Outer and inner outlines run through the centres of the mask's border pixels, closed, in pixels of the image as it
    is stored. Window and polarity are the image's own, so that it looks as before beneath them.

    Args:
        mask: ``(H, W)`` of bool or of 0 and 1, on the image upright; one without a pixel gives a state without
        outlines. source: the DICOM image, or its data set; its header is read, not its pixels, and repaired where it
        must be. path: the file to write and to return.
        structure: that the mask shows, for layer and label.

    Raises:
        CXRReadError: the source is no DICOM image, or is of another size.
        ConfigurationError: highdicom is not installed, or the mask holds other values.
    """
    header = source_header(source, "DICOM GSPS")
    stored = stored_mask(mask, header, source)
    with saved(source, header, path, "DICOM GSPS") as made:
        made.append(_state(stored, header, structure))
    return Path(path)


def _state(mask: np.ndarray, header: Dataset, structure: str) -> GrayscaleSoftcopyPresentationState:
    import highdicom
    from highdicom import pr

    label = "LUNG" if structure == "lung" else "LESION"
    layer = pr.GraphicLayer(
        label, order=1, description=f"{label.title()} outlines drawn by a neural network, research use only",
        display_color=highdicom.color.CIELabColor.from_string("cyan"),
    )  # fmt: skip
    outlines = _outlines(mask)
    is_inverted = header.get("PhotometricInterpretation") == "MONOCHROME1" or (
        header.get("PresentationLUTShape") == "INVERSE"
    )
    return pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[header],
        **new_instance(_SERIES_NUMBER),
        series_description=f"{label.title()} outlines, research use only",
        content_label=f"{label} OUTLINES",
        content_description=f"{label.title()} outlines drawn by a neural network",
        graphic_layers=[layer],
        graphic_annotations=[pr.GraphicAnnotation([header], layer, graphic_objects=outlines)] if outlines else None,
        presentation_lut_transformation=highdicom.PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if is_inverted else "IDENTITY"
        ),
    )


def _outlines(mask: np.ndarray) -> list[GraphicObject]:
    from highdicom import pr

    objects = []
    for border in cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]:
        # The first pixel reaches from 0 to 1, its centre is at 0.5 (PS3.3, C.10.5.1.2).
        points = border[:, 0].astype(np.float64) + 0.5
        if len(points) == 1:
            objects.append(pr.GraphicObject(pr.GraphicTypeValues.POINT, points, pr.AnnotationUnitsValues.PIXEL))
            continue
        points = np.concatenate([points, points[:1]])
        for start in range(0, len(points) - 1, _MOST_POINTS):
            part = points[start : start + _MOST_POINTS + 1]
            objects.append(pr.GraphicObject(pr.GraphicTypeValues.POLYLINE, part, pr.AnnotationUnitsValues.PIXEL))
    return objects
