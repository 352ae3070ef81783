# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Calibration error, Brier score and reliability diagram.

MONAI's calibration metric is for masks in equal-width bins, and scikit-learn's curve drops empty bins and gives no
counts; neither knows unknown labels or resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics.assessable import class_columns, macro_mean, why_not_assessable
from monai_cxrssl.metrics.patient_bootstrap import Interval, bootstrap_figures

__all__ = ["ReliabilityDiagram", "calibration_figures", "reliability_diagram", "top_label"]

_BINNINGS = ("equal_width", "equal_mass")


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Mean score and observed frequency in B bins of the score.

    Attributes:
        edges: ``(B + 1,)``; a bin holds scores above its lower edge and up to its upper edge, the first its lower too.
        mean_score: ``(B,)``; NaN in empty bins.
        observed: ``(B,)``, share of positives; NaN in empty bins.
        ci_low: ``(B,)``, Wilson interval of the share, which takes films as independent.
        ci_high: ``(B,)``.
        count: ``(B,)`` int64, films.
        ece: the mean over films of the distance between the share and the mean score of their bin.
        reason: why there is no diagram, as half a sentence; all arrays are empty then, and ``ece`` is NaN.
    """

    edges: np.ndarray
    mean_score: np.ndarray
    observed: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    count: np.ndarray
    ece: float
    reason: str = ""


def _edges(score: np.ndarray, bins: int, binning: str) -> np.ndarray:
    if binning not in _BINNINGS or bins < 1:
        raise ConfigurationError(f"There are {bins} bins of kind {binning!r}; expected 1 or more of {_BINNINGS}.")
    if binning == "equal_width":
        return np.linspace(0, 1, bins + 1)
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))  # bins that equal scores leave empty go
    return edges if len(edges) > 1 else np.repeat(edges, 2)


def _bin_of(score: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.searchsorted(edges[1:-1], score, side="left")


def top_label(probability: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest probability of each film ``(N,)``, and whether its class was right ``(N,)``, NaN for unknown.

    Args:
        probability: ``(N, C)``.
        label: ``(N,)`` class numbers, -1 for unknown.
    """
    scores, labels = np.asarray(probability, dtype=np.float64), np.asarray(label)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise DatalistError(
            f"There are scores {scores.shape} and labels {labels.shape}; expected (N, classes) and (N,) class numbers."
        )
    return scores.max(axis=1), np.where(labels >= 0, (scores.argmax(axis=1) == labels).astype(np.float64), np.nan)


def reliability_diagram(
    score: Any,
    label: Any,
    bins: int = 15,
    binning: str = "equal_width",
    confidence: float = 0.95,
    both_kinds: bool = True,
) -> ReliabilityDiagram:
    """Return the reliability diagram of one class, or of :func:`top_label`.

    Args:
        score: ``(N,)`` probabilities.
        label: ``(N,)`` of 0, 1 and NaN for unknown.
        bins: how many.
        binning: ``"equal_width"``, of [0, 1]; ``"equal_mass"``, with about equally many films each, fewer bins when
            films share a score.
        confidence: of the Wilson intervals.
        both_kinds: whether a class without positives or without negatives, or with equal scores, has no diagram; give
            ``False`` for :func:`top_label`, where all may well be right.

    Raises:
        ConfigurationError: other bins.
        DatalistError: shapes that do not fit.

    Example:
        >>> diagram = reliability_diagram([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1], bins=2)
        >>> diagram.observed.tolist(), round(diagram.ece, 3)
        ([0.0, 1.0], 0.2)
    """
    from scipy.stats import binomtest

    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DatalistError(f"There are scores {scores.shape} and labels {labels.shape}; expected (N,) of each.")
    _edges(np.zeros(1), bins, binning)
    reason = why_not_assessable(scores, labels, probability=True, both_kinds=both_kinds)
    if reason:
        none = np.empty(0)
        return ReliabilityDiagram(none, none, none, none, none, none, float("nan"), reason)
    known = ~np.isnan(labels)
    scores, labels = scores[known], labels[known]
    edges = _edges(scores, bins, binning)
    count, found, total = (
        np.bincount(_bin_of(scores, edges), weights=weight, minlength=len(edges) - 1)
        for weight in (None, labels, scores)
    )
    ends = np.full((2, len(count)), np.nan)
    for number in np.flatnonzero(count):
        ends[:, number] = binomtest(int(found[number]), int(count[number])).proportion_ci(confidence, "wilson")
    with np.errstate(invalid="ignore"):
        mean, observed = total / count, found / count
    error = float(np.abs(found - total).sum() / len(scores))
    return ReliabilityDiagram(edges, mean, observed, ends[0], ends[1], count.astype(np.int64), error)


