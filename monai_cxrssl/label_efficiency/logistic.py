# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Logistic regression with regularisation chosen on validation or training patients."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.metrics.cohort import macro_mean
from monai_cxrssl.metrics.ranking import roc_auc

__all__ = ["STRENGTHS", "LabelledFeatures", "fit_logistic", "logistic_scores"]

#: Inverse strengths of the penalty that are tried, the strongest penalty first: of equals it is kept.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """Features of images, with labels as a datalist has them."""

    features: np.ndarray  #: ``(N, D)``.
    labels: np.ndarray  #: ``(N,)`` class numbers, -1 unknown; or ``(N, C)`` of 0, 1 and NaN unknown.
    patients: np.ndarray  #: ``(N,)``.


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted model; made by :func:`fit_logistic`."""

    models: list[tuple[np.ndarray, Any]]  #: columns, each with the regression or the probability of its scores.
    strength: float  #: inverse strength of the penalty.
    chosen_on: str  #: ``"validation"``, ``"training patients"`` or ``"nothing"``.
    classes: int

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return probabilities ``(N, C)``."""
        scores = np.zeros((len(features), self.classes))
        for columns, model in self.models:
            constant = isinstance(model, float)
            scores[:, columns] = model if constant else model.predict_proba(features)[:, -len(columns) :]
        return scores


def fit_logistic(training: LabelledFeatures, classes: int, validation: LabelledFeatures | None = None) -> Logistic:
    """Fit on standardised features, classes weighed equally; one regression, or one per finding of several.

    The penalty is that of the highest macro AUC on the validation images; where they give none, over five folds of the
    training patients. The test images have no part in it. Where neither can be scored, the strongest is taken.

    Args:
        classes: C. One that no training image has gets the probability 0.
    """
    found = [] if validation is None else [
        _auc(logistic_scores(training, validation.features, classes, c), validation.labels) for c in STRENGTHS
    ]  # fmt: skip
    chosen_on = "validation"
    if not np.isfinite(found).any():
        found, chosen_on = _over_folds(training, classes), "training patients"
    if not np.isfinite(found).any():
        return Logistic(_models(training, classes, STRENGTHS[0]), STRENGTHS[0], "nothing", classes)
    strength = STRENGTHS[int(np.nanargmax(found))]
    return Logistic(_models(training, classes, strength), strength, chosen_on, classes)


def logistic_scores(training: LabelledFeatures, features: np.ndarray, classes: int, strength: float) -> np.ndarray:
    """Return probabilities ``(N, C)`` of a regression of one strength; for the arguments see :func:`fit_logistic`."""
    return Logistic(_models(training, classes, strength), strength, "nothing", classes)(features)


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    return float(macro_mean(roc_auc(scores, labels))) if len(scores) else float("nan")


def _over_folds(training: LabelledFeatures, classes: int) -> list[float]:
    """Macro AUC of each strength over the scores of all folds; NaN where the patients are too few."""
    from sklearn.model_selection import GroupKFold

    folds = min(_FOLDS, len(np.unique(training.patients)))
    if folds < 2:
        return [float("nan")] * len(STRENGTHS)
    scores = np.zeros((len(STRENGTHS), len(training.features), classes))
    for kept, left in GroupKFold(folds).split(training.features, groups=training.patients):
        part = LabelledFeatures(training.features[kept], training.labels[kept], training.patients[kept])
        for number, strength in enumerate(STRENGTHS):
            scores[number, left] = logistic_scores(part, training.features[left], classes, strength)
    return [_auc(each, training.labels) for each in scores]


def _models(training: LabelledFeatures, classes: int, strength: float) -> list[tuple[np.ndarray, Any]]:
    labels = training.labels
    if labels.ndim == 1:
        known = labels >= 0
        present = np.unique(labels[known])
        if len(present) < 2:
            return [(present, 1.0)]
        return [(present, _fitted(training.features[known], labels[known], strength))]
    models: list[tuple[np.ndarray, Any]] = []
    for column in range(classes):
        known = ~np.isnan(labels[:, column])
        target = labels[known, column].astype(int)
        if len(np.unique(target)) == 2:
            models.append((np.array([column]), _fitted(training.features[known], target, strength)))
        elif len(target):
            models.append((np.array([column]), float(target[0])))
    return models


def _fitted(features: np.ndarray, target: np.ndarray, strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000, class_weight="balanced"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, target)
