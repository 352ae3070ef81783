# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores, one-versus-rest labels and patients of a test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_cxrssl.errors import DatalistError

__all__ = ["Cohort", "macro_mean", "why_not_assessable"]


@dataclass(frozen=True, eq=False)
class Cohort:
    """N images with one column of scores and of labels per class; made and checked by :meth:`of`."""

    scores: np.ndarray  #: ``(N, C)`` float64; scores that are not finite are kept, for a reason to name.
    labels: np.ndarray  #: ``(N, C)`` float64 of 0, 1 and NaN for unknown, each class against the rest.
    patients: np.ndarray  #: ``(N,)`` patient numbers.
    classes: list[str]  #: C names.
    numbers: np.ndarray | None = None  #: ``(N,)`` int64, -1 for unknown, where an image has one class only.
    strata: np.ndarray | None = None  #: ``(N,)``, each image's patient's, such as :meth:`stratified` gives.

    @classmethod
    def of(
        cls, score: Any, label: Any, patient: Any = None, class_names: Sequence[str] | None = None, strata: Any = None
    ) -> Cohort:
        """Check scores and labels of any task, and bring them to one column per class.

        Args:
            score: ``(N, C)``, any numbers that rank: logits or probabilities; a tensor of any device, too.
            label: ``(N,)`` class numbers with -1 for unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.
            patient: ``(N,)``, one id per image, of any type that numpy can sort; by default all are of other patients.
            class_names: C names; numbers when not given.
            strata: ``(N,)``, the stratum of each image's patient; ``None`` for one of all patients.

        Raises:
            DatalistError: shapes that do not fit, or labels of another kind.

        Example:
            >>> Cohort.of([[0.9, 0.1], [0.2, 0.8]], [0, -1], ["a", "b"]).labels.tolist()
            [[1.0, 0.0], [nan, nan]]
        """
        scores, labels = _array(score).astype(np.float64), _array(label)
        if scores.ndim != 2 or labels.shape not in (scores.shape, scores.shape[:1]):
            raise DatalistError(
                f"There are scores {scores.shape} and labels {labels.shape}; expected scores (N, classes) and labels "
                "(N,) or (N, classes)."
            )
        films, count = scores.shape
        ids = np.arange(films) if patient is None else np.asarray(patient)
        if ids.shape != (films,):
            raise DatalistError(
                f"There are scores {scores.shape} and {ids.shape} patient ids; expected one id for each of N images."
            )
        names = [str(name) for name in (range(count) if class_names is None else class_names)]
        if len(names) != count:
            raise DatalistError(f"There are {len(names)} class names for scores of {count} classes.")
        patients = np.unique(ids, return_inverse=True)[1]
        groups = None if strata is None else np.asarray(strata)
        if labels.ndim == 2:
            columns = labels.astype(np.float64)
            bad = columns[~np.isnan(columns) & ~np.isin(columns, (0, 1))]
            if bad.size:
                raise DatalistError(
                    f"A label is {bad[0]:g}; an area under the ROC curve needs 0, 1, or NaN for unknown."
                )
            return cls(scores, columns, patients, names, None, groups)
        rows = np.flatnonzero(~np.isin(labels, np.arange(-1, count)))
        if rows.size:
            raise DatalistError(
                f"The label of image {rows[0]} is {labels[rows[0]]}; expected 0 to {count - 1}, or -1 for unknown."
            )
        numbers = labels.astype(np.int64)
        columns = np.where(numbers[:, None] == -1, np.nan, numbers[:, None] == np.arange(count))
        return cls(scores, columns, patients, names, numbers, groups)

    @property
    def label(self) -> np.ndarray:
        """Class numbers ``(N,)`` where an image has one class only, else the columns ``(N, C)``."""
        return self.labels if self.numbers is None else self.numbers

    @property
    def class_numbers(self) -> np.ndarray:
        """Class numbers ``(N,)``; a DatalistError where an image may have several classes."""
        if self.numbers is None:
            raise DatalistError(
                f"The labels are {self.labels.shape}; the most probable class needs (N,) class numbers, -1 for unknown."
            )
        return self.numbers

    def take(self, films: Any) -> Cohort:
        """Return some of the images, with the strata that they have here."""
        scores, labels, patients = self.scores[films], self.labels[films], self.patients[films]
        numbers, strata = (None if part is None else part[films] for part in (self.numbers, self.strata))
        return Cohort(scores, labels, patients, self.classes, numbers, strata)

    def of_classes(self, names: Sequence[str]) -> Cohort:
        """Return the columns of some classes."""
        columns = [self.classes.index(name) for name in names]
        return replace(
            self, scores=self.scores[:, columns], labels=self.labels[:, columns], classes=list(names), numbers=None
        )

    def with_scores(self, score: Any) -> Cohort:
        """Return the same images with other scores ``(N, C)``, such as another model's."""
        return Cohort.of(score, self.label, self.patients, self.classes, self.strata)

    def stratified(self) -> Cohort:
        """Return the images with their patients' strata: the rarest class, by patients, that any image of one shows.

        Strata are class numbers, or -1 for patients without a positive image.

        Example:
            >>> Cohort.of([[0.1, 0.9]] * 4, [0, 0, 1, -1], ["a", "b", "b", "c"]).stratified().strata
            array([ 0,  1,  1, -1])
        """
        shown = np.zeros((self.patients.max(initial=-1) + 1, len(self.classes) + 1), dtype=bool)
        np.logical_or.at(shown[:, :-1], self.patients, self.labels == 1)
        shown[:, -1] = True
        rarest = [*np.argsort(shown[:, :-1].sum(axis=0), kind="stable"), -1]
        return replace(self, strata=np.array(rarest)[shown[:, rarest].argmax(axis=1)][self.patients])

    def rarer_patients(self) -> np.ndarray:
        """Return how many patients the kind has, positive or negative, of which fewer have an image: ``(C,)`` int64."""
        kinds = [[len(np.unique(self.patients[column == kind])) for column in self.labels.T] for kind in (0, 1)]
        return np.array(kinds, dtype=np.int64).reshape(2, len(self.classes)).min(axis=0)

    def finite(self) -> Cohort:
        """Return the cohort itself, or raise a DatalistError where a score is not a finite number."""
        bad = np.flatnonzero(~np.isfinite(self.scores).all(axis=1))
        if bad.size:
            raise DatalistError(f"The scores of image {bad[0]} are not finite numbers; no ranking can be made of them.")
        return self

    def reasons(self, probability: bool = False) -> list[str]:
        """Say of each class why it cannot be assessed; empty for one that can, see :func:`why_not_assessable`."""
        return [
            why_not_assessable(self.scores[:, c], self.labels[:, c], self.patients, probability)
            for c in range(len(self.classes))
        ]

    def why_undecided(self) -> str:
        """Say why the most probable class cannot be assessed, or return an empty string when it can."""
        numbers = self.class_numbers
        known = numbers >= 0
        scores = self.scores[known]
        bad = int((~np.isfinite(scores)).any(axis=1).sum())
        if not known.any():
            return "no image has a known label"
        if bad:
            return f"the scores of {bad} of {known.sum()} images are not finite numbers"
        if len(np.unique(numbers[known])) < 2:
            return f"all images are of class {self.classes[numbers[known][0]]}"
        return "all images have the same scores" if (scores == scores[0]).all() else ""


