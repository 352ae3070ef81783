# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Reliability diagram, expected calibration error (ECE) and Brier score.

MONAI's calibration metric is for masks in equal-width bins, and scikit-learn's curve drops empty bins and gives no
counts; neither knows unknown labels or resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics.clustered_proportion import ClusteredProportion
from monai_cxrssl.metrics.cohort import Cohort, macro_mean, why_not_assessable
from monai_cxrssl.metrics.patient_bootstrap import DEFAULT_PLAN, Interval, ResamplingPlan, Statistic

__all__ = ["ReliabilityDiagram", "calibration_figures", "reliability_diagram", "top_label"]

_BINNINGS = ("equal_width", "equal_mass")
_ECE_METHOD = "bootstrap of patients, around the bias of few images"


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Mean score and observed frequency in B bins of the score."""

    edges: np.ndarray  #: ``(B + 1,)``; a bin holds scores above its lower edge up to its upper, the first both.
    mean_score: np.ndarray  #: ``(B,)``; NaN in empty bins.
    observed: np.ndarray  #: ``(B,)``, share of positives; NaN in empty bins.
    ci_low: np.ndarray  #: ``(B,)``, lower ends of the intervals of the shares over patients; NaN in empty bins.
    ci_high: np.ndarray  #: ``(B,)``.
    count: np.ndarray  #: ``(B,)`` int64, images.
    ece: float  #: the mean over images of the distance between the share and the mean score of their bin.
    reason: str = ""  #: why there is no diagram, as half a sentence; all arrays are empty then, and ``ece`` is NaN.


def _edges(score: np.ndarray, bins: int, binning: str) -> np.ndarray:
    if binning not in _BINNINGS or bins < 1:
        raise ConfigurationError(f"There are {bins} bins of kind {binning!r}; expected 1 or more of {_BINNINGS}.")
    if binning == "equal_width":
        return np.linspace(0, 1, bins + 1)
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))  # bins that equal scores leave empty go
    return edges if len(edges) > 1 else np.repeat(edges, 2)


def _bin_of(score: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.searchsorted(edges[1:-1], score, side="left")


def top_label(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest probability of each image ``(N,)``, and whether its class was right ``(N,)``, NaN for unknown.

    Raises:
        DatalistError: images that may have several classes.
    """
    scores, numbers = cohort.scores, cohort.class_numbers
    return scores.max(axis=1), np.where(numbers >= 0, (scores.argmax(axis=1) == numbers).astype(np.float64), np.nan)


def reliability_diagram(
    score: Any,
    label: Any,
    bins: int = 15,
    binning: str = "equal_width",
    confidence: float = 0.95,
    both_kinds: bool = True,
    patient: Any = None,
) -> ReliabilityDiagram:
    """Return the reliability diagram of one class, or of :func:`top_label`.

    Args:
        score: ``(N,)`` probabilities.
        label: ``(N,)`` of 0, 1 and NaN for unknown.
        bins: how many.
        binning: ``"equal_width"``, of [0, 1]; ``"equal_mass"``, about equally many images each, fewer where images
            share a score.
        both_kinds: whether a class without positives or without negatives, or with equal scores, has no diagram; give
            ``False`` for :func:`top_label`, where all may well be right.
        patient: ``(N,)`` ids; by default all images are of other patients.

    Raises:
        ConfigurationError: other bins.
        DatalistError: shapes that do not fit.

    Example:
        >>> diagram = reliability_diagram([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1], bins=2)
        >>> diagram.observed.tolist(), round(diagram.ece, 3)
        ([0.0, 1.0], 0.2)
    """
    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DatalistError(f"There are scores {scores.shape} and labels {labels.shape}; expected (N,) of each.")
    ids = np.arange(len(scores)) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]
    if ids.shape != scores.shape:
        raise DatalistError(f"There are {len(ids)} patient ids for {len(scores)} images; expected one of each.")
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
    in_bin = _bin_of(scores, edges)[:, None] == np.arange(len(count))
    part = ClusteredProportion.of(np.where(in_bin, labels[:, None], np.nan), ids[known])
    ends = part.ends(confidence)
    with np.errstate(invalid="ignore"):
        mean, observed = total / count, found / count
    error = float(np.abs(found - total).sum() / len(scores))
    return ReliabilityDiagram(edges, mean, observed, ends[0], ends[1], count.astype(np.int64), error)


