# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM results of inference: SEG, SR, secondary capture, GSPS files."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np

from monai_cxrssl.data.dicom_results.capture_page import PICTURE_SIDE
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult
from monai_cxrssl.data.dicom_results.results import RESULT_KINDS, results_of, write_result
from monai_cxrssl.data.dicom_results.source import can_write_dicom
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.data.stores.source_film import SourceFilm
from monai_cxrssl.errors import CXRReadError, MissingTierError
from monai_cxrssl.handlers.inference.mask_files import write_table, writing_cause
from monai_cxrssl.handlers.inference.written_files import WrittenFiles
from monai_cxrssl.networks.algorithm import describe_algorithm, mask_structure
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.tiers import TIERS

__all__ = ["DicomResultFiles", "DicomRow"]

logger = logging.getLogger(__name__)

#: A line of ``dicom_results.csv``: image, a place below the folder for each kind, and problem; the image alone where it
#: is no DICOM file.
DicomRow = tuple[str, ...]


class DicomResultFiles:
    """Write DICOM results of images in DICOM below a folder, and ``dicom_results.csv``, which tells whose each is.

    Images may be written from several threads at once.

    ``dicom_<kind>/<name>.dcm`` carry patient, study and references of their image. A network without a mask gives no
    ``seg`` and ``gsps``. Without highdicom there is nothing, which a warning says once.

    Args:
        files: writes below the folder, and keeps a list.
        kinds: as :func:`~monai_cxrssl.data.dicom_results.results.result_kinds` returns them.
        head: that gives the probabilities.
        model_path: weights that the results name; None names this package alone.
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
        self._lock = threading.Lock()

    def places(self, name: str) -> list[str]:
        """Return where the files of an image of that name may go, below the folder."""
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
    ) -> DicomRow | None:
        """Write what there is of one image and return its row; what could not be written is its problem.

        ``None`` where there is nothing to write; an image that is no DICOM file gives its path alone.

        Args:
            film: whose results they are.
            name: of the files, without a suffix.
            scores: probability of each class of the head.
            mask, saliency, warnings: see :class:`~monai_cxrssl.data.dicom_results.result.FilmResult`.
        """
        if not self.kinds:
            return None
        classes = dict(zip(self.head.classes, scores, strict=True))
        with self._lock:  # of what is asked once
            result = FilmResult(classes, self.head.thresholds, {}, mask, self.structure, saliency, warnings)
            algorithm = self.algorithm
        if not (chosen := results_of(result, self.kinds)):
            return None
        if not film.header:
            return (film.path,)
        if not self._can_write():
            return None
        places: dict[str, str] = {}
        problems: list[str] = []
        for kind in chosen:
            try:
                with self.files.write(_place(kind, name)) as path:
                    write_result(kind, result, partial(_picture, film.path), film.path, path, algorithm)
                places[kind] = _place(kind, name)
            except (CXRReadError, OSError) as error:
                logger.warning("no DICOM %s was written of %s: %s", kind.upper(), film.path, writing_cause(error))
                problems.append(writing_cause(error))
        return (film.path, *(places.get(kind, "") for kind in RESULT_KINDS), "; ".join(problems))

    def finish(self, rows: Sequence[DicomRow]) -> dict[str, int]:
        """Write ``dicom_results.csv``, if any image is DICOM; return how many ``files`` and ``failures`` there are."""
        results = [row for row in rows if len(row) > 1]
        if results:
            with self.files.write("dicom_results.csv") as path:
                write_table(path, ("image", *RESULT_KINDS, "problem"), results)
        if len(results) < len(rows):
            logger.info(
                "%d images are no DICOM files: they have no study to refer to, and no DICOM results (%s).",
                len(rows) - len(results),
                " ".join(self.kinds),
            )
        return {
            "files": sum(bool(place) for row in results for place in row[1:-1]),
            "failures": sum(bool(row[-1]) for row in results),
        }

    def _can_write(self) -> bool:
        able = can_write_dicom()
        with self._lock:
            warned, self._warned = self._warned, not able
        if not able and not warned:
            logger.warning(
                "highdicom is not installed, so no DICOM results are written; %s, or set dicom_results to none.",
                MissingTierError("highdicom", TIERS["highdicom"]).remedy,
            )
        return able


def _picture(path: str) -> np.ndarray:
    return read_cxr_uint(path, max_side=PICTURE_SIDE)


def _place(kind: str, name: str) -> str:
    return f"dicom_{kind}/{name}.dcm"
