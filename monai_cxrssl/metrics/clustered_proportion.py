# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Wilson intervals of proportions at the effective number of patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.cohort import Cohort, macro_mean
from monai_cxrssl.metrics.linear_interval import linear_interval
from monai_cxrssl.metrics.patient_bootstrap import Interval, missing_interval
from monai_cxrssl.metrics.wilson import wilson_ends

__all__ = ["PROPORTION_METHOD", "ClusteredProportion", "proportion_interval", "proportion_intervals"]

PROPORTION_METHOD = "Wilson's interval at the effective number of patients"


@dataclass(frozen=True, eq=False)
class ClusteredProportion:
    """K proportions over images of the same G patients and what each patient adds to them.

    Wilson's interval (1927) takes images as independent. Here they count as ``n / deff``, with Kish's design effect
    ``1 + (k - 1) icc``, k the mean size of an image's patient, and t of the patients less one in the place of z (Korn
    and Graubard 1998, Survey Methodology 24:193; Dean and Pagano 2015, Journal of Survey Statistics and Methodology
    3:484). The correlation between images of a patient is that of the clustered variance of a ratio; since few errors
    say little of it, it is drawn towards 1, as if by one further patient, by the number of patients with an error (or
    with a success, where these are fewer). Without any error a patient thus counts as one image, however many
    there are.
    """

    shares: np.ndarray  #: ``(K,)``; NaN for a column without images.
    added: np.ndarray  #: ``(G, K)``, what the images of a patient add to the share, less their share of it.
    patients: np.ndarray  #: ``(K,)``, patients with images that count.
    effective: np.ndarray  #: ``(K,)``, effective number of images.

    @classmethod
    def of(cls, successes: np.ndarray, patients: np.ndarray) -> ClusteredProportion:
        """Count K columns.

        Args:
            successes: ``(N, K)`` in [0, 1], NaN for images that do not count.
            patients: ``(N,)``, numbers from 0 on.
        """
        from scipy.sparse import csr_matrix

        group, known = int(patients.max(initial=-1)) + 1, np.isfinite(successes)
        by_patient = csr_matrix((np.ones(len(patients)), (patients, np.arange(len(patients)))), (group, len(patients)))
        hits, films = by_patient @ np.where(known, successes, 0.0), by_patient @ known.astype(np.float64)
        count, total = films.sum(axis=0), hits.sum(axis=0)
        shares = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        added = np.where(count > 0, (hits - films * shares) / np.maximum(count, 1), 0.0)
        present = (films > 0).sum(axis=0)
        varying = np.minimum((hits > 1e-9).sum(axis=0), (hits < films - 1e-9).sum(axis=0))
        size = (films**2).sum(axis=0) / np.maximum(count, 1)
        simple = shares * (1 - shares) / np.maximum(count, 1)
        clustered = (added**2).sum(axis=0) * present / np.maximum(present - 1, 1)
        useful = (simple > 0) & (size > 1)
        correlation = (clustered / np.where(useful, simple, 1) - 1) / np.where(useful, size - 1, 1)
        correlation = (varying * np.where(useful, np.maximum(correlation, 0), 0) + 1) / (varying + 1)
        return cls(shares, added, present, count / (1 + np.maximum(size - 1, 0) * correlation))

    def ends(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper ends ``(K,)`` of the proportions' intervals; 0 and 1 with one patient."""
        films = np.where(self.effective > 0, self.effective, np.nan)
        low, high = wilson_ends(self.shares, films, np.maximum(self.patients - 1, 1), confidence)
        alone = self.patients == 1
        return np.where(alone, 0.0, low), np.where(alone, 1.0, high)

    def combined(self, weights: np.ndarray, confidence: float) -> np.ndarray:
        """Return the ends ``(R, 2)`` of weighted sums ``(R, K)`` of the proportions, such as means and differences."""
        low, high = self.ends(confidence)
        covariance, patients = self.added.T @ self.added, int(self.patients.max(initial=0))
        found = [linear_interval(self.shares, low, high, row, covariance, patients) for row in weights]
        return np.clip(np.array(found).reshape(-1, 2), -1, 1)


def proportion_interval(success: Any, patient: Any, confidence: float = 0.95) -> Interval:
    """Return the share of successes over images ``(N,)``, NaN for images that do not count, with its interval.

    See :class:`ClusteredProportion`. Successes are 0 or 1, or shares of one.

    Raises:
        DatalistError: when the lengths differ, or no image counts.

    Example:
        >>> found = proportion_interval([1, 1, 1, 1], ["a", "b", "c", "c"])
        >>> round(found.ci_low, 3), found.ci_high
        (0.126, 1.0)
    """
    values, ids = np.asarray(success, dtype=np.float64), np.asarray(patient)
    if values.ndim != 1 or values.shape != ids.shape:
        raise DatalistError(
            f"There are {values.shape} successes for {ids.shape} patient ids; expected one of each per image."
        )
    known = np.isfinite(values)
    if not known.any():
        raise DatalistError("No image counts for a proportion; expected successes of 0 or 1 of one image or more.")
    part = ClusteredProportion.of(values[known, None], np.unique(ids[known], return_inverse=True)[1])
    low, high = (float(end[0]) for end in part.ends(confidence))
    return Interval(float(part.shares[0]), low, high, 0, method=PROPORTION_METHOD)


def proportion_intervals(
    successes: np.ndarray, kind: str, cohort: Cohort, confidence: float, reasons: Sequence[str]
) -> dict[str, Interval]:
    """Return ``macro_<kind>`` and ``<kind>_<class>`` of successes ``(N, C)``, NaN for images that do not count.

    The macro figure is the mean over the classes without a reason, its interval made of theirs (MOVER).
    """
    part, count = ClusteredProportion.of(successes, cohort.patients), len(cohort.classes)
    values = np.where([bool(reason) for reason in reasons], np.nan, part.shares)
    known = np.isfinite(values)
    rows = np.concatenate([known[None] / max(known.sum(), 1), np.diag(known)]) * 1.0
    names = [f"macro_{kind}", *(f"{kind}_{name}" for name in cohort.classes)]
    why = ["no class can be assessed" if count else "there are no classes", *reasons]
    return {
        name: Interval(float(value), float(low), float(high), 0, method=PROPORTION_METHOD)
        if np.isfinite(value)
        else missing_interval(reason or "it is not defined on these images")
        for name, value, (low, high), reason in zip(
            names, [macro_mean(values), *values], part.combined(rows, confidence), why, strict=True
        )
    }
