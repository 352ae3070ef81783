# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Mask files as PNG, NIfTI and DICOM SEG."""

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
from monai_cxrssl.data.reading.dicom_seg import can_write_dicom_seg, write_lung_seg
from monai_cxrssl.data.reading.file_kind import file_kind, read_whole_file
from monai_cxrssl.data.reading.film import MAX_PIXELS
from monai_cxrssl.data.reading.read import read_film
from monai_cxrssl.data.reading.volume import upright_matrix
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import atomic_write

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

    ``masks/<name>.png`` is uint8, 0 and 255; ``masks/<name>.nii.gz`` is uint8, 0 and 1, rows first, with an affine that
    lays it on a film in NIfTI, MHA or NRRD, and shows others upright with their spacing. ``dicom_seg/<name>.dcm`` is a
    DICOM SEG (:mod:`monai_cxrssl.data.reading.dicom_seg`) of a film in DICOM. Without highdicom there are none, which a
    warning says once.

    Attributes:
        rows: of ``masks.csv``: image, mask, dicom_seg (both below the folder, empty where there is none) and problem.

    Raises:
        ConfigurationError: a mask format other than ``"png"`` and ``"nifti"``.
    """

    def __init__(self, output_dir: Path, mask_format: str = "png", dicom_seg: bool = True) -> None:
        if mask_format not in _SUFFIXES:
            raise ConfigurationError(f"mask_format is {mask_format!r}; choose 'png' or 'nifti'.")
        self.output_dir = output_dir
        self.mask_format = mask_format
        self.dicom_seg = bool(dicom_seg)
        self.rows: list[tuple[str, str, str, str]] = []
        self._warned = False

    def clear(self) -> None:
        """Begin anew."""
        self.rows = []

    def write(self, film: SourceFilm, name: str, mask: np.ndarray) -> None:
        """Write the mask of one film, ``(H, W)`` bool of its own size; failures become a row with their cause."""
        place = f"masks/{name}{_SUFFIXES[self.mask_format]}"
        path = self.output_dir / place
        if self.mask_format == "png":
            with atomic_write(path) as partial:
                partial.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
        else:
            import nibabel

            try:
                affine = film.affine()
            except CXRReadError as error:
                self.refuse(film, name, error)
                return
            with atomic_write(path, suffix=_SUFFIXES["nifti"]) as partial:
                nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8)[..., None], affine), partial)
        seg, problem = "", ""
        if self.dicom_seg and film.header and self._can_write_seg():
            seg = self._seg_place(name)
            try:
                write_lung_seg(mask, film.path, self.output_dir / seg)
            except CXRReadError as error:
                logger.warning("no DICOM SEG was written: %s", error)
                (self.output_dir / seg).unlink(missing_ok=True)
                seg, problem = "", error.cause or str(error)
        self.rows.append((film.path, place, seg, problem))

    def refuse(self, film: SourceFilm, name: str, error: CXRReadError) -> None:
        """Note why a film has no mask. One of an earlier run, which would be taken for this run's, is removed."""
        logger.warning("no mask was written: %s", error)
        for place in (f"masks/{name}{_SUFFIXES[self.mask_format]}", self._seg_place(name)):
            (self.output_dir / place).unlink(missing_ok=True)
        self.rows.append((film.path, "", "", error.cause or str(error)))

    def finish(self) -> dict[str, int]:
        """Write ``masks.csv``, if any mask was asked for, and return ``masks``, ``no_mask``, ``seg``, ``no_seg``."""
        if self.rows:
            write_table(self.output_dir / "masks.csv", ("image", "mask", "dicom_seg", "problem"), self.rows)
        masks = sum(bool(mask) for _, mask, _, _ in self.rows)
        return {
            "masks": masks,
            "no_mask": len(self.rows) - masks,
            "seg": sum(bool(seg) for _, _, seg, _ in self.rows),
            "no_seg": sum(bool(mask and problem) for _, mask, _, problem in self.rows),
        }

    def _seg_place(self, name: str) -> str:
        return f"dicom_seg/{name}.dcm"

    def _can_write_seg(self) -> bool:
        able = can_write_dicom_seg()
        if not able and not self._warned:
            self._warned = True
            logger.warning(
                "highdicom is not installed, so no DICOM SEG is written; pip install highdicom, or set dicom_seg to "
                "false."
            )
        return able


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a small CSV file in one step; file names may hold undecodable bytes."""
    with (
        atomic_write(path) as partial,
        open(partial, "w", newline="", encoding="utf-8", errors="surrogatepass") as file,
    ):
        csv.writer(file).writerows([header, *rows])