def calibration_figures(
    probability: Any,
    label: Any,
    patient: Any,
    class_names: Sequence[str] | None = None,
    bins: int = 15,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    strata: Any = None,
) -> dict[str, Interval]:
    """Return calibration errors (ECE; Guo et al. 2017, equation 3) and Brier scores with intervals over patients.

    The bins are those of the films as they are in all resamples. An ECE is a sum of distances, too high on few films,
    and more so on resamples of these, so that percentiles miss the truth. Its interval runs to the upper percentile
    from the lower end of the basic bootstrap interval, ``2 value - upper percentile``; or from 0, where labels drawn
    from the probabilities themselves would give as high an ECE (Broecker and Smith 2007), taking films as
    independent. Brier scores have percentile intervals.

    Args:
        probability: ``(N, C)`` in [0, 1].
        label: ``(N,)`` class numbers with -1 for unknown (each class against the rest), or ``(N, C)`` of 0, 1 and NaN
            for unknown.
        patient: ``(N,)``, one id per film.
        class_names: C names; numbers when not given.
        bins: see :func:`reliability_diagram`.
        resamples: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        confidence: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        seed: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.
        strata: see :class:`~monai_cxrssl.metrics.PatientBootstrap`.

    Returns:
        ``macro_<figure>`` and ``<figure>_<class>`` of ``ece_width``, ``ece_mass`` and ``brier`` (the mean square of
        probability minus label); for labels ``(N,)`` also ``top_label_ece_width`` and ``top_label_ece_mass``. A figure
        that cannot be assessed is NaN with its reason.

    Raises:
        ConfigurationError: fewer than one bin.
        DatalistError: shapes that do not fit, or labels of another kind.
    """
    from scipy.sparse import csr_matrix, vstack

    scores, labels, ids, names = class_columns(probability, label, patient, class_names)
    count, multi_class = len(names), np.ndim(label) == 1
    _edges(np.zeros(1), bins, "equal_width")
    reasons = [why_not_assessable(scores[:, c], labels[:, c], ids, probability=True) for c in range(count)]
    columns = [(scores[:, c], labels[:, c], reasons[c]) for c in range(count)]
    if multi_class:
        top, right = top_label(scores, label)
        columns.append((top, right, _why_not_top(top, right, labels, scores)))

    def rows(values: np.ndarray, films: np.ndarray, row: np.ndarray, height: int) -> csr_matrix:
        return csr_matrix((values, (row, films)), shape=(height, len(scores)))

    # One product of a sparse matrix and the weights gives all sums: per column, films, squares, and both binnings.
    blocks, starts = [], [0]
    generator, chance = np.random.default_rng(seed), np.full((2, resamples, len(columns)), np.nan)
    for number, (column, truth, reason) in enumerate(columns):
        films = np.flatnonzero(~np.isnan(truth)) if not reason else np.empty(0, dtype=np.int64)
        off = truth[films] - column[films]
        first = np.zeros(len(films), dtype=np.int64)
        parts = [rows(np.ones(len(films)), films, first, 1), rows(off**2, films, first, 1)]
        for kind, binning in enumerate(_BINNINGS):
            edges = _edges(column[films] if films.size else np.zeros(1), bins, binning)
            bin_of = _bin_of(column[films], edges)
            parts.append(rows(off, films, bin_of, bins))
            if films.size:
                # Sums of labels less probabilities, by their normal limit.
                spread = np.sqrt(np.bincount(bin_of, weights=column[films] * (1 - column[films]), minlength=bins))
                sums = generator.normal(size=(resamples, bins)) * spread
                chance[kind, :, number] = np.abs(sums).sum(axis=1) / len(films)
        blocks.append(vstack(parts))
        starts.append(starts[-1] + 2 + 2 * bins)
    stacked = vstack(blocks, format="csr")

    def figures(weights: np.ndarray) -> np.ndarray:
        sums = stacked @ np.ascontiguousarray(weights.T)
        values = np.empty((3, len(weights), len(columns)))
        for number, start in enumerate(starts[:-1]):
            total = np.where(sums[start] > 0, sums[start], np.nan)
            values[0, :, number] = np.abs(sums[start + 2 : start + 2 + bins]).sum(axis=0) / total
            values[1, :, number] = np.abs(sums[start + 2 + bins : start + 2 + 2 * bins]).sum(axis=0) / total
            values[2, :, number] = sums[start + 1] / total
        return np.column_stack(
            [*(macro_mean(value[:, :count]) for value in values), *values[:, :, :count], *values[:2, :, count:]]
        )

    kinds = ("ece_width", "ece_mass", "brier")
    keys = [f"macro_{kind}" for kind in kinds] + [f"{kind}_{name}" for kind in kinds for name in names]
    why = ["no class can be assessed" if all(reasons) else ""] * 3 + reasons * 3
    if multi_class:
        keys += ["top_label_ece_width", "top_label_ece_mass"]
        why += [columns[-1][2]] * 2
    found = bootstrap_figures(figures, keys, why, patient, resamples, confidence, seed, strata)
    for kind, name in enumerate(kinds[:2]):
        own = {f"{name}_{class_name}": chance[kind, :, c] for c, class_name in enumerate(names)}
        own[f"macro_{name}"] = macro_mean(chance[kind, :, :count])
        if multi_class:
            own[f"top_label_{name}"] = chance[kind, :, count]
        found |= {key: _around_bias(found[key], np.quantile(drawn, confidence)) for key, drawn in own.items()}
    return found


def _why_not_top(top: np.ndarray, right: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> str:
    """All right or all wrong is no reason against a top-label figure, as it is of a class without positives."""
    known = ~np.isnan(right)
    if not known.any():
        return "no film has a known label"
    bad = int((~np.isfinite(scores[known])).any(axis=1).sum())
    if bad:
        return f"the scores of {bad} of {known.sum()} films are not finite numbers"
    if (labels[known] == labels[known][0]).all():
        return "all films are of one class"
    if (scores[known] == scores[known][0]).all():
        return "all films have the same scores"
    if top[known].min() < 0 or top[known].max() > 1:
        return f"the scores reach {top[known].max():.6g}, and are no probabilities"
    return ""


def _around_bias(interval: Interval, chance: float) -> Interval:
    if not np.isfinite(interval.ci_high):
        return interval
    high = max(interval.ci_high, interval.value)
    low = 0.0 if interval.value <= chance else max(0.0, 2 * interval.value - high)
    return replace(interval, ci_low=low, ci_high=high)
