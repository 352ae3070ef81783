# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""An image's file with what a prediction of it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.data.reading.display.orientation import is_transposed
from monai_cxrssl.data.reading.file_kind import file_kind, read_whole_file
from monai_cxrssl.data.reading.film import MAX_PIXELS
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.reading.volume import upright_matrix
from monai_cxrssl.errors import CXRReadError

__all__ = ["SourceFilm"]


@dataclass(frozen=True)
class SourceFilm:
    """An image as decoded and its file, asked for no more than is needed and not known yet.

    Args:
        path: the file.
        pixels: ``(h, w)`` uint8 or uint16, as decoded, bright = dense.
        warnings: what was odd in the file.
        known_shape: rows and columns of the file's image, upright, where it was decoded.
        known_affine: ``(4, 4)`` float64 of that image, (row, column, 0, 1) to RAS mm.
    """

    path: str
    pixels: np.ndarray
    warnings: list[str] = field(default_factory=list)
    known_shape: tuple[int, int] | None = None
    known_affine: np.ndarray | None = None

    @cached_property
    def header(self) -> dict[str, Any]:
        """Header as read by ``read_dicom_header``; nothing of a file that is no DICOM or is gone."""
        try:
            return read_dicom_header(self.path) if _kind(self.path) == "dicom" else {}
        except CXRReadError:
            return {}

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, upright; CXRReadError when the file cannot be read any more."""
        if self.known_shape is not None:
            return self.known_shape
        rows, columns = self.header.get("rows"), self.header.get("columns")
        if rows and columns:
            return (columns, rows) if is_transposed(self.header["patient_orientation"]) else (rows, columns)
        return read_film(self.path, max_side=64).shape

    def affine(self) -> np.ndarray:
        """``(4, 4)`` float64 of (row, column, 0, 1) to RAS mm: that of the file, or a picture's, 1 mm if unknown.

        Raises CXRReadError when the file cannot be read any more.
        """
        kind = "" if self.header else _kind(self.path)
        if kind in ("nifti", "metaimage", "nrrd"):
            matrix = upright_matrix(self.path, read_whole_file(self.path), kind, MAX_PIXELS)
            if matrix is not None:
                return matrix
        if self.known_affine is not None:
            return self.known_affine
        film = read_film(self.path, max_side=64)
        return film.metadata(film.shape)["affine"]


def _kind(path: str) -> str:
    try:
        return file_kind(path)
    except CXRReadError:
        # Gone; or a raw image of JSRT, which has no header to know it by, and which the reader of images knows.
        return ""
