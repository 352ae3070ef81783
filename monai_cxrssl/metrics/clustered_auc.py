# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Score intervals of AUCs with DeLong's variance clustered by patient (Obuchowski)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_cxrssl.metrics.delong import placements
from monai_cxrssl.metrics.linear_interval import linear_interval
from monai_cxrssl.metrics.wilson import wilson_ends

__all__ = ["AUC_METHOD", "ClusteredAUC"]

AUC_METHOD = "score interval with DeLong's variance over patients"

#: Patients that vouch for the largest variance that an AUC can have.
_PRIOR = 0.5


@dataclass(frozen=True, eq=False)
class ClusteredAUC:
    """K AUCs of the same G patients and what each patient adds to them.

    DeLong's structural components, summed over the images of a patient (Obuchowski 1997, Biometrics 53:567), give a
    variance that takes patients, and not images, as independent, where a patient has images of both kinds, too. It is 0
    where all images are in the right order, and near there of little worth, since a few patients decide. No AUC A of m
    positives and n negatives varies more than ``A (1 - A) / min(m, n)`` (van Dantzig 1951; Birnbaum and Klose 1957,
    Annals of Mathematical Statistics 28:933). So the interval is Wilson's, with that variance for as many images as
    there are effective patients (Kish: all images of a patient alike), times the ratio of the clustered variance to it
    at the estimate. The ratio is drawn towards 1, as if by half a patient, by the number of patients whose images are
    not all in the right order (or not all in the wrong one), of the class where these are fewer. With perfect order it
    is 1, and the lower end that of a share of 1 over the patients of the smaller class. The normal quantile gives way
    to t with Satterthwaite's degrees of freedom. ``docs/intervals.md`` has the coverage.
    """

    areas: np.ndarray  #: ``(K,)``; NaN for a column with positives only, or negatives only.
    positive: np.ndarray  #: ``(G, K)``, what the positive images of a patient add to the area, less their share of it.
    negative: np.ndarray  #: ``(G, K)``, of the negative images.
    patients: np.ndarray  #: ``(3, K)``, patients with positive images, with negative ones, and with either.
    effective: np.ndarray  #: ``(2, K)``, of these, were all images of a patient alike, as many of equal size.
    telling: np.ndarray  #: ``(K,)``, patients that say how far the order varies, of the class that has fewer.

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> ClusteredAUC:
        """Rank K columns.

        Args:
            scores: ``(N, K)``, finite where the label is known.
            labels: ``(N, K)`` of 0, 1 and NaN for unknown.
            patients: ``(N,)`` numbers.
        """
        # Some images of a cohort keep its numbers, of which some are of nobody then.
        names, patients = np.unique(patients, return_inverse=True)
        group, count = len(names), scores.shape[1]
        areas, sums = np.full(count, np.nan), np.zeros((2, group, count))
        present, effective, telling = np.zeros((3, count)), np.zeros((2, count)), np.zeros(count)
        for k in range(count):
            known = ~np.isnan(labels[:, k])
            score, patient, positive = scores[known, k], patients[known], labels[known, k] == 1
            sides = (patient[positive], patient[~positive])
            if not all(side.size for side in sides):
                continue
            ranked = placements(score, positive)
            # A sum of halves is exact, and the area that of `class_ranker` to the last bit.
            pairs = len(sides[0]) * len(sides[1])
            areas[k] = np.rint(2 * len(sides[1]) * ranked[0]).sum() / 2 / pairs
            varying = []
            for number, (place, side) in enumerate(zip(ranked, sides, strict=True)):
                films = np.bincount(side, minlength=group)
                total = np.bincount(side, weights=place, minlength=group)
                sums[number, :, k] = (total - films * areas[k]) / len(side)
                present[number, k] = (films > 0).sum()
                effective[number, k] = len(side) ** 2 / (films**2).sum()
                varying.append(min((total < films - 1e-9).sum(), (total > 1e-9).sum()))
            telling[k] = min(varying)
            present[2, k] = len(np.unique(patient))
        return cls(areas, sums[0], sums[1], present, effective, telling)

    @classmethod
    def stack(cls, parts: Sequence[ClusteredAUC]) -> ClusteredAUC:
        """Put the columns of several, of the same images, side by side."""
        names = ("areas", "positive", "negative", "patients", "effective", "telling")
        return cls(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names))

    @property
    def covariance(self) -> np.ndarray:
        """``(K, K)`` of the areas (Obuchowski 1997); 0 for columns without one, or of one patient of a kind."""
        scale = np.sqrt(np.where(self.patients > 1, self.patients / np.maximum(self.patients - 1, 1), 0.0))
        first, second = self.positive * scale[0], self.negative * scale[1]
        crossed = (self.positive * scale[2]).T @ (self.negative * scale[2])
        covariance: np.ndarray = first.T @ first + second.T @ second + crossed + crossed.T
        return covariance

    def ends(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper ends ``(K,)`` of the areas' intervals."""
        known = np.isfinite(self.areas)
        of_kind = self.patients[:2]
        patients = np.maximum(of_kind, 2)
        parts = np.stack([(side**2).sum(axis=0) for side in (self.positive, self.negative)])
        parts *= patients / (patients - 1)
        weight, fewest = (parts**2 / (patients - 1)).sum(axis=0), np.maximum(of_kind.min(axis=0) - 1, 1)
        freedom = np.where(weight > 0, parts.sum(axis=0) ** 2 / np.where(weight > 0, weight, 1), fewest)
        films = np.where(known, self.effective.min(axis=0), np.nan)
        largest = self.areas * (1 - self.areas) / films
        ratio = np.maximum(np.diag(self.covariance), 0) / np.where(largest > 0, largest, np.inf)
        telling = np.where(of_kind.min(axis=0) > 1, self.telling, 0)
        ratio = (telling * ratio + _PRIOR) / (telling + _PRIOR)
        # Without any variance there is no ratio to be estimated.
        ratio = np.where(largest > 0, ratio, 1.0)
        return wilson_ends(self.areas, films / ratio, np.maximum(freedom, 1), confidence)

    def combined(self, weights: np.ndarray, confidence: float) -> np.ndarray:
        """Return the ends ``(R, 2)`` of weighted sums ``(R, K)`` of the areas, such as means and differences."""
        low, high = self.ends(confidence)
        covariance, patients = self.covariance, int(self.patients[2].max(initial=0))
        found = [linear_interval(self.areas, low, high, row, covariance, patients) for row in weights]
        return np.clip(np.array(found).reshape(-1, 2), -1, 1)
