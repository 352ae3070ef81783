# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Decision thresholds, and sensitivity and specificity at them, with intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics.clustered_proportion import proportion_intervals
from monai_cxrssl.metrics.cohort import Cohort, why_not_assessable
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan

__all__ = ["OperatingPoint", "choose_threshold", "choose_thresholds", "operating_point_figures"]

_RULES = ("youden", "sensitivity", "specificity", "f1")
_FIGURES = ("sensitivity", "specificity", "ppv", "npv", "f1", "accuracy", "kappa")
_RESAMPLED = {"f1": (0.0, 1.0), "kappa": (-1.0, 1.0)}


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it gave on the images that it was chosen on."""

    threshold: float  #: images that score this or more are called positive; NaN when no threshold serves the rule.
    rule: str  #: see :func:`choose_threshold`.
    target: float  #: see :func:`choose_threshold`; of no meaning to rules ``"youden"`` and ``"f1"``.
    sensitivity: float  #: on the images of the choice.
    specificity: float  #: on the images of the choice.
    reason: str = ""  #: why there is no threshold, as half a sentence; empty when there is one.


def choose_threshold(score: Any, label: Any, rule: str = "youden", target: float = 0.9) -> OperatingPoint:
    """Choose the threshold of one class. Give it validation images; on the images of the test it would flatter itself.

    Thresholds lie halfway between neighbouring scores; one that calls all images the same is never chosen. Among
    thresholds that serve the rule equally well, the lowest is taken, which has the highest sensitivity.

    Args:
        score: ``(N,)``, higher for positives.
        label: ``(N,)`` of 0, 1 and NaN for unknown.
        rule: ``"youden"``, highest sensitivity + specificity - 1; ``"f1"``, highest F1; ``"sensitivity"``, highest
            specificity among thresholds of ``target`` sensitivity or more; ``"specificity"``, highest sensitivity
            among thresholds of ``target`` specificity or more.
        target: share in (0, 1].

    Returns:
        The threshold, or NaN and a reason: labels of one kind, scores that are equal or not finite, a target that only
        calling all images the same reaches, no threshold better than chance.

    Raises:
        ConfigurationError: another rule, or a target that is no share.
        DatalistError: shapes that do not fit, or labels of another kind.

    Example:
        >>> choose_threshold([0.1, 0.25, 0.75, 0.9], [0, 0, 1, 1]).threshold
        0.5
    """
    if rule not in _RULES or not 0 < target <= 1:
        raise ConfigurationError(
            f"The rule of the threshold is {rule!r} with target {target}; expected one of {', '.join(_RULES)} and a "
            "target above 0 and up to 1."
        )
    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape or not np.isin(labels[~np.isnan(labels)], (0, 1)).all():
        raise DatalistError(
            f"There are scores {scores.shape} and labels {labels.shape}; expected (N,) scores of one class and (N,) "
            "labels of 0, 1, or NaN for unknown."
        )
    nan = float("nan")
    reason = why_not_assessable(scores, labels)
    if reason:
        return OperatingPoint(nan, rule, target, nan, nan, reason)
    known = ~np.isnan(labels)
    levels, level = np.unique(scores[known], return_inverse=True)
    found = np.bincount(level, weights=labels[known])
    positives, negatives = found.sum(), known.sum() - found.sum()
    # Entry i: calling positive whatever scores more than level i.
    true = positives - np.cumsum(found)[:-1]
    false = negatives - np.cumsum(np.bincount(level) - found)[:-1]
    sensitivity, specificity = true / positives, (negatives - false) / negatives
    if rule == "youden":
        merit = true * negatives - false * positives  # whole numbers, so that ties are seen as such
        allowed, wanted = merit > 0, "no threshold is better than chance"
    elif rule == "f1":
        merit = 2 * true / (true + false + positives)
        allowed, wanted = true > 0, "no threshold finds a positive image without calling all images positive"
    elif rule == "sensitivity":
        merit, allowed = specificity, true >= target * positives - 1e-9
        wanted = f"a sensitivity of {target:g} is reached only by calling all images positive"
    else:
        merit, allowed = sensitivity, negatives - false >= target * negatives - 1e-9
        wanted = f"a specificity of {target:g} is reached only by calling all images negative"
    if not allowed.any():
        return OperatingPoint(nan, rule, target, nan, nan, wanted)
    best = int(np.argmax(np.where(allowed, merit, -np.inf)))
    low, high = levels[best], levels[best + 1]
    middle = low + (high - low) / 2
    threshold = float(middle if middle > low else high)  # between neighbouring floating point numbers is no middle
    return OperatingPoint(threshold, rule, target, float(sensitivity[best]), float(specificity[best]))


def choose_thresholds(cohort: Cohort, rule: str = "youden", target: float = 0.9) -> list[OperatingPoint]:
    """Choose the threshold of each class against the rest on validation images, see :func:`choose_threshold`."""
    return [choose_threshold(*column, rule, target) for column in zip(cohort.scores.T, cohort.labels.T, strict=True)]


def operating_point_figures(
    cohort: Cohort,
    threshold: float | OperatingPoint | Sequence[float | OperatingPoint],
    plan: ResamplingPlan = DEFAULT_PLAN,
) -> dict[str, Interval]:
    """Return sensitivity, specificity, PPV, NPV, F1, accuracy and Cohen's kappa at thresholds, with intervals.

    An image is called positive when its score is the threshold or more. F1 and kappa have the bootstrap of patients,
    without the resamples that lack positives or negatives of a class, and the others
    :func:`~monai_cxrssl.metrics.clustered_proportion.proportion_intervals`. PPV and NPV hold at the prevalence of these
    images only.

    Args:
        threshold: one per class, or one for all; numbers, or what :func:`choose_threshold` returned.

    Returns:
        ``{"macro_sensitivity", …, "sensitivity_<class>", …}``. A figure that cannot be assessed is NaN with its
        reason, and is left out of the macro figure.

    Raises:
        DatalistError: another number of thresholds.
    """
    scores, labels, count = cohort.scores, cohort.labels, len(cohort.classes)
    points: list[Any] = list(threshold) if isinstance(threshold, Sequence | np.ndarray) else [threshold] * count
    if len(points) != count:
        raise DatalistError(f"There are {len(points)} thresholds for scores of {count} classes.")
    limits, reasons = np.empty(count), cohort.reasons()
    for c, point in enumerate(points):
        limits[c] = point.threshold if isinstance(point, OperatingPoint) else point
        if not reasons[c] and not np.isfinite(limits[c]):
            cause = point.reason if isinstance(point, OperatingPoint) else "it is not a finite number"
            reasons[c] = f"there is no threshold: {cause}"
    called = scores >= limits
    true, false = labels == 1, labels == 0
    cells = np.concatenate([true & called, false & called, true & ~called, false & ~called], axis=1).astype(np.float64)

    def resampled(weights: np.ndarray) -> np.ndarray:
        tp, fp, fn, tn = (weights @ cells).reshape(len(weights), 4, count).transpose(1, 0, 2)  # (R, C) each
        with np.errstate(invalid="ignore", divide="ignore"):
            total = tp + fp + fn + tn
            chance = ((tp + fn) * (tp + fp) + (tn + fp) * (tn + fn)) / total**2
            values = np.stack([2 * tp / (2 * tp + fp + fn), ((tp + tn) / total - chance) / (1 - chance)])
        values[:, (tp + fn == 0) | (tn + fp == 0)] = np.nan
        return values.transpose(1, 0, 2)

    known = ~np.isnan(labels)
    none_called = {
        "ppv": ("no image is called positive", ~(called & known).any(axis=0)),
        "npv": ("no image is called negative", (called | ~known).all(axis=0)),
    }
    why = {}
    for figure in _FIGURES:
        words, absent = none_called.get(figure, ("", np.zeros(count, dtype=bool)))
        why[figure] = [reason or (words if absent[c] else "") for c, reason in enumerate(reasons)]
    # Of each share: the images that count, and those of them that are right.
    right = called == true
    shares = {
        "sensitivity": (true, called), "specificity": (false, ~called), "ppv": (called & known, true),
        "npv": (~called & known, false), "accuracy": (known, right),
    }  # fmt: skip
    found = plan.class_intervals(
        resampled, list(_RESAMPLED), cohort, [why[figure] for figure in _RESAMPLED], list(_RESAMPLED.values())
    )
    for figure, (counted, hit) in shares.items():
        found |= proportion_intervals(np.where(counted, hit, np.nan), figure, cohort, plan.confidence, why[figure])
    names = [f"macro_{figure}" for figure in _FIGURES]
    return {name: found[name] for name in names + [f"{f}_{name}" for f in _FIGURES for name in cohort.classes]}
