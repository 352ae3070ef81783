# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Bootstrap confidence intervals over patients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["Interval", "PatientBootstrap", "bootstrap_figures", "bootstrap_mean", "flat_metrics", "patient_strata"]

logger = logging.getLogger(__name__)

#: Resamples that are worked on at a time; 25,000 films take about 10 MB each.
_CHUNK = 50


@dataclass(frozen=True)
class Interval:
    """A figure and its percentile interval over patients.

    Attributes:
        value: the figure of the films as they are.
        ci_low: lower end; NaN where no resample gave a figure.
        ci_high: upper end.
        resamples: resamples that gave a figure; fewer than were drawn where a rare class was missing from some.
        reason: why there is no figure, as half a sentence ("there are no positive films"); empty when there is one.
    """

    value: float
    ci_low: float
    ci_high: float
    resamples: int
    reason: str = ""


class PatientBootstrap:
    """Draws as many patients as there are, with replacement, and weighs each film by how often its patient was drawn.

    The draws depend on the seed, the patients, their strata and the order of the films only, so that two models on the
    same films get the same draws.

    With strata, patients are drawn within their stratum, as many as it has, so that each resample holds every stratum;
    intervals then hold for the mix of strata as it is. A stratum of one patient does not vary.

    Args:
        patient: ``(N,)``, one id per film, of any type that numpy can sort.
        resamples: number of draws.
        confidence: the share of resampled figures within the interval, in (0, 1).
        seed: of the draws.
        strata: ``(N,)``, the stratum of the patient of each film, such as :func:`patient_strata`; ``None`` for one
            stratum of all patients.

    Raises:
        ConfigurationError: an option that cannot work.
        DatalistError: fewer than two patients, or a patient in two strata.

    Example:
        >>> bootstrap = PatientBootstrap(["a", "a", "b"], resamples=3)
        >>> [bool(row[0] == row[1] and row[1] + row[2] == 2) for row in next(bootstrap.weights())]
        [True, True, True]
    """

    def __init__(
        self, patient: Any, resamples: int = 1000, confidence: float = 0.95, seed: int = 0, strata: Any = None
    ) -> None:
        if resamples < 1 or not 0 < confidence < 1:
            raise ConfigurationError(
                f"A bootstrap of {resamples} resamples at a confidence of {confidence} cannot be drawn; expected 1 or "
                "more, and a share between 0 and 1."
            )
        ids, self.patient_of = np.unique(np.asarray(patient), return_inverse=True)
        if len(ids) < 2:
            raise DatalistError(f"An interval over patients needs two or more patients; the films are of {len(ids)}.")
        self.patients = len(ids)
        self.resamples = resamples
        self.confidence = confidence
        self.seed = seed
        self.members = [np.arange(self.patients)] if strata is None else self._members(ids, np.asarray(strata))

    def _members(self, ids: np.ndarray, strata: np.ndarray) -> list[np.ndarray]:
        """Return the patient numbers of each stratum."""
        if strata.shape != self.patient_of.shape:
            raise DatalistError(
                f"There are {strata.shape} strata for {self.patient_of.shape} films; expected one per film."
            )
        names, stratum_of_film = np.unique(strata, return_inverse=True)
        stratum = np.empty(self.patients, dtype=np.int64)
        stratum[self.patient_of] = stratum_of_film
        torn = np.flatnonzero(stratum[self.patient_of] != stratum_of_film)
        if torn.size:
            raise DatalistError(
                f"Patient {ids[self.patient_of[torn[0]]]!s} has films in two strata; expected one stratum per patient, "
                "as patient_strata gives."
            )
        return [np.flatnonzero(stratum == number) for number in range(len(names))]

    def weights(self) -> Iterator[np.ndarray]:
        """Yield weights ``(R, N)``, float64 whole numbers, a few tens of resamples at a time; the same on each call."""
        generator = np.random.default_rng(self.seed)
        for start in range(0, self.resamples, _CHUNK):
            rows = min(_CHUNK, self.resamples - start)
            drawn = np.concatenate(
                [members[generator.integers(0, len(members), size=(rows, len(members)))] for members in self.members],
                axis=1,
            )
            drawn += np.arange(rows)[:, None] * self.patients
            counts = np.bincount(drawn.ravel(), minlength=rows * self.patients).reshape(rows, self.patients)
            yield counts.astype(np.float64)[:, self.patient_of]

    def interval(self, value: float, resampled: np.ndarray, name: str = "figure") -> Interval:
        """Return the percentile interval of resampled figures ``(R,)``; resamples without one (NaN) are left out.

        Args:
            value: the figure of the films as they are.
            resampled: the figure of each resample.
            name: of the figure, for the log.
        """
        finite = resampled[np.isfinite(resampled)]
        if not np.isfinite(value) or not finite.size:
            return Interval(float(value), float("nan"), float("nan"), int(finite.size))
        if finite.size < len(resampled):
            logger.warning(
                "%s: %d of %d resamples have no figure and are left out of its interval; too few patients have it.",
                name,
                len(resampled) - finite.size,
                len(resampled),
            )
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(finite, [tail, 1 - tail])
        return Interval(float(value), float(low), float(high), int(finite.size))


