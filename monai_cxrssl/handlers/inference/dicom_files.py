# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM results of inference: SEG, SR, secondary capture, GSPS files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.dicom_results.capture import write_capture
from monai_cxrssl.data.dicom_results.capture_page import PICTURE_SIDE
from monai_cxrssl.data.dicom_results.contours import write_contours
from monai_cxrssl.data.dicom_results.report import write_score_report
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult
from monai_cxrssl.data.dicom_results.seg import write_lung_seg
from monai_cxrssl.data.dicom_results.source import can_write_dicom
from monai_cxrssl.data.reading.read import read_cxr_uint
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.handlers.inference.mask_files import SourceFilm, write_table
from monai_cxrssl.handlers.inference.written_files import WrittenFiles
from monai_cxrssl.networks.algorithm import describe_algorithm, mask_structure
from monai_cxrssl.networks.prediction_head import PredictionHead

__all__ = ["RESULT_KINDS", "DicomResultFiles", "result_kinds"]

logger = logging.getLogger(__name__)

#: Segmentation, structured report, secondary capture, presentation state.
RESULT_KINDS = ("seg", "sr", "sc", "gsps")


def result_kinds(wanted: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return which of :data:`RESULT_KINDS` are named: a list, or a text with spaces or commas between; none for None.

    A ConfigurationError for another name.

    Example:
        >>> result_kinds("sr, seg")
        ('seg', 'sr')
    """
    if isinstance(wanted, str):
        names: Iterable[object] = wanted.replace(",", " ").split()
    else:
        names = wanted if isinstance(wanted, Iterable) else [wanted or "none"]
    chosen = {str(name).lower() for name in names} - {"none"}
    if unknown := sorted(chosen.difference(RESULT_KINDS)):
        raise ConfigurationError(
            f"dicom_results names {', '.join(map(repr, unknown))}; choose from {' '.join(RESULT_KINDS)}, with spaces "
            "between, or none."
        )
    return tuple(kind for kind in RESULT_KINDS if kind in chosen)


class DicomResultFiles:
    """Write DICOM results of films in DICOM below a folder, and ``dicom_results.csv``, which tells whose each is.

    ``dicom_<kind>/<name>.dcm`` carry patient, study and references of their film. A network without a mask gives no
    ``seg`` and ``gsps``. Without highdicom there is nothing, which a warning says once.

    Args:
        files: writes below the folder, and keeps a list.
        kinds: as :func:`result_kinds` returns them.
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
        if kinds and not can_write_dicom():
            self.kinds = ()
            logger.warning(
                "highdicom is not installed, so no DICOM results are written; pip install highdicom, or set "
                "dicom_results to none."
            )
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
        ways: dict[str, Any] = {
            "seg": result.mask is not None and partial(write_lung_seg, result.mask, structure=result.structure),
            "sr": result.scores and partial(write_score_report, result),
            "sc": partial(self._capture, result),
            "gsps": result.mask is not None and partial(write_contours, result.mask, structure=result.structure),
        }
        chosen = [kind for kind in self.kinds if ways[kind]]
        if not chosen:
            return
        if not film.header:
            self._pictures += 1
            return
        places, problems = {}, []
        for kind in chosen:
            told = {} if kind == "gsps" else {"algorithm": self.algorithm}
            try:
                with self.files.write(_place(kind, name)) as path:
                    ways[kind](source=film.path, path=path, **told)
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
                "%d images are no DICOM files: without a patient and study to refer to, they get no DICOM results (%s).",
                self._pictures,
                " ".join(self.kinds),
            )
        return {
            "files": sum(bool(place) for row in self.rows for place in row[1:-1]),
            "failures": sum(bool(row[-1]) for row in self.rows),
        }

    def _capture(self, result: FilmResult, source: str, path: str | os.PathLike, algorithm: Algorithm) -> Path:
        return write_capture(read_cxr_uint(source, max_side=PICTURE_SIDE), result, source, path, algorithm)


def _place(kind: str, name: str) -> str:
    return f"dicom_{kind}/{name}.dcm"
