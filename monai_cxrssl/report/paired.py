# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Paired differences of AUC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.metrics.assessable import macro_mean, why_not_assessable
from monai_cxrssl.metrics.class_ranker import class_ranker
from monai_cxrssl.metrics.patient_bootstrap import Interval, bootstrap_figures

__all__ = ["PairedFigures", "apart_difference", "match_films", "p_of_interval", "paired_figures"]


@dataclass(frozen=True)
class PairedFigures:
    """``macro_auc`` and ``auc_<class>`` of two sets of scores of the same films.

    Attributes:
        first: of the first.
        second: of the second.
        difference: the first minus the second.
    """

    first: dict[str, Interval]
    second: dict[str, Interval]
    difference: dict[str, Interval]


def match_films(items: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Return the places ``(M,)`` in both lists of the films that both hold, by image and patient.

    Example:
        >>> first, second = ({"image": name, "patient_id": "1"} for name in "ab")
        >>> match_films([first, second], [second])
        (array([1]), array([0]))
    """
    at = {(item["image"], str(item["patient_id"])): number for number, item in enumerate(others)}
    pairs = [
        (number, at[key])
        for number, item in enumerate(items)
        if (key := (item["image"], str(item["patient_id"]))) in at
    ]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def paired_figures(
    score: np.ndarray,
    other: np.ndarray,
    columns: np.ndarray,
    patient: np.ndarray,
    classes: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    strata: Any = None,
) -> PairedFigures:
    """Return the AUCs of two sets of scores of the same films, and their differences, over the same drawn patients.

    A class that cannot be assessed with both has NaN and a reason; the macro figures are over the others.
    :func:`~monai_cxrssl.metrics.compare_auc` gives the same differences; it knows no strata, and takes three times as
    long together with the figures of each side.

    Args:
        score: ``(N, C)``; the difference is this one's AUC minus the other's.
        other: ``(N, C)``.
        columns: ``(N, C)`` of 0, 1 and NaN for unknown.
        patient: ``(N,)``.
        classes: C names.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        strata: ``(N,)``, of the patients; None for one stratum.
    """
    why = [
        why_not_assessable(score[:, c], columns[:, c], patient)
        or why_not_assessable(other[:, c], columns[:, c], patient)
        for c in range(len(classes))
    ]
    rankers = [
        tuple(class_ranker(side[:, c], columns[:, c]) for side in (score, other))
        for c, reason in enumerate(why)
        if not reason
    ]
    kept = [c for c, reason in enumerate(why) if not reason]

    def figures(weights: np.ndarray) -> np.ndarray:
        drawn = np.ascontiguousarray(weights.T)
        areas = np.full((2, len(weights), len(classes)), np.nan)
        for c, pair in zip(kept, rankers, strict=True):
            for side, ranker in enumerate(pair):
                areas[side, :, c] = ranker(drawn)[0]
        sides = [*areas, areas[0] - areas[1]]
        return np.concatenate([np.column_stack([macro_mean(side), side]) for side in sides], axis=1)

    keys = ["macro_auc", *(f"auc_{name}" for name in classes)]
    reasons = ["" if kept else "no class can be assessed", *why]
    names = [f"{side} {key}" for side in range(3) for key in keys]
    found = bootstrap_figures(figures, names, reasons * 3, patient, resamples, seed=seed, strata=strata)
    first, second, difference = ({key: found[f"{side} {key}"] for key in keys} for side in range(3))
    return PairedFigures(first, second, difference)


def apart_difference(first: Interval, second: Interval) -> Interval:
    """Return ``first - second`` of two separate sets of films, with an interval made of theirs.

    Square-and-add (Zou and Donner 2008, Statistics in Medicine 27:1693, equation 5): it keeps skewed intervals skewed.

    Example:
        >>> apart_difference(Interval(0.9, 0.87, 0.93, 9), Interval(0.8, 0.76, 0.84, 9)).ci_low.__round__(3)
        0.05
    """
    difference = first.value - second.value
    reason = first.reason or second.reason
    if not math.isfinite(difference):
        return Interval(float("nan"), float("nan"), float("nan"), 0, reason or "one of the two has no figure")
    down = math.hypot(first.value - first.ci_low, second.ci_high - second.value)
    up = math.hypot(first.ci_high - first.value, second.value - second.ci_low)
    return Interval(difference, difference - down, difference + up, min(first.resamples, second.resamples))


def p_of_interval(interval: Interval) -> float:
    """Return the two-sided p of a 95 % interval of a difference, by its width (Altman and Bland, BMJ 2011;343:d2304).

    Returns:
        NaN where there is no interval, or none of any width.

    Example:
        >>> round(p_of_interval(Interval(1.96, 0.0, 3.92, 1000)), 3)
        0.05
    """
    from scipy.stats import norm

    width = interval.ci_high - interval.ci_low
    if not math.isfinite(width) or width <= 0:
        return float("nan")
    error = width / (2 * float(norm.ppf(0.975)))
    return float(2 * norm.sf(abs(interval.value) / error))