def why_not_assessable(
    score: np.ndarray, label: np.ndarray, patient: Any = None, probability: bool = False, both_kinds: bool = True
) -> str:
    """Say why a class has no figure, or return an empty string when it has.

    Args:
        label: ``(N,)`` of 0, 1 and NaN for unknown; images of unknown label do not count.
        patient: ``(N,)`` ids; when given, positives and negatives must each be of two or more patients, since the
            figure would be about one person and could have no interval.
        probability: whether the scores must lie in [0, 1].
        both_kinds: whether positives and negatives must be there, and scores differ.

    Example:
        >>> why_not_assessable(np.array([0.2, 0.7]), np.array([0.0, np.nan]))
        'there are no positive images'
    """
    known = ~np.isnan(label)
    scores, labels = score[known], label[known]
    bad = int((~np.isfinite(scores)).sum())
    if not len(labels):
        return "no image has a known label"
    if bad:
        return f"the scores of {bad} of {len(scores)} images are not finite numbers"
    for kind, value in (("positive", 1), ("negative", 0)) if both_kinds else ():
        if not (labels == value).any():
            return f"there are no {kind} images"
        if patient is not None and len(np.unique(np.asarray(patient)[known][labels == value])) < 2:
            return f"the {kind} images are of one patient"
    if both_kinds and scores.min() == scores.max():
        return f"all scores are {scores[0]:.6g}"
    if probability and not (scores.min() >= 0 and scores.max() <= 1):
        return f"the scores lie in {scores.min():.6g} to {scores.max():.6g}, and are no probabilities"
    return ""


def macro_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over classes ``(..., C)`` to ``(...)`` of those that have a figure; NaN where none has."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)


def _array(values: Any) -> np.ndarray:
    """Return a tensor, of any device, or anything else as an array."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
