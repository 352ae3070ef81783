# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling (Guo et al. 2017)."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from monai_cxrssl.errors import ConfigurationError, DatalistError

__all__ = ["apply_temperature", "fit_temperature", "negative_log_likelihood"]

logger = logging.getLogger(__name__)

#: Perfectly separated validation images would ask for a temperature of 0, and thus for certainty; this is its end.
_LOWEST, _HIGHEST = 0.05, 20.0


def _logits(probability: Any, task: str) -> np.ndarray:
    """Return logits ``(N, C)``; of multi_class up to a constant per image, which softmax takes out again."""
    if task not in ("multi_class", "multi_label"):
        raise ConfigurationError(f"The task is {task!r}; expected 'multi_class' or 'multi_label'.")
    shares = np.asarray(probability, dtype=np.float64)
    finite = shares[np.isfinite(shares)]
    if shares.ndim != 2 or ((finite < 0) | (finite > 1)).any():
        raise DatalistError(f"The probabilities are {shares.shape}; expected (N, classes), each in 0 to 1.")
    tiny = np.finfo(np.float64).tiny
    logarithm = np.log(np.maximum(shares, tiny))
    if task == "multi_class":
        return logarithm
    return logarithm - np.log(np.maximum(1 - shares, tiny))


def _likelihood(logits: np.ndarray, label: np.ndarray, task: str) -> float:
    from scipy.special import log_softmax

    if task == "multi_class":
        known = np.flatnonzero(label >= 0)
        return float(-log_softmax(logits[known], axis=1)[np.arange(len(known)), label[known].astype(np.int64)].mean())
    known = ~np.isnan(label)
    return float(np.logaddexp(0, np.where(label[known] == 1, -1, 1) * logits[known]).mean())


def _problem(logits: np.ndarray, label: np.ndarray, task: str) -> str:
    expected = logits.shape[:1] if task == "multi_class" else logits.shape
    if label.shape != expected:
        raise DatalistError(f"The labels are {label.shape}; expected {expected} for the task {task}.")
    known = label >= 0 if task == "multi_class" else ~np.isnan(label)
    values = label[known]
    if not values.size:
        return "no image has a known label"
    if values.max() > (logits.shape[1] - 1 if task == "multi_class" else 1) or values.min() < 0:
        raise DatalistError(f"A label is {values.max():g}; expected class numbers, or 0 and 1, for {logits.shape[1]}.")
    if not np.isfinite(logits[known]).all():
        return "some scores are not finite numbers"
    return ""


def negative_log_likelihood(probability: Any, label: Any, task: str) -> float:
    """Return the mean negative log-likelihood over images (multi_class), or over known labels (multi_label), in nats.

    It is 0 or more; NaN without a known label, or with scores that are not finite.

    Args:
        probability: ``(N, C)`` in [0, 1]; rows of multi_class are scaled to a sum of 1.
        label: ``(N,)`` class numbers with -1 for unknown for ``"multi_class"``, ``(N, C)`` of 0, 1 and NaN for unknown
            for ``"multi_label"``.

    Example:
        >>> round(negative_log_likelihood([[0.5, 0.5]], [0], "multi_class"), 4)
        0.6931
    """
    logits, labels = _logits(probability, task), np.asarray(label)
    return float("nan") if _problem(logits, labels, task) else _likelihood(logits, labels, task)


def fit_temperature(probability: Any, label: Any, task: str) -> float:
    """Return the temperature of the least negative log-likelihood. Give it validation images.

    Arguments are those of :func:`negative_log_likelihood`; one temperature serves all classes.

    Returns:
        A number in [0.05, 20], above 1 for a model that is too sure; the ends are logged. NaN, with the reason logged,
        where none can be fitted: no known label, labels of one kind, equal scores, scores that are not finite.

    Raises:
        ConfigurationError: another task.
        DatalistError: shapes or labels that do not fit.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = _logits(probability, task), np.asarray(label)
    reason = _problem(logits, labels, task)
    if not reason:
        known = labels >= 0 if task == "multi_class" else ~np.isnan(labels)
        if len(np.unique(labels[known])) < 2:
            reason = "all known labels are the same"
        elif (logits[known] == logits[known][0]).all():
            reason = "all scores are the same"
    if reason:
        logger.warning("No temperature can be fitted: %s.", reason)
        return float("nan")
    # Convex in 1 / temperature, so one dip along its logarithm.
    found = minimize_scalar(
        lambda power: _likelihood(logits / np.exp(power), labels, task),
        bounds=(np.log(_LOWEST), np.log(_HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    best = min((_LOWEST, 1.0, _HIGHEST, float(np.exp(found.x))), key=lambda t: _likelihood(logits / t, labels, task))
    if best in (_LOWEST, _HIGHEST):
        logger.warning(
            "The temperature is at the end of its range, %g: the validation images are separated perfectly, or not at "
            "all; take more of them.",
            best,
        )
    return best


def apply_temperature(probability: Any, temperature: float, task: str) -> np.ndarray:
    """Return probabilities at a temperature: softmax(log p / T) for multi_class, sigmoid(logit(p) / T) for multi_label.

    The result is ``(N, C)`` float64, as the probabilities. The order of images by a class of multi_label stays, and
    with it the AUC, and so does the most probable class of multi_class. Scores that are not finite stay so.

    Args:
        temperature: above 0, such as :func:`fit_temperature` gives; 1 changes nothing.

    Raises:
        ConfigurationError: another task, or a temperature that is not above 0.
        DatalistError: shapes that do not fit.

    Example:
        >>> apply_temperature([[0.2, 0.8]], 2.0, "multi_class").round(3)
        array([[0.333, 0.667]])
    """
    from scipy.special import expit, softmax

    if not (np.isfinite(temperature) and temperature > 0):
        raise ConfigurationError(f"The temperature is {temperature}; expected a number above 0, 1 to change nothing.")
    logits = _logits(probability, task) / temperature
    return softmax(logits, axis=1) if task == "multi_class" else expit(logits)
