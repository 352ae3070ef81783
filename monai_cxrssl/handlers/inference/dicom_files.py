# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM results of inference: SEG, SR, secondary capture, GSPS files."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np

from monai_cxrssl.data.dicom_results.capture_page import PICTURE_SIDE
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult
from monai_cxrssl.data.dicom_results.results import RESULT_KINDS, results_of, write_result
from monai_cxrssl.data.dicom_results.source import can_write_dicom
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.errors import CXRReadError
from monai_cxrssl.handlers.inference.mask_files import SourceFilm, write_table
from monai_cxrssl.handlers.inference.written_files import WrittenFiles
from monai_cxrssl.networks.algorithm import describe_algorithm, mask_structure
from monai_cxrssl.networks.prediction_head import PredictionHead

__all__ = ["DicomResultFiles"]

logger = logging.getLogger(__name__)


class DicomResultFiles:
    """Write DICOM results of films in DICOM below a folder, and ``dicom_results.csv``, which tells whose each is.

    ``dicom_<kind>/<name>.dcm`` carry patient, study and references of their film. A network without a mask gives no
    ``seg`` and ``gsps``. Without highdicom there is nothing, which a warning says once.

    Args:
        files: writes below the folder, and keeps a list.
        kinds: as :func:`~monai_cxrssl.data.dicom_results.results.result_kinds` returns them.
        head: that gives the probabilities.
        model_path: weights that the results name; None names this package alone.

    Attributes:
        rows: of ``dicom_results.csv``: image, a place below the folder for each kind, and problem.
    """

    def __init__(
        self,
        files: WrittenFiles,
        kinds: tuple[str, ...],
        head: PredictionHead,
        model_path: str | os.PathLike | None = None,
    ) -> None:
        self.files = files
        self.kinds = kinds
        self.head = head
        self.model_path = model_path
        self._warned = False
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.rows: list[tuple[str, ...]] = []
        self._pictures = 0

    def places(self, name: str) -> list[str]:
        """Return where the files of a film of that name may go, below the folder."""
        return [_place(kind, name) for kind in self.kinds]

    @cached_property
    def algorithm(self) -> Algorithm:
        """What the results say of the weights, asked for by the first of them."""
        return Algorithm() if self.model_path is None else describe_algorithm(self.model_path, self.head)

    @cached_property
    def structure(self) -> str:
        """What the masks show."""
        return "lung" if self.model_path is None else mask_structure(self.model_path)

    def write(
        self,
        film: SourceFilm,
        name: str,
        scores: Sequence[float],
        mask: np.ndarray | None = None,
        saliency: np.ndarray | None = None,
        warnings: str = "",
    ) -> None:
        """Write what there is of one film; failures become a row with their cause.

        Args:
            film: whose results they are.
            name: of the files, without a suffix.
            scores: probability of each class of the head.
            mask, saliency, warnings: see :class:`~monai_cxrssl.data.dicom_results.result.FilmResult`.
        """
        if not self.kinds:
            return
        classes = dict(zip(self.head.classes, scores, strict=True))
        result = FilmResult(classes, self.head.thresholds, {}, mask, self.structure, saliency, warnings)
        if not (chosen := results_of(result, self.kinds)):
            return
        if not film.header:
            self._pictures += 1
            return
        if not self._can_write():
            return
        places: dict[str, str] = {}
        problems: list[str] = []
        for kind in chosen:
            try:
                with self.files.write(_place(kind, name)) as path:
                    write_result(kind, result, partial(_picture, film.path), film.path, path, self.algorithm)
                places[kind] = _place(kind, name)
            except CXRReadError as error:
                logger.warning("no DICOM %s was written: %s", kind.upper(), error)
                problems.append(error.cause or str(error))
        self.rows.append((film.path, *(places.get(kind, "") for kind in RESULT_KINDS), "; ".join(problems)))

    def finish(self) -> dict[str, int]:
        """Write ``dicom_results.csv``, if any film is DICOM; return how many ``files`` and ``failures`` there are."""
        if self.rows:
            with self.files.write("dicom_results.csv") as path:
                write_table(path, ("image", *RESULT_KINDS, "problem"), self.rows)
        if self._pictures:
            logger.info(
                "%d images are no DICOM files: they have no study to refer to, and no DICOM results (%s).",
                self._pictures,
                " ".join(self.kinds),
            )
        return {
            "files": sum(bool(place) for row in self.rows for place in row[1:-1]),
            "failures": sum(bool(row[-1]) for row in self.rows),
        }

    def _can_write(self) -> bool:
        able = can_write_dicom()
        if not able and not self._warned:
            self._warned = True
            logger.warning(
                "highdicom is not installed, so no DICOM results are written; pip install highdicom, or set "
                "dicom_results to none."
            )
        return able


def _picture(path: str) -> np.ndarray:
    return read_cxr_uint(path, max_side=PICTURE_SIDE)


def _place(kind: str, name: str) -> str:
    return f"dicom_{kind}/{name}.dcm"
