# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals over patients, and the bootstrap of patients."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError
from monai_cxrssl.metrics.cohort import Cohort, macro_mean

__all__ = [
    *("BOOTSTRAP_METHOD", "DEFAULT_PLAN", "Interval", "ResamplingPlan", "bootstrap_mean", "flat_metrics"),
    *("missing_interval", "require_patients"),
]

logger = logging.getLogger(__name__)

BOOTSTRAP_METHOD = "bootstrap of patients, expanded percentiles"
_BOUND_METHOD = "bound on patients unlike those seen, since all resamples are equal"

#: Resamples that are worked on at a time; 25,000 images take about 10 MB each.
_CHUNK = 50

#: From weights ``(R, N)`` of the images to the figures of each resample ``(R, …)``, NaN where it has none.
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A figure and its interval over patients."""

    value: float  #: the figure of the images as they are.
    ci_low: float  #: lower end; NaN where there is no interval.
    ci_high: float  #: upper end.
    resamples: int  #: resamples that gave a figure, of those drawn; 0 where the interval takes none.
    reason: str = ""  #: why there is no figure, or no interval, as half a sentence, or empty.
    method: str = ""  #: of the interval, as a few words; empty where there is none.


@dataclass(frozen=True)
class ResamplingPlan:
    """Draws of as many patients as there are, with replacement: an image counts as often as its patient was drawn.

    The draws depend on the seed, the patients, their strata and the order of the images only, so that two models on the
    same images get the same draws.

    Args:
        confidence: the share of resampled figures within the interval, in (0, 1).

    Raises:
        ConfigurationError: an option that cannot work.

    Example:
        >>> plan = ResamplingPlan(resamples=3)
        >>> [bool(row[0] == row[1] and row[1] + row[2] == 2) for row in next(plan.weights(["a", "a", "b"]))]
        [True, True, True]
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0 < self.confidence < 1:
            raise ConfigurationError(
                f"A bootstrap of {self.resamples} resamples at a confidence of {self.confidence} cannot be drawn; "
                "expected 1 or more, and a share between 0 and 1."
            )

    def weights(self, patients: Any, strata: Any = None) -> Iterator[np.ndarray]:
        """Yield weights ``(R, N)``, float64 whole numbers, a few tens of resamples at a time; the same on each call.

        With strata, patients are drawn within their stratum, as many as it has, so that each resample holds every
        stratum; intervals then hold for the mix of strata as it is. A stratum of one patient does not vary.

        Args:
            strata: ``(N,)``, the stratum of the patient of each image; ``None`` for one stratum.

        Raises:
            DatalistError: fewer than two patients, or a patient in two strata.
        """
        require_patients(patients)
        ids, patient_of = np.unique(np.asarray(patients), return_inverse=True)
        count = len(ids)
        members = [np.arange(count)] if strata is None else _members(ids, patient_of, np.asarray(strata))
        generator = np.random.default_rng(self.seed)
        for start in range(0, self.resamples, _CHUNK):
            rows = min(_CHUNK, self.resamples - start)
            drawn = np.concatenate(
                [stratum[generator.integers(0, len(stratum), size=(rows, len(stratum)))] for stratum in members], axis=1
            )
            drawn += np.arange(rows)[:, None] * count
            counts = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
            yield counts.astype(np.float64)[:, patient_of]

    def shares(self, count: int) -> np.ndarray:
        """Return what each of several trainings counts ``(count, 1 + R)``: all alike first, then drawn anew each time.

        The stream is another than that of the patients, and the same on each call.
        """
        even = np.full(count, 1 / count)
        drawn = np.random.default_rng([self.seed, 1]).multinomial(count, even, size=self.resamples).T / count
        return np.concatenate([even[:, None], drawn], axis=1)

    def resample(self, statistic: Statistic, patients: Any, strata: Any = None) -> np.ndarray:
        """Return the figures of the images as they are, and of each resample: ``(1 + R, …)``, see :meth:`weights`."""
        resampled = [statistic(weights) for weights in self.weights(patients, strata)]
        return np.concatenate([statistic(np.ones((1, len(patients)))), *resampled])

    def interval(
        self,
        values: np.ndarray,
        name: str = "",
        patients: float = math.inf,
        limits: tuple[float, float] = (-math.inf, math.inf),
    ) -> Interval:
        """Return the interval of ``(1 + R,)`` figures: of the images as they are, and of each resample.

        Percentiles of a bootstrap are too narrow where patients are few. They are expanded here, so that a mean has the
        interval of Student's t (Hesterberg 2015, The American Statistician 69:371, section 5.3). Where all resamples
        are equal they say nothing, and the interval is that of patients unlike all those seen: with a probability of
        (1 - confidence) / 2, a share of ``1 - ((1 - confidence) / 2) ** (1 / patients)`` of the population may have
        remained unseen (the rule of three; Hanley and Lippman-Hand 1983), with figures as far off as the limits.

        Resamples without a figure (NaN) are left out; where a name is given, their number is logged.

        Args:
            patients: how many the figure is of; of the class that has fewer where it is of two.
            limits: the lowest and highest figure that there may be.

        Returns:
            The interval; without ends, and with a reason, where all resamples are equal and the limits are not finite.
        """
        from scipy.stats import norm, t

        value, resampled = float(values[0]), values[1:]
        finite = resampled[np.isfinite(resampled)]
        if not np.isfinite(value) or not finite.size:
            return Interval(value, math.nan, math.nan, int(finite.size))
        if name and finite.size < len(resampled):
            logger.warning(
                "%s: %d of %d resamples have no figure and are left out of its interval; too few patients have it.",
                name,
                len(resampled) - finite.size,
                len(resampled),
            )
        tail = (1 - self.confidence) / 2
        if finite.max() - finite.min() <= 1e-12 * max(1.0, abs(value)):
            unseen = 1 - tail ** (1 / max(patients, 1))
            low, high = (value + unseen * (limit - value) if limit != value else value for limit in limits)
            if not (math.isfinite(low) and math.isfinite(high) and unseen > 0):
                reason = "all resamples are equal, and nothing bounds what other patients may have"
                return Interval(value, math.nan, math.nan, int(finite.size), reason)
            return Interval(value, float(low), float(high), int(finite.size), method=_BOUND_METHOD)
        if math.isfinite(patients):
            freedom = max(patients - 1, 1)
            tail = float(norm.cdf(t.ppf(tail, freedom) * math.sqrt((freedom + 1) / freedom)))
        low, high = np.quantile(finite, [tail, 1 - tail])
        return Interval(value, float(low), float(high), int(finite.size), method=BOOTSTRAP_METHOD)

    def intervals(
        self,
        statistic: Statistic,
        names: Sequence[str],
        cohort: Cohort,
        reasons: Sequence[str] | None = None,
        limits: Sequence[tuple[float, float]] | None = None,
        patients: Sequence[float] | None = None,
    ) -> dict[str, Interval]:
        """Return figures with intervals over patients, and NaN with its reason for those that cannot be assessed.

        Args:
            statistic: from weights ``(R, N)`` to figures ``(R, K)``.
            cohort: whose patients, and strata, are drawn.
            reasons: a half sentence per figure, empty for those that can be assessed.
            limits: the lowest and highest that each figure may be; by default 0 and 1.
            patients: how many each figure is of; by default all. See :meth:`interval`.

        Raises:
            DatalistError: fewer than two patients, unless there are reasons, of which this is one then.
        """
        count = len(np.unique(cohort.patients))
        why = list(reasons or [""] * len(names))
        if reasons is not None and count < 2:
            why = [reason or "the images are of fewer than two patients" for reason in why]
        found = {name: missing_interval(reason) for name, reason in zip(names, why, strict=True)}
        if all(why):
            return found
        values = self.resample(statistic, cohort.patients, cohort.strata)
        for column, (name, reason) in enumerate(zip(names, why, strict=True)):
            if not reason and np.isfinite(values[0, column]):
                ends = (0.0, 1.0) if limits is None else limits[column]
                number = count if patients is None else patients[column]
                found[name] = self.interval(values[:, column], name, number, ends)
            elif not reason:
                found[name] = missing_interval("it is not defined on these images")
        return found

    def class_intervals(
        self,
        statistic: Statistic,
        kinds: Sequence[str],
        cohort: Cohort,
        reasons: Sequence[Sequence[str]] | None = None,
        limits: Sequence[tuple[float, float]] | None = None,
    ) -> dict[str, Interval]:
        """Return ``macro_<kind>`` and ``<kind>_<class>``, see :meth:`intervals`.

        A class without a figure is left out of the macro figure, in each resample anew. The statistic gives ``(R, K,
        C)``, the reasons are ``(K, C)`` half sentences, empty for classes that can be assessed, and the limits are of
        the K kinds. A class counts with the patients of the kind, positive or negative, that has fewer, and a macro
        figure with the harmonic mean of its classes'.
        """
        count = len(cohort.classes)
        names = [f"macro_{kind}" for kind in kinds] + [f"{kind}_{name}" for kind in kinds for name in cohort.classes]
        none_left = [] if reasons is None else ["no class can be assessed" if all(row) else "" for row in reasons]
        why = None if reasons is None else none_left + [reason for row in reasons for reason in row]
        absent = np.zeros((len(kinds), count), dtype=bool) if reasons is None else np.array(reasons) != ""
        of_class = np.maximum(cohort.rarer_patients(), 1)
        patients = [len(row) / (1 / row).sum() if row.size else 1.0 for row in (of_class[~gone] for gone in absent)]
        patients += np.tile(of_class, len(kinds)).tolist()
        of_kind = [(0.0, 1.0)] * len(kinds) if limits is None else limits
        bounds = [*of_kind, *(ends for ends in of_kind for _ in range(count))]

        def figures(weights: np.ndarray) -> np.ndarray:
            # The order of a sum, and with it the last bit, depends on the layout in memory.
            values = np.ascontiguousarray(np.where(absent, np.nan, statistic(weights)))
            return np.concatenate([macro_mean(values), values.reshape(len(weights), -1)], axis=1)

        return self.intervals(figures, names, cohort, why, bounds, patients)


