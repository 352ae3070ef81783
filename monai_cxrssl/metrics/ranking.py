# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Average precision and ROC AUC with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.metrics.assessable import class_columns, macro_mean, why_not_assessable
from monai_cxrssl.metrics.class_ranker import class_ranker
from monai_cxrssl.metrics.one_versus_rest import one_versus_rest
from monai_cxrssl.metrics.patient_bootstrap import Interval, bootstrap_figures

__all__ = ["average_precision", "ranking_figures"]


def average_precision(score: Any, label: Any, weight: Any = None) -> np.ndarray:
    """Return the average precision of each class, as ``sklearn.metrics.average_precision_score`` would.

    Args:
        score: ``(N, C)``, any numbers that rank.
        label: ``(N,)`` class numbers with -1 for unknown (each class against the rest), or ``(N, C)`` of 0, 1 and NaN
            for unknown.
        weight: ``(N,)``, 0 or more, or ``None`` for equal weights.

    Returns:
        ``(C,)`` float64 in [0, 1]; NaN for a class with positives only, or negatives only.

    Raises:
        DatalistError: shapes that do not fit, labels of another kind, or scores that are not finite.

    Example:
        >>> average_precision([[0.1], [0.4], [0.35], [0.8]], [[0], [0], [1], [1]]).round(3)
        array([0.833])
    """
    scores, labels = one_versus_rest(score, label)
    weights = np.ones((len(scores), 1)) if weight is None else np.asarray(weight, dtype=np.float64)[:, None]
    return np.array([class_ranker(scores[:, c], labels[:, c])(weights)[1, 0] for c in range(scores.shape[1])])


def ranking_figures(
    score: Any,
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    strata: Any = None,
) -> dict[str, Interval]:
    """Return AUC and average precision, macro and per class, with percentile intervals over patients.

    The areas equal :func:`~monai_cxrssl.metrics.bootstrap_auc`. A class that cannot be assessed has NaN and a reason
    (:func:`~monai_cxrssl.metrics.why_not_assessable`) and is left out of the macro figures.

    Args:
        score: ``(N, C)``, any numbers that rank.
        label: see :func:`average_precision`.
        patient: ``(N,)``, one id per film.
        class_names: C names; numbers when not given.
        resamples: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        confidence: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        seed: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        strata: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.

    Returns:
        ``{"macro_auc", "macro_ap", "auc_<class>", …, "ap_<class>", …}``.

    Raises:
        DatalistError: shapes that do not fit, or labels of another kind.
    """
    scores, labels, ids, names = class_columns(score, label, patient, class_names)
    reasons = [why_not_assessable(scores[:, c], labels[:, c], ids) for c in range(len(names))]
    rankers = [None if why else class_ranker(scores[:, c], labels[:, c]) for c, why in enumerate(reasons)]

    def figures(weights: np.ndarray) -> np.ndarray:
        columns = np.ascontiguousarray(weights.T)
        nothing = np.full((2, len(weights)), np.nan)
        both = np.stack([nothing if ranker is None else ranker(columns) for ranker in rankers], axis=2)  # (2, R, C)
        return np.column_stack([macro_mean(both[0]), macro_mean(both[1]), both[0], both[1]])

    none_left = "no class can be assessed" if all(reasons) else ""
    keys = ["macro_auc", "macro_ap", *(f"auc_{name}" for name in names), *(f"ap_{name}" for name in names)]
    why = [none_left, none_left, *reasons, *reasons]
    return bootstrap_figures(figures, keys, why, patient, resamples, confidence, seed, strata)