def calibration_figures(cohort: Cohort, plan: ResamplingPlan = DEFAULT_PLAN, bins: int = 15) -> dict[str, Interval]:
    """Return calibration errors (ECE; Guo et al. 2017, equation 3) and Brier scores of probabilities, with intervals.

    The bins are those of the images as they are in all resamples. An ECE is a sum of distances, too high on few images,
    and more so on resamples of these, so that percentiles miss the truth. Its interval runs to the upper percentile
    from the lower end of the basic bootstrap interval, ``2 value - upper percentile``; or from 0, where labels drawn
    from the probabilities themselves would give as high an ECE (Broecker and Smith 2007), taking images as
    independent. Brier scores have the percentiles themselves.

    Returns:
        ``macro_<figure>`` and ``<figure>_<class>`` of ``ece_width``, ``ece_mass`` and ``brier`` (the mean square of
        probability minus label); for images of one class each also ``top_label_ece_width`` and ``top_label_ece_mass``.
        A figure that cannot be assessed is NaN with its reason.

    Raises:
        ConfigurationError: fewer than one bin.
    """
    _edges(np.zeros(1), bins, "equal_width")
    generator = np.random.default_rng(plan.seed)
    kinds, reasons = ("ece_width", "ece_mass", "brier"), cohort.reasons(probability=True)
    errors, chance = _errors(cohort.scores, cohort.labels, reasons, bins, plan.resamples, generator)
    found = plan.class_intervals(errors, kinds, cohort, [reasons] * 3)
    by_chance: dict[str, np.ndarray] = {}
    for kind, drawn in zip(kinds, chance, strict=False):
        by_chance |= {f"{kind}_{name}": drawn[:, c] for c, name in enumerate(cohort.classes)}
        by_chance[f"macro_{kind}"] = macro_mean(drawn)
    if cohort.numbers is not None:
        top, right = top_label(cohort)
        known, reason = ~np.isnan(right), cohort.why_undecided()
        if not reason and not 0 <= top[known].min() <= top[known].max() <= 1:
            reason = f"the scores reach {top[known].max():.6g}, and are no probabilities"
        of_top, drawn = _errors(top[:, None], right[:, None], [reason], bins, plan.resamples, generator)
        keys = [f"top_label_{kind}" for kind in kinds[:2]]
        found |= plan.intervals(lambda weights: of_top(weights)[:, :2, 0], keys, cohort, [reason] * 2)
        by_chance |= dict(zip(keys, drawn[:, :, 0], strict=True))
    for key, drawn in by_chance.items():
        found[key] = _around_bias(found[key], float(np.quantile(drawn, plan.confidence)))
    return found


def _errors(
    scores: np.ndarray,
    labels: np.ndarray,
    reasons: Sequence[str],
    bins: int,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[Statistic, np.ndarray]:
    """Return the function from weights to both ECEs and the Brier score ``(R, 3, C)``, and ECEs by chance.

    All sums are one product of a sparse matrix and the weights: per column, images, squares, and both binnings. The
    ECEs by chance ``(2, R, C)`` are of labels drawn from the probabilities.
    """
    from scipy.sparse import csr_matrix, vstack

    films_in_all, count = scores.shape
    height = 2 + 2 * bins
    blocks, chance = [], np.full((2, resamples, count), np.nan)
    for c, reason in enumerate(reasons):
        films = np.flatnonzero(~np.isnan(labels[:, c])) if not reason else np.empty(0, dtype=np.int64)
        column = scores[films, c]
        off = labels[films, c] - column
        rows, values = [np.zeros_like(films), np.ones_like(films)], [np.ones(len(films)), off**2]
        for kind, binning in enumerate(_BINNINGS if films.size else ()):
            bin_of = _bin_of(column, _edges(column, bins, binning))
            rows.append(2 + kind * bins + bin_of)
            values.append(off)
            # Sums of labels less probabilities, by their normal limit.
            spread = np.sqrt(np.bincount(bin_of, weights=column * (1 - column), minlength=bins))
            sums = generator.normal(size=(resamples, bins)) * spread
            chance[kind, :, c] = np.abs(sums).sum(axis=1) / len(films)
        places = (np.concatenate(rows), np.tile(films, len(rows)))
        blocks.append(csr_matrix((np.concatenate(values), places), shape=(height, films_in_all)))
    stacked = vstack(blocks, format="csr")

    def errors(weights: np.ndarray) -> np.ndarray:
        sums = (stacked @ np.ascontiguousarray(weights.T)).reshape(count, height, len(weights))
        total = np.where(sums[:, 0] > 0, sums[:, 0], np.nan)
        width, mass = (np.abs(part).sum(axis=1) / total for part in (sums[:, 2 : 2 + bins], sums[:, 2 + bins :]))
        return np.stack([width, mass, sums[:, 1] / total]).transpose(2, 0, 1)

    return errors, chance


def _around_bias(interval: Interval, chance: float) -> Interval:
    if not np.isfinite(interval.ci_high):
        return interval
    high = max(interval.ci_high, interval.value)
    low = 0.0 if interval.value <= chance else max(0.0, 2 * interval.value - high)
    return replace(interval, ci_low=low, ci_high=high, method=_ECE_METHOD)