DEFAULT_PLAN = ResamplingPlan()


def missing_interval(reason: str) -> Interval:
    """Return the interval of a figure that cannot be assessed, with the reason as half a sentence."""
    return Interval(math.nan, math.nan, math.nan, 0, reason)


def require_patients(patients: Any) -> None:
    """Raise a DatalistError where the images, whose patients these are, are of fewer than two."""
    count = len(np.unique(np.asarray(patients)))
    if count < 2:
        raise DatalistError(f"An interval over patients needs two or more patients; the images are of {count}.")


def _members(ids: np.ndarray, patient_of: np.ndarray, strata: np.ndarray) -> list[np.ndarray]:
    """Return the patient numbers of each stratum."""
    if strata.shape != patient_of.shape:
        raise DatalistError(f"There are {strata.shape} strata for {patient_of.shape} images; expected one per image.")
    names, stratum_of_film = np.unique(strata, return_inverse=True)
    stratum = np.empty(len(ids), dtype=np.int64)
    stratum[patient_of] = stratum_of_film
    torn = np.flatnonzero(stratum[patient_of] != stratum_of_film)
    if torn.size:
        raise DatalistError(
            f"Patient {ids[patient_of[torn[0]]]!s} has images in two strata; expected one stratum per patient, as "
            "Cohort.stratified gives."
        )
    return [np.flatnonzero(stratum == number) for number in range(len(names))]


