# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Mask files as PNG and NIfTI."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.files import atomic_write
from monai_cxrssl.handlers.inference.written_files import WrittenFiles

__all__ = ["MaskFiles", "MaskRow", "write_table", "writing_cause"]

logger = logging.getLogger(__name__)

_SUFFIXES = {"png": ".png", "nifti": ".nii.gz"}

#: A line of ``masks.csv``: image, mask (below the folder, empty where there is none), and problem.
MaskRow = tuple[str, str, str]


class MaskFiles:
    """Write masks below a folder, also from several threads at once, and ``masks.csv``, which tells whose each is.

    ``masks/<name>.png`` is uint8, 0 and 255; ``masks/<name>.nii.gz`` is uint8, 0 and 1, rows first, with an affine
    that lays it on an image in NIfTI, MHA or NRRD, and shows others upright with their spacing.

    Args:
        files: writes below the folder, and keeps a list.
        mask_format: ``"png"`` or ``"nifti"``.

    Raises:
        ConfigurationError: a mask format other than ``"png"`` and ``"nifti"``.
    """

    def __init__(self, files: WrittenFiles, mask_format: str = "png") -> None:
        if mask_format not in _SUFFIXES:
            raise ConfigurationError(f"mask_format is {mask_format!r}; choose 'png' or 'nifti'.")
        self.files = files
        self.mask_format = mask_format

    def place(self, name: str) -> str:
        """Return where the mask of an image of that name goes, below the folder."""
        return f"masks/{name}{_SUFFIXES[self.mask_format]}"

    def write(self, film: SourceFilm, name: str, mask: np.ndarray) -> MaskRow:
        """Write the mask of one image and return its row; a file that could not be written is its problem.

        Args:
            film: whose mask it is.
            name: of the files, without a suffix.
            mask: ``(H, W)`` bool of the image's own size.
        """
        place = self.place(name)
        try:
            self._write_mask(film, place, mask)
        except (CXRReadError, OSError) as error:
            return self.refuse(film, error)
        return film.path, place, ""

    def refuse(self, film: SourceFilm, error: CXRReadError | OSError) -> MaskRow:
        """Tell why an image has no mask."""
        logger.warning("no mask was written of %s: %s", film.path, writing_cause(error))
        return film.path, "", writing_cause(error)

    def finish(self, rows: Sequence[MaskRow]) -> dict[str, int]:
        """Write ``masks.csv``, if any mask was asked for, and return ``masks`` and ``no_mask``."""
        if rows:
            with self.files.write("masks.csv") as path:
                write_table(path, ("image", "mask", "problem"), rows)
        masks = sum(bool(row[1]) for row in rows)
        return {"masks": masks, "no_mask": len(rows) - masks}

    def _write_mask(self, film: SourceFilm, place: str, mask: np.ndarray) -> None:
        drawn = mask.view(np.uint8)
        if self.mask_format == "png":
            with self.files.write(place) as path, atomic_write(path) as partial:
                partial.write_bytes(cv2.imencode(".png", drawn * np.uint8(255))[1].tobytes())
            return
        import nibabel

        affine = film.affine()
        with self.files.write(place) as path, atomic_write(path, suffix=_SUFFIXES["nifti"]) as partial:
            nibabel.save(nibabel.Nifti1Image(drawn[..., None], affine), partial)


def writing_cause(error: CXRReadError | OSError) -> str:
    """Return why something of an image could not be written, in a few words."""
    if isinstance(error, CXRReadError):
        return error.cause or str(error)
    return f"could not be written: {error.strerror or error}"


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a small CSV file in one step; file names may hold undecodable bytes."""
    with (
        atomic_write(path) as partial,
        open(partial, "w", newline="", encoding="utf-8", errors="surrogatepass") as file,
    ):
        csv.writer(file).writerows([header, *rows])
