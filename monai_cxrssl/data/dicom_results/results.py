# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Choice and writing of an image's DICOM results by kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from monai_cxrssl.data.dicom_results.capture import write_capture
from monai_cxrssl.data.dicom_results.contours import write_contours
from monai_cxrssl.data.dicom_results.report import write_score_report
from monai_cxrssl.data.dicom_results.result import Algorithm, FilmResult
from monai_cxrssl.data.dicom_results.seg import write_lung_seg
from monai_cxrssl.errors import ConfigurationError

__all__ = ["RESULT_KINDS", "result_kinds", "results_of", "write_result"]

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


def results_of(result: FilmResult, kinds: Iterable[str]) -> list[str]:
    """Return the kinds that a result can be written as: without a mask no SEG and GSPS, without classes no SR."""
    allowed = {"seg": result.mask is not None, "sr": bool(result.scores), "sc": True, "gsps": result.mask is not None}
    return [kind for kind in kinds if allowed[kind]]


def write_result(
    kind: str,
    result: FilmResult,
    picture: Callable[[], np.ndarray],
    source: Any,
    path: str | os.PathLike,
    algorithm: Algorithm,
) -> Path:
    """Write one kind of :func:`results_of`; arguments and errors are those of the four writers.

    ``picture`` is asked for the image only where it is shown.
    """
    if kind == "sr":
        return write_score_report(result, source, path, algorithm)
    if kind == "sc":
        return write_capture(picture(), result, source, path, algorithm)
    if kind == "seg":
        return write_lung_seg(result.mask, source, path, algorithm, result.structure)
    return write_contours(result.mask, source, path, result.structure)
