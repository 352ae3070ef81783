# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Mask files as PNG and NIfTI."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from monai_cxrssl.data.reading.dicom import read_dicom_header
from monai_cxrssl.data.reading.file_kind import file_kind, read_whole_file
from monai_cxrssl.data.reading.film import MAX_PIXELS
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.reading.volume import upright_matrix
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import atomic_write
from monai_cxrssl.handlers.inference.written_files import WrittenFiles

__all__ = ["MaskFiles", "SourceFilm", "write_table"]

logger = logging.getLogger(__name__)

_SUFFIXES = {"png": ".png", "nifti": ".nii.gz"}


@dataclass(frozen=True)
class SourceFilm:
    """A film's file, asked for no more than is needed: of DICOM, the header tells the size without decoding."""

    path: str

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
        rows, columns = self.header.get("rows"), self.header.get("columns")
        return (rows, columns) if rows and columns else read_film(self.path, max_side=64).shape

    def affine(self) -> np.ndarray:
        """``(4, 4)`` float64 of (row, column, 0, 1) to RAS mm: that of the file, or a picture's, 1 mm if unknown.

        Raises CXRReadError when the file cannot be read any more.
        """
        kind = "" if self.header else _kind(self.path)
        if kind in ("nifti", "metaimage", "nrrd"):
            matrix = upright_matrix(self.path, read_whole_file(self.path), kind, MAX_PIXELS)
            if matrix is not None:
                return matrix
        film = read_film(self.path, max_side=64)
        return film.metadata(film.shape)["affine"]


def _kind(path: str) -> str:
    try:
        return file_kind(path)
    except CXRReadError:
        # Gone; or a raw film of JSRT, which has no header to know it by, and which the reader of films knows.
        return ""


class MaskFiles:
    """Write masks below a folder, and ``masks.csv``, which tells whose each is.

    ``masks/<name>.png`` is uint8, 0 and 255; ``masks/<name>.nii.gz`` is uint8, 0 and 1, rows first, with an affine
    that lays it on a film in NIfTI, MHA or NRRD, and shows others upright with their spacing.

    Args:
        files: writes below the folder, and keeps a list.
        mask_format: ``"png"`` or ``"nifti"``.

    Attributes:
        rows: of ``masks.csv``: image, mask (below the folder, empty where there is none) and problem.

    Raises:
        ConfigurationError: a mask format other than ``"png"`` and ``"nifti"``.
    """

    def __init__(self, files: WrittenFiles, mask_format: str = "png") -> None:
        if mask_format not in _SUFFIXES:
            raise ConfigurationError(f"mask_format is {mask_format!r}; choose 'png' or 'nifti'.")
        self.files = files
        self.mask_format = mask_format
        self.rows: list[tuple[str, str, str]] = []

    def clear(self) -> None:
        """Begin anew."""
        self.rows = []

    def place(self, name: str) -> str:
        """Return where the mask of a film of that name goes, below the folder."""
        return f"masks/{name}{_SUFFIXES[self.mask_format]}"

    def write(self, film: SourceFilm, name: str, mask: np.ndarray) -> str:
        """Write the mask of one film; failures become a row with their cause.

        Args:
            film: whose mask it is.
            name: of the files, without a suffix.
            mask: ``(H, W)`` bool of the film's own size.

        Returns:
            The mask's place below the folder, empty where it could not be written.
        """
        place = self.place(name)
        if self.mask_format == "png":
            with self.files.write(place) as path, atomic_write(path) as partial:
                partial.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
        else:
            import nibabel

            try:
                affine = film.affine()
            except CXRReadError as error:
                self.refuse(film, error)
                return ""
            with self.files.write(place) as path, atomic_write(path, suffix=_SUFFIXES["nifti"]) as partial:
                nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8)[..., None], affine), partial)
        self.rows.append((film.path, place, ""))
        return place

    def refuse(self, film: SourceFilm, error: CXRReadError) -> None:
        """Note why a film has no mask."""
        logger.warning("no mask was written: %s", error)
        self.rows.append((film.path, "", error.cause or str(error)))

    def finish(self) -> dict[str, int]:
        """Write ``masks.csv``, if any mask was asked for, and return ``masks`` and ``no_mask``."""
        if self.rows:
            with self.files.write("masks.csv") as path:
                write_table(path, ("image", "mask", "problem"), self.rows)
        masks = sum(bool(mask) for _, mask, _ in self.rows)
        return {"masks": masks, "no_mask": len(self.rows) - masks}


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a small CSV file in one step; file names may hold undecodable bytes."""
    with (
        atomic_write(path) as partial,
        open(partial, "w", newline="", encoding="utf-8", errors="surrogatepass") as file,
    ):
        csv.writer(file).writerows([header, *rows])
