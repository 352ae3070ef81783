# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Intervals over test patients and draws of labels at once, paired for the difference from another model.

One resample takes as many patients as there are, with replacement, and as many draws. A figure is the mean over the
draws; of the difference, both models have the same patients and the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from monai_cxrssl.metrics.ranking import class_ranker

__all__ = ["auc_of_draw", "intervals", "mean_of_draw"]

#: From weights ``(R, N)`` of the images to a figure of each resample ``(R,)``.
Figure = Callable[[np.ndarray], np.ndarray]


def auc_of_draw(scores: np.ndarray, labels: np.ndarray) -> Figure:
    """Macro area under the ROC curve, one class against the rest, of scores ``(N, C)`` under weights of the images."""
    rankers = [class_ranker(scores[:, number], (labels == number).astype(int)) for number in range(scores.shape[1])]
    return lambda weights: np.mean([ranker(weights.T)[0] for ranker in rankers], axis=0)


def mean_of_draw(values: np.ndarray) -> Figure:
    """Weighted mean of a figure per image ``(N,)``, such as Dice."""
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def intervals(
    figures: Sequence[Figure],
    others: Sequence[Figure],
    patients: np.ndarray,
    labels: np.ndarray | None = None,
    resamples: int = 1000,
) -> dict[str, list[float]]:
    """Return the mean over draws, and its difference from another model's, each with a 95 % percentile interval.

    Args:
        figures: one per draw, of the model.
        others: one per draw, of the model it is compared with.
        patients: ``(N,)``, one id per image.
        labels: ``(N,)`` class numbers; resamples that lack a class are drawn again. ``None``: all resamples count.
        resamples: number of them.

    Returns:
        ``{"value": [value, low, high], "difference": [value, low, high]}``.
    """
    generator = np.random.default_rng(0)
    groups = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    films, draws = len(patients), len(figures)
    classes = 0 if labels is None else len(np.unique(labels))
    weights: list[np.ndarray] = []
    chosen: list[np.ndarray] = []
    while len(weights) < resamples:
        rows = np.concatenate([groups[index] for index in generator.integers(0, len(groups), len(groups))])
        if labels is None or len(np.unique(labels[rows])) == classes:
            weights.append(np.bincount(rows, minlength=films))
            chosen.append(generator.integers(0, draws, draws))
    # The images as they are come first, with each draw once.
    drawn = np.array([np.arange(draws), *chosen])
    weight = np.array([np.ones(films, dtype=np.int64), *weights], dtype=np.float64)

    def means(parts: Sequence[Figure]) -> np.ndarray:
        of_draw = np.array([part(weight) for part in parts])
        mean: np.ndarray = of_draw[drawn, np.arange(len(weight))[:, None]].mean(axis=1)
        return mean

    value = means(figures)
    result: dict[str, Any] = {"value": value, "difference": value - means(others)}
    return {
        name: [float(row[0]), *(float(end) for end in np.percentile(row[1:], [2.5, 97.5]))]
        for name, row in result.items()
    }
