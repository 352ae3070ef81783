# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One-versus-rest columns of scores and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError

__all__ = ["as_array", "names_of_classes", "one_versus_rest"]


def as_array(values: Any) -> np.ndarray:
    """Return a tensor, of any device, or anything else as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def one_versus_rest(score: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return scores ``(N, C)`` and labels ``(N, C)`` of 0, 1 and NaN.

    Args:
        score: ``(N, C)``, any finite numbers that rank.
        label: ``(N,)`` class numbers with -1 for unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.

    Raises:
        DatalistError: shapes that do not fit, labels of another kind, or scores that are not finite.
    """
    scores, labels = as_array(score), as_array(label)
    if scores.ndim != 2 or labels.shape not in (scores.shape, scores.shape[:1]):
        raise DatalistError(
            f"There are scores {scores.shape} and labels {labels.shape}; expected scores (N, classes) and labels (N,) "
            "or (N, classes)."
        )
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DatalistError(f"The scores of film {bad} are not finite numbers; no ranking can be made of them.")
    if labels.ndim == 1:
        classes = np.arange(scores.shape[1])
        bad_rows = np.flatnonzero((labels < -1) | (labels >= len(classes)))
        if bad_rows.size:
            raise DatalistError(
                f"The label of film {bad_rows[0]} is {labels[bad_rows[0]]}; expected 0 to {len(classes) - 1}, or "
                "-1 for unknown."
            )
        return scores, np.where(labels[:, None] == -1, np.nan, labels[:, None] == classes)
    labels = labels.astype(np.float64)
    known = labels[~np.isnan(labels)]
    if not np.isin(known, (0, 1)).all():
        odd = known[~np.isin(known, (0, 1))][0]
        raise DatalistError(f"A label is {odd:g}; an area under the ROC curve needs 0, 1, or NaN for unknown.")
    return scores, labels


def names_of_classes(class_names: Sequence[str] | None, count: int) -> list[str]:
    """Return C names; numbers when none are given. Another number of names is a DatalistError."""
    names = [str(number) for number in range(count)] if class_names is None else [str(name) for name in class_names]
    if len(names) != count:
        raise DatalistError(f"There are {len(names)} class names for scores of {count} classes.")
    return names
