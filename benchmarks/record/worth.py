# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a task's AUC could have an interval that says something."""

from __future__ import annotations

import numpy as np

from monai_cxrssl.data import Datalist
from monai_cxrssl.metrics import Cohort, auc_intervals

__all__ = ["expected_width", "reason_against"]

#: Width from which on a 95 % interval is not worth the cells.
WIDEST = 0.2
#: AUC that a useful model may have.
_AREA = 0.75
_DRAWS = 40


def expected_width(labels: np.ndarray, patients: np.ndarray, area: float = _AREA, draws: int = _DRAWS) -> float:
    """Return the median width of a macro AUC's interval for models of a given AUC on these images.

    Scores are drawn from two normal distributions, half of their variance shared by the images of a patient.
    """
    from scipy.stats import norm

    generator = np.random.default_rng(0)
    names, person = np.unique(patients, return_inverse=True)
    classes = int(labels.max()) + 1
    shift = np.sqrt(2) * norm.ppf(area)
    widths = []
    for _ in range(draws):
        shared = generator.normal(size=(len(names), classes))[person]
        noise = (shared + generator.normal(size=(len(labels), classes))) / np.sqrt(2)
        interval = auc_intervals(Cohort.of(noise + shift * np.eye(classes)[labels], labels, patients))["macro_auc"]
        widths.append(interval.ci_high - interval.ci_low)
    return float(np.median(widths))


def reason_against(data: Datalist) -> str:
    """Say why the test images of a task are too few, or return an empty string."""
    test = data.items("test")
    labels = np.array([item["label"] for item in test])
    patients = np.array([item["patient_id"] for item in test])
    counts = np.bincount(labels, minlength=len(data.classes)) if len(labels) else np.zeros(len(data.classes), int)
    if counts.min() < 2:
        return "a class has fewer than two test images"
    width = expected_width(labels, patients)
    if width < WIDEST:
        return ""
    films = ", ".join(f"{count} {name}" for count, name in zip(counts, data.classes, strict=True))
    return (
        f"with {films} test images of {len(set(patients))} patients the 95 % interval of an AUC of {_AREA} would be "
        f"{width:.2f} wide, not less than {WIDEST}"
    )
