# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Linear and nearest-neighbour probes of frozen embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["classifier", "one_hot_labels", "probe"]

logger = logging.getLogger(__name__)


def one_hot_labels(labels: Sequence[Any], num_classes: int) -> np.ndarray:
    """Turn a datalist's labels into a float table ``(N, num_classes)`` of 0, 1 and NaN for unknown.

    A label is a class number (multi-class), a list with one value per class (multi-label), or ``None``.
    """
    table = np.full((len(labels), num_classes), np.nan)
    for row, label in zip(table, labels, strict=True):
        if label is None or (isinstance(label, float) and np.isnan(label)):
            continue
        if isinstance(label, (list, tuple, np.ndarray)):
            row[:] = [np.nan if value is None else value for value in label]
        else:
            row[:] = 0
            row[int(label)] = 1
    return table


def classifier(kind: str, train_size: int = 0, balanced: bool = True) -> Any:
    """Return a classifier of frozen embeddings; the number of neighbours goes by the training images.

    Args:
        kind: ``"linear"`` or ``"knn"``.
        train_size: images that it is fitted to.
        balanced: classes weigh the same in the linear one, however many images they have.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    if kind == "linear":
        return make_pipeline(
            StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced" if balanced else None)
        )
    if kind == "knn":
        neighbours = min(20, max(1, train_size // 5))
        return make_pipeline(Normalizer(), KNeighborsClassifier(neighbours, weights="distance"))
    raise ConfigurationError(f"A probe is 'linear' or 'knn', not {kind!r}.")


def probe(
    embeddings: np.ndarray,
    labels: np.ndarray,
    patients: Sequence[str],
    classes: Sequence[str],
    kind: str = "linear",
    folds: int = 5,
    min_patients: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """Cross-validate a simple classifier on frozen embeddings, no patient in two folds.

    One classifier per class (one against the rest) is fitted on four fifths of the patients and scores the last fifth;
    the area under the ROC curve is taken over the scores of all folds together: ``macro_auc``, and ``auc_<class>`` for
    each class scored.

    Args:
        labels: ``(N, C)`` of 0, 1 and NaN for unknown, see :func:`one_hot_labels`; the embeddings are ``(N, D)``.
        kind: ``"linear"`` (logistic regression on standardised embeddings) or ``"knn"`` (cosine).
        min_patients: classes with fewer positive or negative patients are left out, and said so.

    Raises:
        DatalistError: when no class has enough patients.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.unique(np.asarray(patients, dtype=str), return_inverse=True)[1]
    result: dict[str, float] = {}
    left_out = []
    for column, name in enumerate(classes):
        known = ~np.isnan(labels[:, column])
        target = labels[known, column].astype(int)
        group = groups[known]
        fewest = min(len(np.unique(group[target == value])) for value in (0, 1))
        if fewest < max(min_patients, folds):
            left_out.append(f"{name} ({fewest})")
            continue
        features = embeddings[known]
        scores = np.zeros(len(target))
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        parts = list(splitter.split(features, target, group))
        if any(len(np.unique(target[train])) < 2 for train, _ in parts):
            # Patients with very many images can fill a fold with all there is of a class.
            left_out.append(f"{name} ({fewest})")
            continue
        for train, test in parts:
            model = classifier(kind, len(train)).fit(features[train], target[train])
            scores[test] = model.predict_proba(features[test])[:, 1]
        result[f"auc_{name}"] = float(roc_auc_score(target, scores))
    if not result:
        raise DatalistError(
            f"No class has {max(min_patients, folds)} labelled patients on both sides, so nothing can be probed."
        )
    if left_out:
        logger.info("Too few patients for a probe of: %s.", ", ".join(left_out))
    return {"macro_auc": float(np.mean(list(result.values()))), **result}
