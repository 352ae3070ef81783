# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Source headers and common elements of DICOM results."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_cxrssl.data.reading.dicom import read_without_pixels
from monai_cxrssl.data.reading.dicom_header import patient_orientation, text
from monai_cxrssl.data.reading.display.header_repair import repaired_header
from monai_cxrssl.data.reading.display.orientation import to_stored
from monai_cxrssl.data.reading.file_kind import error_words
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import atomic_write
from monai_cxrssl.tiers import import_tier

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["RESEARCH_USE", "can_write_dicom", "new_instance", "saved", "source_header", "source_name", "stored_mask"]

logger = logging.getLogger(__name__)

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis. Drawn up by software, reviewed by nobody."

# The standard asks for these even where nothing is known (type 2), and highdicom reads them without asking whether they
# are there; de-identified and exported images often lack some.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)


def can_write_dicom() -> bool:
    """Return whether highdicom, which writes the files, is installed."""
    return find_spec("highdicom") is not None


def source_name(source: Any) -> str:
    """Return how messages call an image: its file, or its SOP instance."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    return str(getattr(source, "filename", None) or f"image {source.get('SOPInstanceUID', 'without a UID')}")


def source_header(source: Any, kind: str) -> Dataset:
    """Return the header of an image, repaired, with what highdicom needs of it.

    Args:
        source: its file, whose pixels are not read, or its data set.
        kind: of the result, for messages: ``"DICOM SEG"``.

    Raises:
        CXRReadError: the source is no DICOM image, or has no rows or columns.
        MissingTierError: highdicom is not installed.
    """
    import_tier("highdicom")
    film = source_name(source)
    # highdicom tells of each module that it copies, some ten lines for an image.
    if logging.getLogger("highdicom").level == logging.NOTSET:
        logging.getLogger("highdicom").setLevel(logging.WARNING)
    stated = read_without_pixels(source)[0] if isinstance(source, (str, os.PathLike)) else source
    missing = [keyword for keyword in ("Rows", "Columns") if not stated.get(keyword)]
    if missing:
        cause = f"lacks {', '.join(missing)}, by which a {kind} refers to its source"
        raise CXRReadError(film, cause, "Use the mask as PNG or NIfTI, or export the image again from its archive.")
    header, repaired = repaired_header(stated, film)
    if repaired:
        logger.warning("%s: in the header of its %s, %s", film, kind, "; ".join(repaired))
    # It stands behind the pixels' description, where the repaired header ends.
    if shape := text(stated, "PresentationLUTShape").upper():
        header.PresentationLUTShape = shape
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    # An empty one would be copied as the name of a coordinate system.
    if not header.get("FrameOfReferenceUID"):
        header.pop("FrameOfReferenceUID", None)
    return header


def stored_mask(mask: Any, header: Dataset, source: Any) -> np.ndarray:
    """Return an upright mask ``(H, W)`` of bool, or of 0 and 1, as uint8 on the image as it is stored.

    Raises:
        CXRReadError: it is of another size than the image.
        ConfigurationError: it holds other values.
    """
    drawn = np.asarray(mask)
    if drawn.ndim != 2 or not np.isin(drawn, (0, 1)).all():
        raise ConfigurationError(f"The mask is {drawn.dtype} of shape {drawn.shape}; expected (H, W) of 0 and 1.")
    drawn = to_stored(drawn, patient_orientation(header))
    if drawn.shape != (header.Rows, header.Columns):
        cause = f"stores {header.Rows} x {header.Columns} pixels, and its mask has {drawn.shape[0]} x {drawn.shape[1]}"
        raise CXRReadError(source_name(source), cause, "Draw the mask on the image as it is stored.")
    return drawn.astype(np.uint8)


def new_instance(series_number: int) -> dict[str, Any]:
    """Return what highdicom is told of an object that is a series of its own: new UIDs, numbers, maker.

    Series numbers of modalities are small; viewers list those of results behind them.
    """
    import highdicom

    from monai_cxrssl import __version__

    return {
        "series_instance_uid": highdicom.UID(),
        "series_number": series_number,
        "sop_instance_uid": highdicom.UID(),
        "instance_number": 1,
        "manufacturer": "monai_cxrssl contributors",
        "manufacturer_model_name": "monai_cxrssl",
        "software_versions": __version__,
        # Required to hold something; software has none.
        "device_serial_number": "none",
    }


@contextlib.contextmanager
def saved(source: Any, header: Dataset, path: str | os.PathLike, kind: str) -> Iterator[list[Dataset]]:
    """Save the data set that the block appends to the list; its folder is made, an older file replaced in one step.

    The body part, by which a viewer chooses its layout and the standard whether there are sides, is the image's.

    Raises:
        CXRReadError: the header of the source does not serve for such an object.
    """
    made: list[Dataset] = []
    try:
        yield made
        result = made[0]
        if "ContentSequence" not in result:
            result.BodyPartExamined = header.get("BodyPartExamined") or "CHEST"
        with atomic_write(Path(path)) as partial:
            result.save_as(partial, enforce_file_format=True)
    except (OSError, CXRReadError, ConfigurationError):
        raise
    except Exception as error:  # pydicom and highdicom raise anything from KeyError to TypeError on odd headers
        cause = f"has a header that a {kind} cannot refer to ({error_words(error, typed=True)})"
        raise CXRReadError(source_name(source), cause, "Export the image again from its archive.") from error