def patient_strata(label: Any, patient: Any) -> np.ndarray:
    """Return the stratum of each film's patient: the rarest class, by patients, that any film of the patient shows.

    Args:
        label: ``(N,)`` class numbers with -1 for unknown, or ``(N, C)`` of 0, 1 and NaN for unknown.
        patient: ``(N,)``, one id per film.

    Returns:
        ``(N,)`` int64, a class number, or -1 for patients without a positive film.

    Example:
        >>> patient_strata([0, 0, 1, -1], ["a", "b", "b", "c"])
        array([ 0,  1,  1, -1])
    """
    labels = np.asarray(label)
    patient_of = np.unique(np.asarray(patient), return_inverse=True)[1]
    shown = labels[:, None] == np.arange(max(labels.max(initial=0) + 1, 1)) if labels.ndim == 1 else labels == 1
    patients = np.zeros((patient_of.max(initial=-1) + 1, shown.shape[1]), dtype=bool)
    np.logical_or.at(patients, patient_of, shown)
    by_rarity = np.argsort(patients.sum(axis=0), kind="stable")
    rarest = by_rarity[patients[:, by_rarity].argmax(axis=1)]
    return np.where(patients.any(axis=1), rarest, -1)[patient_of].astype(np.int64)


def bootstrap_figures(
    figures: Callable[[np.ndarray], np.ndarray],
    names: Sequence[str],
    reasons: Sequence[str],
    patient: Any,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    strata: Any = None,
) -> dict[str, Interval]:
    """Return figures with intervals over patients, and NaN with its reason for those that cannot be assessed.

    Args:
        figures: from weights ``(R, N)`` to figures ``(R, K)``, NaN where a resample has none.
        names: K names.
        reasons: K half sentences, empty for figures that can be assessed.
        patient: ``(N,)``, one id per film.
        resamples: see :class:`PatientBootstrap`.
        confidence: see :class:`PatientBootstrap`.
        seed: see :class:`PatientBootstrap`.
        strata: see :class:`PatientBootstrap`.
    """
    nan, why = float("nan"), list(reasons)
    if len(np.unique(np.asarray(patient))) < 2:
        why = [reason or "the films are of fewer than two patients" for reason in why]
    if all(why):
        return {name: Interval(nan, nan, nan, 0, reason) for name, reason in zip(names, why, strict=True)}
    bootstrap = PatientBootstrap(patient, resamples, confidence, seed, strata)
    values = figures(np.ones((1, len(bootstrap.patient_of))))[0]
    resampled = np.concatenate([figures(weights) for weights in bootstrap.weights()])
    result = {}
    for column, (name, reason) in enumerate(zip(names, why, strict=True)):
        reason = reason or ("" if np.isfinite(values[column]) else "it is not defined on these films")
        if reason:
            result[name] = Interval(nan, nan, nan, 0, reason)
        else:
            result[name] = bootstrap.interval(float(values[column]), resampled[:, column], name)
    return result


def bootstrap_mean(
    values: Any, patient: Any, name: str = "mean", resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return the mean over films of a figure per film, such as Dice, with its interval over patients.

    Give the difference of two models' figures on the same films to get a paired difference.

    Args:
        values: ``(N,)``; NaN films do not count.
        patient: ``(N,)``, one id per film.
        name: of the figure, for the log.
        resamples: see :class:`PatientBootstrap`.
        confidence: see :class:`PatientBootstrap`.
        seed: see :class:`PatientBootstrap`.

    Raises:
        DatalistError: when the lengths differ, no film has a figure, or fewer than two patients have one.
    """
    figures, ids = np.asarray(values, dtype=np.float64), np.asarray(patient)
    if figures.ndim != 1 or figures.shape != ids.shape:
        raise DatalistError(
            f"There are {figures.shape} figures for {ids.shape} patient ids; expected one of each per film."
        )
    known = np.isfinite(figures)
    bootstrap = PatientBootstrap(ids[known], resamples, confidence, seed)
    figures = figures[known]
    resampled = np.concatenate([weights @ figures / weights.sum(axis=1) for weights in bootstrap.weights()])
    return bootstrap.interval(float(figures.mean()), resampled, name)


def flat_metrics(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """Lay intervals out as the entries of ``metrics.json``: the name, and the name with ``_ci_low`` and ``_ci_high``.

    Example:
        >>> flat_metrics({"dice": Interval(0.9, 0.8, 0.95, 1000)})
        {'dice': 0.9, 'dice_ci_low': 0.8, 'dice_ci_high': 0.95}
    """
    flat: dict[str, float] = {}
    for name, interval in intervals.items():
        flat |= {name: interval.value, f"{name}_ci_low": interval.ci_low, f"{name}_ci_high": interval.ci_high}
    return flat