def bootstrap_mean(
    values: Any,
    patient: Any,
    name: str = "mean",
    plan: ResamplingPlan = DEFAULT_PLAN,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Return the mean over images of a figure per image, such as Dice, with its interval over patients.

    The figures are ``(N,)``; NaN images do not count. Give the difference of two models' figures on the same images to
    get a paired difference. The limits are those of :meth:`ResamplingPlan.interval`; without them there is no interval
    where all resamples are equal.

    Raises:
        DatalistError: when the lengths differ, no image has a figure, or fewer than two patients have one.
    """
    figures, ids = np.asarray(values, dtype=np.float64), np.asarray(patient)
    if figures.ndim != 1 or figures.shape != ids.shape:
        raise DatalistError(
            f"There are {figures.shape} figures for {ids.shape} patient ids; expected one of each per image."
        )
    known = np.isfinite(figures)
    figures = figures[known]
    means = plan.resample(lambda weights: weights @ figures / weights.sum(axis=1), ids[known])
    means[0] = figures.mean()  # summed in pairs, and not one after the other
    return plan.interval(means, name, len(np.unique(ids[known])), limits)


def flat_metrics(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    """Lay intervals out for ``metrics.json``: the name, and it with ``_ci_low``, ``_ci_high`` and ``_ci_method``.

    The last is ``None`` where there is no interval.

    Example:
        >>> flat_metrics({"dice": Interval(0.9, 0.8, 0.95, 1000, method="bootstrap of patients")})
        {'dice': 0.9, 'dice_ci_low': 0.8, 'dice_ci_high': 0.95, 'dice_ci_method': 'bootstrap of patients'}
    """
    flat: dict[str, Any] = {}
    for name, interval in intervals.items():
        flat |= {name: interval.value, f"{name}_ci_low": interval.ci_low, f"{name}_ci_high": interval.ci_high}
        flat[f"{name}_ci_method"] = interval.method or None
    return flat
